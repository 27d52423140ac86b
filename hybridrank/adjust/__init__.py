"""Adjusters rescore documents after the reranker: diversity (`MMR`), recency (`Recency`)."""

from hybridrank.adjust.mmr import MMR
from hybridrank.adjust.recency import Recency

__all__ = ["MMR", "Recency"]
