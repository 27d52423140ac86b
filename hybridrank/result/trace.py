"""The trace of one search, stage by stage: enough to explain it, and to replay it without an index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from math import isfinite
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from hybridrank.errors import InputError
from hybridrank.result.decision import Decision
from hybridrank.types import Ranking, Span
from hybridrank.values.json_values import sound_text
from hybridrank.values.problems import first_problem

__all__ = ["TRACE_VERSION", "Stage", "StageKind", "Trace"]

TRACE_VERSION = 2
"""The form of the traces of this version: since 2, stages have the moment at which they started."""

StageKind: TypeAlias = str
"""What a stage does: "expand", "retrieve", "fuse", "rerank", "blend" or "adjust"; there may be others."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a search.

    `name` is the pipeline's name for the retriever, ``"expand"``, ``"fusion"``, ``"rerank"``, ``"blend"`` or the
    adjuster's. For a further formulation of the query it is ``"bm25 #2"``, and so on.

    `start` is the offset in seconds from the start of the search (None in traces of version 1), `seconds` the
    wall-clock duration: for the whole batch, where `batch` queries were searched together. Stages that ran in
    parallel overlap. `received` is the number of candidates that went in (None for a retriever), `ranking` what
    came out. `error` says why there is not more: the stage failed, or the deadline cut it short (`late`).
    `details` are the backend's own notes, JSON values; `spans` the relevant parts of documents that a reranker
    found, by id, best first.
    """

    name: str
    kind: StageKind
    seconds: float
    ids: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    received: int | None = None
    error: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 1
    start: float | None = None
    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.error is not None:  # the message of a third-party exception
            object.__setattr__(self, "error", sound_text(self.error))
        if len(self.ids) != len(self.scores):
            raise InputError(f"stage {self.name!r:.80} has {len(self.ids)} ids and {len(self.scores)} scores")

    @property
    def ranks(self) -> bool:
        """Whether the stage ranks documents: an expander does not."""
        return self.kind != "expand"

    @property
    def ranking(self) -> Ranking:
        """What came out, best first."""
        return Ranking(self.ids, self.scores)

    @property
    def arm(self) -> str:
        """The retriever of a ``"retrieve"`` stage: its name without the number of a formulation."""
        return self.name.rpartition(" #")[0] if "formulation" in self.details else self.name

    @property
    def late(self) -> bool:
        """Whether the deadline cut the stage short. `error` then says how far it came, and nothing has failed."""
        return self.error is not None and self.error.startswith("deadline: ")


@dataclass(frozen=True, slots=True)
class Trace:
    """The stages of one search, in order, and the settings that it ran with; `seconds` is wall-clock.

    `decision` is whether one of the documents answers the query; None where that is not known.

    `version` is 2 where the stages have a `start`, else 1; traces of both versions are read.
    """

    query: str
    k: int
    fetch_k: int
    rerank_k: int
    seconds: float
    stages: tuple[Stage, ...]
    version: int = 1
    decision: Decision | None = None

    def __post_init__(self) -> None:
        if self.version < 1:
            raise InputError(f"a trace's version is at least 1, not {self.version}")
        if self.version > TRACE_VERSION:
            raise InputError(
                f"a trace of version {self.version!r:.20} was written by a newer version of hybridrank; update it"
            )

    @property
    def degraded(self) -> Mapping[str, str]:
        """The stages that failed or were cut short by the deadline, and why: empty for a sound search."""
        return {stage.name: stage.error for stage in self.stages if stage.error is not None}

    def stage(self, name: str) -> Stage:
        """The stage called `name`.

        Raises:
            KeyError: there was none.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def path(self, doc_id: str) -> Mapping[str, tuple[int, float]]:
        """A document's rank (1-based) and score at every stage that ranked it."""
        found = {}
        for stage in self.stages:
            if doc_id in stage.ids:
                at = stage.ids.index(doc_id)
                found[stage.name] = (at + 1, stage.scores[at])
        return found

    def to_json(self, *, indent: int | None = None) -> str:
        """The trace as JSON; `from_json` returns an equal one."""
        return _adapter().dump_json(self, indent=indent).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Trace:
        """The trace that `to_json` wrote.

        Raises:
            InputError: `text` is no trace.
        """
        try:
            trace = _adapter().validate_json(text)
        except ValidationError as error:
            problem = first_problem(error, _parsed(text))
            where = f"${problem.path}: " if problem.path else ""
            raise InputError(f"not a trace: {where}{problem.text}") from None
        numbers = chain(
            [trace.seconds], *((each.seconds, each.start or 0.0, *each.scores) for each in trace.stages)
        )
        if trace.decision is not None:
            told = trace.decision
            numbers = chain(numbers, [told.evidence, told.threshold, *told.features.values()])
        if not all(map(isfinite, numbers)):
            raise InputError("not a trace: its seconds, starts and scores must be finite numbers")
        return trace

    def _repr_html_(self) -> str:
        from hybridrank.result.html import trace_html

        return trace_html(self)


@cache
def _adapter() -> TypeAdapter[Trace]:
    return TypeAdapter(Trace)


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
