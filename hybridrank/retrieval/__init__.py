"""Retrievers that run in this process: BM25, FAISS, and rank_bm25."""

from hybridrank.retrieval.bm25.component import BM25
from hybridrank.retrieval.faiss.component import Faiss
from hybridrank.retrieval.rank_bm25 import RankBM25

__all__ = ["BM25", "Faiss", "RankBM25"]
