"""Cohere's rerank and embed APIs as a reranker and an embedder for hybridrank."""

from hybridrank_cohere.embedder import CohereEmbedder
from hybridrank_cohere.reranker import CohereReranker

__all__ = ["CohereEmbedder", "CohereReranker"]
