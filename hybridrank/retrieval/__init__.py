"""Retrievers that run in this process: BM25, FAISS and rank_bm25; the text analysis of BM25."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

_HOME = {
    "Analyzer": "analysis",
    "BM25": "bm25.component",
    "Faiss": "faiss.component",
    "LANGUAGES": "analysis",
    "Language": "analysis",
    "RankBM25": "rank_bm25",
    "StatisticsProvider": "bm25.statistics",
    "analyzer": "analysis",
    "merged_statistics": "bm25.statistics",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from hybridrank.retrieval.analysis import LANGUAGES as LANGUAGES
    from hybridrank.retrieval.analysis import Analyzer as Analyzer
    from hybridrank.retrieval.analysis import Language as Language
    from hybridrank.retrieval.analysis import analyzer as analyzer
    from hybridrank.retrieval.bm25.component import BM25 as BM25
    from hybridrank.retrieval.bm25.statistics import StatisticsProvider as StatisticsProvider
    from hybridrank.retrieval.bm25.statistics import merged_statistics as merged_statistics
    from hybridrank.retrieval.faiss.component import Faiss as Faiss
    from hybridrank.retrieval.rank_bm25 import RankBM25 as RankBM25
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
