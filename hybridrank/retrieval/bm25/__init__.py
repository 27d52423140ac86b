"""BM25 on an inverted index."""

from hybridrank.retrieval.bm25.component import BM25

__all__ = ["BM25"]
