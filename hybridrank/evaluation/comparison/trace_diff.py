"""Comparison of two searches for one query: what moved, and the first stage that differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

from hybridrank.errors import InputError
from hybridrank.evaluation.metrics.similarity import overlap, rank_biased_overlap
from hybridrank.evaluation.recordings.stage_rankings import rankings_by_stage
from hybridrank.result.trace import Trace

__all__ = ["Move", "TraceDiff", "diff"]


class Move(NamedTuple):
    """A document's rank in the one and in the other, from 1; None where it was not found at all."""

    doc_id: str
    before: int | None
    after: int | None


@dataclass(frozen=True)
class TraceDiff:
    """How another search for a query differs from a first one, in its first `k` documents.

    `entered` and `left` are those that are among them in one only, `moved` those in both whose ranks differ.
    `stage` is the first at which the two differ, None where they never do. `settings` are those of what they ran
    with that differ: (of the first, of the other). `overlap` is of the first `k`, `rbo` of all.
    """

    query: str
    k: int
    entered: tuple[Move, ...]
    left: tuple[Move, ...]
    moved: tuple[Move, ...]
    overlap: float
    rbo: float
    stage: str | None
    settings: Mapping[str, tuple[Any, Any]]

    @property
    def same(self) -> bool:
        """Whether the first `k` are the same, in the same order."""
        return not (self.entered or self.left or self.moved)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        moves = {name: [m._asdict() for m in getattr(self, name)] for name in ("entered", "left", "moved")}
        settings = {name: list(pair) for name, pair in self.settings.items()}
        return {**vars(self), **moves, "settings": settings, "same": self.same}


def diff(trace: Trace, other: Trace, *, k: int = 10) -> TraceDiff:
    """Compare what two searches for the same query found.

    >>> from hybridrank import Stage
    >>> first = Trace("q", 2, 3, 0, 0.0, (Stage("fusion", "fuse", 0.0, ("a", "b", "c"), (3.0, 2.0, 1.0)),))
    >>> other = Trace("q", 2, 3, 0, 0.0, (Stage("fusion", "fuse", 0.0, ("a", "c", "b"), (3.0, 2.0, 1.0)),))
    >>> found = diff(first, other, k=2)
    >>> found.entered, found.left, found.stage
    ((Move(doc_id='c', before=3, after=2),), (Move(doc_id='b', before=2, after=3),), 'fusion')

    Raises:
        InputError: they are searches for different queries.
    """
    if trace.query != other.query:
        raise InputError(f"these are searches for different queries: {trace.query!r:.60} and {other.query!r:.60}")
    before, after = _found(trace), _found(other)
    ranks = {doc_id: rank for rank, doc_id in enumerate(before, start=1)}
    others = {doc_id: rank for rank, doc_id in enumerate(after, start=1)}

    def moves(ids: Sequence[str]) -> tuple[Move, ...]:
        return tuple(Move(doc_id, ranks.get(doc_id), others.get(doc_id)) for doc_id in ids)

    first, second = before[:k], after[:k]
    return TraceDiff(
        query=trace.query,
        k=k,
        entered=moves([doc_id for doc_id in second if doc_id not in first]),
        left=moves([doc_id for doc_id in first if doc_id not in second]),
        moved=moves([doc_id for doc_id in second if doc_id in first and ranks[doc_id] != others[doc_id]]),
        overlap=overlap(before, after, k=k),
        rbo=rank_biased_overlap(before, after),
        stage=_first_difference(trace, other),
        settings=_settings(trace, other),
    )


def _found(trace: Trace) -> tuple[str, ...]:
    orders = rankings_by_stage(trace)
    return orders[trace.stages[-1].name] if trace.stages else ()


def _first_difference(trace: Trace, other: Trace) -> str | None:
    for mine, theirs in zip_longest(trace.stages, other.stages):
        if mine is None or theirs is None:
            return str((mine or theirs).name)
        if (mine.name, mine.ids) != (theirs.name, theirs.ids):
            return mine.name
    return None


def _settings(trace: Trace, other: Trace) -> dict[str, tuple[Any, Any]]:
    mine, theirs = _settings_of(trace), _settings_of(other)
    return {
        name: (mine.get(name), theirs.get(name))
        for name in {**mine, **theirs}
        if mine.get(name) != theirs.get(name)
    }


def _settings_of(trace: Trace) -> dict[str, Any]:
    said: dict[str, Any] = {"k": trace.k, "fetch_k": trace.fetch_k, "rerank_k": trace.rerank_k}
    said["stages"] = [stage.name for stage in trace.stages]
    for stage in trace.stages:
        if stage.kind == "blend":
            said["blend"] = stage.details.get("fused")
    return said
