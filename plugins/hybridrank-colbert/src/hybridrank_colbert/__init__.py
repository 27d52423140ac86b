"""Late interaction as a reranker for hybridrank: documents' token vectors are made once and kept."""

from hybridrank_colbert.reranker import Colbert

__all__ = ["Colbert"]
