"""Any rerank or embedding server that speaks JSON over HTTP, as a reranker or an embedder for hybridrank."""

from hybridrank_http.embedder import HttpEmbedder
from hybridrank_http.reranker import HttpReranker

__all__ = ["HttpEmbedder", "HttpReranker"]
