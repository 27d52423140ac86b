"""What reranking takes, by what it reads: how long a search would have taken that shows the reranker less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

from hybridrank.evaluation.recordings.recording import RecordedSearch, Recording

__all__ = ["Timing", "characters", "portion", "scaled"]

_FEW = 10  # searches, of which no fixed part can be told
_SPREAD = 0.05  # of the sizes; below it no fixed part can be told either


@dataclass(frozen=True)
class Timing:
    """A call of the reranker takes ``fixed`` seconds and ``each`` for every character that it reads.

    Characters are those of the documents and, for each of them, of the query. A search keeps its own ratio to
    this, so that one that was slow stays slow, and a search that is replayed as it was takes what it took. Without
    both parts, times are in proportion to what is read.
    """

    fixed: float = 0.0
    each: float = 0.0

    @classmethod
    def of(cls, recording: Recording) -> Timing:
        """Least squares over the searches of a recording, both parts at least zero.

        A fixed part is believed in where it is at least twice its standard error, and the sizes differ; else times
        are in proportion to what is read.

        Searches in which a model may have been loaded, that failed, or that found scores in a cache are left out.
        """
        calls = [call for search in recording.searches.values() if (call := _call(search)) is not None]
        if not calls:
            return cls()
        size = sum(x for x, _ in calls) / len(calls)
        second = sum(y for _, y in calls) / len(calls)
        spread = sum((x - size) ** 2 for x, _ in calls) / len(calls)
        proportional = cls(0.0, second / max(size, 1.0))
        if len(calls) < _FEW or spread <= (_SPREAD * size) ** 2:
            return proportional
        each = sum((x - size) * (y - second) for x, y in calls) / len(calls) / spread
        fixed = second - each * size
        left = sum((y - fixed - each * x) ** 2 for x, y in calls) / (len(calls) - 2)
        if fixed <= 2 * sqrt(left * (1 + size**2 / spread) / len(calls)):
            return proportional
        each = max(each, 0.0)
        return cls(second - each * size, each)

    def seconds(self, recorded: float, *, read: float, now: float) -> float:
        """What a call that read `read` characters in `recorded` seconds would take for `now` of them."""
        if not now or not read:
            return 0.0
        if self.fixed + self.each * read <= 0:
            return recorded * now / read
        return recorded * (self.fixed + self.each * now) / (self.fixed + self.each * read)


def characters(ids: Sequence[str], *, query: str, chars: Mapping[str, int]) -> float:
    """What a reranker reads of these documents; one whose size is not known has the mean of the others'."""
    known = [chars[doc_id] for doc_id in ids if doc_id in chars]
    mean = sum(known) / len(known) if known else 1.0
    return len(ids) * len(query) + sum(known) + mean * (len(ids) - len(known))


def scaled(details: Mapping[str, Any], *, read: float, pairs: float) -> dict[str, Any]:
    """What a reranker counts, where it reads only these shares of the characters and of the documents.

    Tokens are in proportion to characters, all else to documents; what comes in whole numbers is rounded up, as
    the units are that an API bills.
    """
    return {
        name: portion(name, value, read=read, pairs=pairs) if type(value) in (int, float) else value
        for name, value in details.items()
    }


def portion(name: str, value: float, *, read: float, pairs: float) -> float:
    """One of the things that `scaled` scales."""
    part = value * (read if "token" in name else pairs)
    return ceil(part - 1e-9) if isinstance(value, int) else part


def _call(search: RecordedSearch) -> tuple[float, float] | None:
    for stage in search.trace.stages:
        if stage.kind == "rerank":
            sound = stage.ids and stage.error is None and stage.batch == 1
            if not sound or search.first or stage.details.get("cache_hits"):
                return None
            return characters(stage.ids, query=search.trace.query, chars=search.chars), stage.seconds
    return None
