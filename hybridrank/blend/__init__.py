"""The reranker's order and the fused order, weighed: a reranker outside of its domain then does less harm."""

from hybridrank.blend.confidence import ConfidenceBlend, confidence_range_of, effective_blend
from hybridrank.blend.interpolation import blend, blended

__all__ = ["ConfidenceBlend", "blend", "blended", "confidence_range_of", "effective_blend"]
