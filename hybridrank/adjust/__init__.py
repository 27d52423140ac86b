"""Scores anew after the reranker, by more than relevance: diversity (`MMR`), novelty in time (`Recency`)."""

from hybridrank.adjust.mmr import MMR
from hybridrank.adjust.recency import Recency

__all__ = ["MMR", "Recency"]
