"""(query, documents) -> scores."""

from hybridrank.rerank.cached import Cached
from hybridrank.rerank.calibrated import Calibrated
from hybridrank.rerank.cascade import Cascade
from hybridrank.rerank.cross_encoder import CrossEncoder
from hybridrank.rerank.fallback import Fallback

__all__ = ["Cached", "Calibrated", "Cascade", "CrossEncoder", "Fallback"]
