"""Rerankers: cross-encoders, composite rerankers, blending with the fused order, early stopping.

The module is callable: ``from hybridrank import rerank`` gives it, and ``rerank(query, texts)`` reranks texts in
one call (`hybridrank.rerank.texts`).
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

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
    "Relevance": "hybridrank.relevance.settings",
    "Reranked": "texts",
    "arerank": "texts",
    "PairTokenizer": "pairs",
    "blend": "hybridrank.blend.interpolation",
    "blend_scores": "hybridrank.blend.interpolation",
    "confidence_range_of": "hybridrank.blend.confidence",
    "identity_of": "members",
    "is_pointwise": "members",
    "scores_of_best_windows": "pairs",
}

__all__ = [*_HOME, "rerank"]

if TYPE_CHECKING:
    from hybridrank.blend.confidence import ConfidenceBlend as ConfidenceBlend
    from hybridrank.blend.confidence import confidence_range_of as confidence_range_of
    from hybridrank.blend.interpolation import blend as blend
    from hybridrank.blend.interpolation import blend_scores as blend_scores
    from hybridrank.relevance.settings import Relevance as Relevance
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
    from hybridrank.rerank.texts import Reranked as Reranked
    from hybridrank.rerank.texts import arerank as arerank
    from hybridrank.rerank.texts import rerank as rerank
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)

    class _Callable(ModuleType):
        """A module that is a function too: an import of the name gets both, in any order of imports."""

        def __call__(self, *args: Any, **options: Any) -> Any:
            from hybridrank.rerank.texts import rerank

            return rerank(*args, **options)

        @property
        def __signature__(self) -> Any:
            from inspect import signature

            from hybridrank.rerank.texts import rerank

            return signature(rerank)

    rerank = sys.modules[__name__]
    rerank.__class__ = _Callable
