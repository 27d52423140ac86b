"""The state of a search: its options, and the stages of each of its queries so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hybridrank.result.trace import Stage
from hybridrank.types import Document, Query

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["QueryState", "SearchOptions"]


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """The options of one call, validated; `started` is on the clock of `perf_counter`."""

    k: int
    fetch_k: int
    started: float
    per_document: bool = False
    min_score: float | None = None
    streaming: bool = False

    def start(self, moment: float) -> float:
        """Seconds from the start of the search to a moment of `perf_counter`."""
        return max(0.0, moment - self.started)


@dataclass(slots=True)
class QueryState:
    """A query, its stages so far, and documents and vectors by id: at least those that later stages need."""

    query: Query
    stages: list[Stage] = field(default_factory=list)
    found: Mapping[str, Document] = field(default_factory=dict)
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def reranked(self) -> Stage | None:
        """The stage of the reranker, if there is one."""
        return next((stage for stage in self.stages if stage.kind == "rerank"), None)

    @property
    def last(self) -> Stage:
        """The last stage that ranked anything; otherwise the fusion."""
        return next(stage for stage in reversed(self.stages) if stage.ids or stage.kind == "fuse")
