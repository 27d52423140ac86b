"""Any rerank server that speaks JSON over HTTP, as a reranker for hybridrank."""

from hybridrank_http.reranker import HttpReranker

__all__ = ["HttpReranker"]
