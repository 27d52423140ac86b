"""(query, documents) -> scores: cross-encoders, and rerankers made of rerankers; when to stop early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

if TYPE_CHECKING:
    from hybridrank.rerank.cached import Cached as Cached
    from hybridrank.rerank.calibrated import Calibrated as Calibrated
    from hybridrank.rerank.cascade import Cascade as Cascade
    from hybridrank.rerank.cross_encoder import CrossEncoder as CrossEncoder
    from hybridrank.rerank.early_stopping import EarlyStopping as EarlyStopping
    from hybridrank.rerank.fallback import Fallback as Fallback

_HOME = {
    "Cached": "cached",
    "Calibrated": "calibrated",
    "Cascade": "cascade",
    "CrossEncoder": "cross_encoder",
    "Fallback": "fallback",
    "EarlyStopping": "early_stopping",
}

__all__ = [*_HOME]

__getattr__, __dir__ = lazy(__name__, _HOME)
