"""What happened in one search, stage by stage: enough to explain it, and to replay it without an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from hybridrank.errors import InputError
from hybridrank.types import Ranking
from hybridrank.values.json_values import sound_text

__all__ = ["Stage", "StageKind", "Trace"]

StageKind = Literal["retrieve", "fuse", "rerank", "blend", "adjust"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a search.

    `name` is the pipeline's name for the retriever, ``"fusion"``, ``"rerank"``, ``"blend"`` or the adjuster's;
    `seconds` is wall-clock time, for the whole batch where `batch` queries were searched together; `received` is
    the number of candidates that went in (None for a retriever). `ranking` is what came out; `error` says why
    there is not more: the stage failed, or was cut short by the search's deadline (`late`). `details` are the
    backend's own notes, JSON values.
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

    def __post_init__(self) -> None:
        if self.error is not None:  # the words of somebody else's exception
            object.__setattr__(self, "error", sound_text(self.error))

    @property
    def ranking(self) -> Ranking:
        """What came out, best first."""
        return Ranking(self.ids, self.scores)

    @property
    def late(self) -> bool:
        """Whether the deadline cut the stage short. `error` then says how far it came, and nothing has failed."""
        return self.error is not None and self.error.startswith("deadline: ")


@dataclass(frozen=True, slots=True)
class Trace:
    """The stages of one search, in order, and the settings that it ran with; `seconds` is wall-clock."""

    query: str
    k: int
    fetch_k: int
    rerank_k: int
    seconds: float
    stages: tuple[Stage, ...]

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
        """The trace as JSON; `from_json` gives it back, equal."""
        return _adapter().dump_json(self, indent=indent).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Trace:
        """The trace that `to_json` wrote.

        Raises:
            InputError: `text` is no trace.
        """
        try:
            return _adapter().validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(f"not a trace: {first['msg']}{' at ' + where if where else ''}") from None

    def _repr_html_(self) -> str:
        from hybridrank.result.html import trace_html

        return trace_html(self)


@cache
def _adapter() -> TypeAdapter[Trace]:
    return TypeAdapter(Trace)
