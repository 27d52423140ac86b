"""Rerankers: cross-encoders, composite rerankers, blending with the fused order, early stopping."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

_HOME = {
    "Activation": "pairs",
    "Cached": "cached",
    "Calibrated": "calibrated",
    "Cascade": "cascade",
    "ConfidenceBlend": "hybridrank.blend.confidence",
    "CrossEncoder": "cross_encoder",
    "EarlyStopping": "early_stopping",
    "Fallback": "fallback",
    "OnLong": "pairs",
    "PairTokenizer": "pairs",
    "blend": "hybridrank.blend.interpolation",
    "blended": "hybridrank.blend.interpolation",
    "confidence_range_of": "hybridrank.blend.confidence",
    "identity_of": "members",
    "is_pointwise": "members",
    "scores_of_best_windows": "pairs",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from hybridrank.blend.confidence import ConfidenceBlend as ConfidenceBlend
    from hybridrank.blend.confidence import confidence_range_of as confidence_range_of
    from hybridrank.blend.interpolation import blend as blend
    from hybridrank.blend.interpolation import blended as blended
    from hybridrank.rerank.cached import Cached as Cached
    from hybridrank.rerank.calibrated import Calibrated as Calibrated
    from hybridrank.rerank.cascade import Cascade as Cascade
    from hybridrank.rerank.cross_encoder import CrossEncoder as CrossEncoder
    from hybridrank.rerank.early_stopping import EarlyStopping as EarlyStopping
    from hybridrank.rerank.fallback import Fallback as Fallback
    from hybridrank.rerank.members import identity_of as identity_of
    from hybridrank.rerank.members import is_pointwise as is_pointwise
    from hybridrank.rerank.pairs import Activation as Activation
    from hybridrank.rerank.pairs import OnLong as OnLong
    from hybridrank.rerank.pairs import PairTokenizer as PairTokenizer
    from hybridrank.rerank.pairs import scores_of_best_windows as scores_of_best_windows
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
