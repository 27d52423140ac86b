"""Blending of the reranker's scores with the fused order, which limits the loss of a reranker out of domain."""

from hybridrank.blend.confidence import ConfidenceBlend, confidence_range_of, effective_blend
from hybridrank.blend.interpolation import blend, blend_scores

__all__ = ["ConfidenceBlend", "blend", "blend_scores", "confidence_range_of", "effective_blend"]
