"""Hybrid search for Python: BM25 and vectors in parallel, fused, then reranked by a backend that you can swap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

__version__ = "0.1.0"

_HOME = {
    "Candidates": "types",
    "Collection": "collection",
    "Component": "component.base",
    "Decision": "result.decision",
    "Document": "types",
    "Formulation": "types",
    "Hit": "result.hits",
    "Observer": "pipeline.observers",
    "Passage": "types",
    "Pipeline": "pipeline.pipeline",
    "PipelineConfig": "pipeline.config",
    "Query": "types",
    "Ranking": "types",
    "Scores": "types",
    "SearchResult": "result.hits",
    "Span": "types",
    "Stage": "result.trace",
    "Trace": "result.trace",
    "arerank": "rerank.texts",
    "register": "component.registry",
    "rerank": "rerank",
}

__all__ = [*_HOME, "__version__"]

if TYPE_CHECKING:
    from hybridrank.collection import Collection as Collection
    from hybridrank.component.base import Component as Component
    from hybridrank.component.registry import register as register
    from hybridrank.pipeline.config import PipelineConfig as PipelineConfig
    from hybridrank.pipeline.observers import Observer as Observer
    from hybridrank.pipeline.pipeline import Pipeline as Pipeline
    from hybridrank.rerank.texts import RerankModule
    from hybridrank.rerank.texts import arerank as arerank
    from hybridrank.result.decision import Decision as Decision
    from hybridrank.result.hits import Hit as Hit
    from hybridrank.result.hits import SearchResult as SearchResult
    from hybridrank.result.trace import Stage as Stage
    from hybridrank.result.trace import Trace as Trace
    from hybridrank.types import Candidates as Candidates
    from hybridrank.types import Document as Document
    from hybridrank.types import Formulation as Formulation
    from hybridrank.types import Passage as Passage
    from hybridrank.types import Query as Query
    from hybridrank.types import Ranking as Ranking
    from hybridrank.types import Scores as Scores
    from hybridrank.types import Span as Span

    rerank: RerankModule
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
