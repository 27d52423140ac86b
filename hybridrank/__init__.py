"""Hybrid search for Python: BM25 and vectors in parallel, fused, then reranked by a backend that you can swap."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybridrank.collection import Collection as Collection
    from hybridrank.component import Component as Component
    from hybridrank.pipeline import Pipeline as Pipeline
    from hybridrank.result import Hit as Hit
    from hybridrank.result import SearchResult as SearchResult
    from hybridrank.trace import Stage as Stage
    from hybridrank.trace import Trace as Trace
    from hybridrank.types import Candidates as Candidates
    from hybridrank.types import Document as Document
    from hybridrank.types import Passage as Passage
    from hybridrank.types import Query as Query
    from hybridrank.types import Ranking as Ranking
    from hybridrank.types import Scores as Scores

__version__ = "0.1.0"

_HOME = {
    "Candidates": "types",
    "Collection": "collection",
    "Component": "component",
    "Document": "types",
    "Hit": "result",
    "Passage": "types",
    "Pipeline": "pipeline",
    "Query": "types",
    "Ranking": "types",
    "Scores": "types",
    "SearchResult": "result",
    "Stage": "trace",
    "Trace": "trace",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that ``import hybridrank`` costs next to nothing (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
