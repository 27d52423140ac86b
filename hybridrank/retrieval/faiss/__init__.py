"""Nearest vectors with FAISS."""

from hybridrank.retrieval.faiss.component import Faiss

__all__ = ["Faiss"]
