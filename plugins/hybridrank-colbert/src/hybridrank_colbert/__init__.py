"""Late interaction as a reranker for hybridrank: documents' token vectors are computed once and stored."""

from hybridrank_colbert.reranker import Colbert

__all__ = ["Colbert"]
