"""The weight of the fused order relative to the reranker's scores, by the reranker's confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import ClassVar, Self

from pydantic import Field, model_validator

from hybridrank.component.base import Component
from hybridrank.component.protocols import ConfidentReranker, Reranker
from hybridrank.errors import ConfigError
from hybridrank.fusion.normalization import moments

__all__ = ["ConfidenceBlend", "confidence_range_of", "effective_blend"]


class ConfidenceBlend(Component):
    """Gives the fused order more weight the less confident the reranker is.

    If the best score of a query is at most the low end of `score_range`, the fused order has `weight_if_unsure`;
    from the high end on it has `weight_if_confident`; in between, the weight is interpolated linearly. Confidence
    is also low if the scores differ little. Their standard deviation, divided by the width of `score_range`, is
    compared with `spread_range`: at its low end or below the fused order has `weight_if_unsure`, from its high
    end on the spread has no effect.

    Without `score_range`, the range that the reranker declares is used (`ConfidentReranker`). For a reranker that
    declares none the weight is `weight_if_unknown`, 0 by default: the reranker's own order. docs/blending.md has
    the measurements behind the defaults.

    >>> rule = ConfidenceBlend(score_range=(0.0, 9.0))
    >>> [round(rule.weight([best, -2.0]), 2) for best in (-3.0, 4.5, 9.5)]
    [0.9, 0.5, 0.1]
    >>> round(rule.weight([8.1, 8.0, 7.9]), 2)
    0.9

    Raises:
        ConfigError: the low end of `score_range` or of `spread_range` is not below its high end.
    """

    use: ClassVar[str] = "confidence"

    weight_if_confident: float = Field(default=0.1, ge=0, le=1)
    weight_if_unsure: float = Field(default=0.9, ge=0, le=1)
    weight_if_unknown: float = Field(default=0.0, ge=0, le=1)
    score_range: tuple[float, float] | None = None
    spread_range: tuple[float, float] = (0.05, 0.1)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        for name in ("score_range", "spread_range"):
            pair = getattr(self, name)
            if pair is not None and not pair[0] < pair[1]:
                raise ConfigError("the first number must be below the second", path=f"$.{name}")
        return self

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it only computes."""
        return {}

    def weight(self, scores: Sequence[float], *, declared: tuple[float, float] | None = None) -> float:
        """The weight of the fused order for these scores (at least one); `declared` is the reranker's range."""
        score_range = self.score_range or declared
        if score_range is None:
            return self.weight_if_unknown
        spread = moments(scores)[1] / (score_range[1] - score_range[0])
        confidence = _share(max(scores), score_range) * _share(spread, self.spread_range)
        return self.weight_if_unsure + (self.weight_if_confident - self.weight_if_unsure) * confidence


def effective_blend(rule: float | ConfidenceBlend, told: tuple[float, float] | None) -> float | ConfidenceBlend:
    """The blend that a pipeline uses with a reranker that declares the range `told`, or none.

    A fixed weight if the scores cannot change it; with 0, nothing is blended.
    """
    if isinstance(rule, ConfidenceBlend) and rule.score_range is None and told is None:
        return rule.weight_if_unknown
    return rule


def _share(value: float, between: tuple[float, float]) -> float:
    """The position of the value between the first and the second, clipped to 0 and 1."""
    low, high = between
    return min(max((value - low) / (high - low), 0.0), 1.0)


def confidence_range_of(reranker: Reranker) -> tuple[float, float] | None:
    """The confidence range that the reranker declares; None if it declares none.

    Raises:
        ConfigError: it says something else.
    """
    told = reranker.confidence_range if isinstance(reranker, ConfidentReranker) else None
    if told is None:
        return None
    try:
        low, high = map(float, told)
    except (TypeError, ValueError):
        low = high = nan
    if not (isfinite(low) and isfinite(high) and low < high):
        raise ConfigError(f"its confidence_range must be two scores, the lower first, not {told!r:.80}")
    return low, high
