"""Listwise reranking by a chat model."""

from hybridrank_llm.reranker import LlmReranker

__all__ = ["LlmReranker"]
