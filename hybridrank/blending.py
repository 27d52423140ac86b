"""The reranker's scores mixed with the fused order: a reranker outside of its domain then does less harm.

Rerankers score on scales of every kind (logits, 0…1, sums, places in a list), so what counts is how far a score
stands out among those of its query, in standard deviations. What a score tells beyond that, where the reranker
says how to read it, is how sure it is of the best that it has seen: that decides the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum, isfinite, log, nan, sqrt
from typing import ClassVar, Self

from pydantic import Field, model_validator

from hybridrank.component import Component
from hybridrank.errors import ConfigError, InputError
from hybridrank.protocols import Reranker, TellingReranker
from hybridrank.types import Ranking

__all__ = ["ByConfidence", "blend", "blended", "effective", "told_by"]


def blended(scores: Sequence[float], *, weight: float) -> list[float]:
    """A new score for each document; `scores` are the reranker's, in the documents' fused order.

    ``(1 - weight) * z(score) + weight * z(-log(1 + fused rank))``, where z counts standard deviations from the
    mean (0 where all are equal), and ranks count from 1. So `weight` 0 gives the reranker's order, 1 the fused
    one, and the answer is the same on every scale that differs by a factor and an offset.

    >>> [round(score, 2) for score in blended([0.2, 0.9, 0.1], weight=0.25)]
    [-0.1, 1.02, -0.92]
    """
    prior = _standard([-log(place + 1) for place in range(1, len(scores) + 1)])
    return [(1 - weight) * a + weight * b for a, b in zip(_standard(scores), prior, strict=True)]


def blend(fused: Ranking, reranked: Ranking, *, weight: float) -> Ranking:
    """The documents of `reranked`, ordered by both; their fused ranks count among themselves.

    A trace has both: ``blend(trace.stage("fusion").ranking, trace.stage("rerank").ranking, weight=0.3)`` is what a
    pipeline with that weight would have found.

    Raises:
        InputError: `fused` lacks one of the documents.
    """
    found = dict(zip(reranked.ids, reranked.scores, strict=True))
    ids = [doc_id for doc_id in fused.ids if doc_id in found]
    if len(ids) < len(found):
        lost = next(doc_id for doc_id in reranked.ids if doc_id not in set(ids))
        raise InputError(f"the fused ranking lacks document {lost!r}, which the reranker has scored")
    scores = blended([found[doc_id] for doc_id in ids], weight=weight)
    return Ranking.of(zip(ids, scores, strict=True))


def _standard(values: Sequence[float]) -> list[float]:
    """Standard deviations above the mean; zeros where all are equal."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    half = high / 2 - low / 2  # of the range: halved, so that nothing overflows
    if half == 0.0:
        return [0.0] * len(values)
    unit = [(value / 2 - low / 2) / half for value in values]
    mean = fsum(unit) / len(unit)
    deviation = sqrt(fsum([(value - mean) ** 2 for value in unit]) / len(unit))
    return [(value - mean) / deviation for value in unit]


class ByConfidence(Component):
    """Weighs the fused order the more the less sure the reranker is of the best document that it has seen.

    Where the best score of a query is at most the first of `between`, the fused order weighs `unsure`; where it is
    at least the second, `sure`; in between, in proportion. So it does, too, the less the reranker tells documents
    apart: where the standard deviation of its scores, in parts of the distance of `between`, is at most the first
    of `apart`, the fused order weighs `unsure`; from the second on, this takes nothing away.

    Without `between`, the reranker's own range is used (`TellingReranker`). A reranker that declares none keeps
    its own order, unless `unknown` gives the fused order a weight there. docs/blending.md says how the
    defaults were found.

    >>> rule = ByConfidence(between=(0.0, 9.0))
    >>> [round(rule.weight([best, -2.0]), 2) for best in (-3.0, 4.5, 9.5)]
    [0.9, 0.5, 0.1]
    >>> round(rule.weight([8.1, 8.0, 7.9]), 2)
    0.9

    Raises:
        ConfigError: the first of `between`, or of `apart`, is not below the second.
    """

    use: ClassVar[str] = "confidence"

    sure: float = Field(default=0.1, ge=0, le=1)
    unsure: float = Field(default=0.9, ge=0, le=1)
    unknown: float = Field(default=0.0, ge=0, le=1)
    between: tuple[float, float] | None = None
    apart: tuple[float, float] = (0.05, 0.1)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        for name in ("between", "apart"):
            pair = getattr(self, name)
            if pair is not None and not pair[0] < pair[1]:
                raise ConfigError("the first number must be below the second", path=f"$.{name}")
        return self

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it computes on what it is given."""
        return {}

    def weight(self, scores: Sequence[float], *, told: tuple[float, float] | None = None) -> float:
        """What the fused order weighs beside these scores, at least one; `told` is what the reranker says."""
        between = self.between or told
        if between is None:
            return self.unknown
        spread = _deviation(scores) / (between[1] - between[0])
        sureness = _share(max(scores), between) * _share(spread, self.apart)
        return self.unsure + (self.sure - self.unsure) * sureness


def effective(rule: float | ByConfidence, told: tuple[float, float] | None) -> float | ByConfidence:
    """What a pipeline's blend comes to with a reranker that declares the range `told`, or none.

    A fixed weight where the scores cannot change it; with 0, nothing is blended.
    """
    if isinstance(rule, ByConfidence) and rule.between is None and told is None:
        return rule.unknown
    return rule


def _share(value: float, between: tuple[float, float]) -> float:
    """How far the value is from the first to the second: 0 up to that, 1 past this."""
    low, high = between
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _deviation(values: Sequence[float]) -> float:
    mean = fsum(values) / len(values)
    return sqrt(fsum([(value - mean) ** 2 for value in values]) / len(values))


def told_by(reranker: Reranker) -> tuple[float, float] | None:
    """Between which best scores the reranker says that it becomes sure; None where it does not say.

    Raises:
        ConfigError: it says something else.
    """
    told = reranker.sure_between if isinstance(reranker, TellingReranker) else None
    if told is None:
        return None
    try:
        low, high = map(float, told)
    except (TypeError, ValueError):
        low = high = nan
    if not (isfinite(low) and isfinite(high) and low < high):
        raise ConfigError(f"its sure_between must be two scores, the lower first, not {told!r:.80}")
    return low, high
