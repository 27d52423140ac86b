"""The reranker's order mixed with the fused one: a reranker outside of its domain then does less harm.

Orders are mixed, never scores: rerankers score on scales of every kind (logits, 0…1, sums, places in a list), and
what a difference of one means on them nobody can tell in general. What a score tells at most is how sure the
reranker is of the best that it has seen, where it says how to read that: so much decides the weights alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field, model_validator

from hybridrank.component import Component
from hybridrank.errors import ConfigError, InputError
from hybridrank.protocols import Reranker, TellingReranker
from hybridrank.types import Ranking

__all__ = ["ByConfidence", "blend", "blended", "told_by"]

_K = 60  # as in reciprocal rank fusion


def blended(scores: Sequence[float], *, weight: float) -> list[float]:
    """A new score for each document, at most 1; `scores` are the reranker's, in the documents' fused order.

    ``61 * ((1 - weight) / (60 + rank) + weight / (60 + fused rank))``, with ranks from 1: reciprocal rank fusion
    of the two orders, such that what is first in both has 1. Documents that the reranker scored equally share the
    mean of their ranks. So `weight` 0 gives the reranker's order, 1 the fused one, and the answer is the same for
    every rising function of the scores.

    >>> [round(score, 3) for score in blended([0.2, 0.9, 0.1], weight=0.25)]
    [0.988, 0.996, 0.968]
    """
    best = _K + 1
    return [
        (1 - weight) * best / (_K + rank) + weight * best / (_K + place)
        for place, rank in enumerate(_ranks(scores), start=1)
    ]


def blend(fused: Ranking, reranked: Ranking, *, weight: float) -> Ranking:
    """The documents of `reranked`, ordered by both rankings; their fused ranks count among themselves.

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


def _ranks(scores: Sequence[float]) -> list[float]:
    """Each score's rank from the highest, from 1; equal ones share the mean of theirs."""
    order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    ranks = [0.0] * len(scores)
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or scores[order[end]] != scores[order[start]]:
            for place in order[start:end]:
                ranks[place] = (start + 1 + end) / 2
            start = end
    return ranks


class ByConfidence(Component):
    """Weighs the fused order the more the less sure the reranker is of the best document that it has seen.

    Where the best score of a query is at most the first of `between`, the fused order weighs `unsure`; where it is
    at least the second, `sure`; in between, in proportion. Without `between`, it is what the reranker says
    (`TellingReranker`), and where it says nothing, nothing is known of its scores, and the fused order weighs
    `unknown`. docs/blending.md says how the defaults were found.

    >>> rule = ByConfidence(between=(0.0, 10.0))
    >>> [round(rule.weight(best), 2) for best in (-3.0, 2.0, 9.5)]
    [1.0, 0.8, 0.05]

    Raises:
        ConfigError: the first of `between` is not below the second.
    """

    use: ClassVar[str] = "confidence"

    sure: float = Field(default=0.0, ge=0, le=1)
    unsure: float = Field(default=1.0, ge=0, le=1)
    unknown: float = Field(default=0.3, ge=0, le=1)
    between: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.between is not None and not self.between[0] < self.between[1]:
            raise ConfigError("the first score must be below the second", path="$.between")
        return self

    def weight(self, best: float, *, told: tuple[float, float] | None = None) -> float:
        """What the fused order weighs where the reranker's best score is `best`; `told` is what it says itself."""
        between = self.between or told
        if between is None:
            return self.unknown
        low, high = between
        sureness = min(max((best - low) / (high - low), 0.0), 1.0)
        return self.unsure + (self.sure - self.unsure) * sureness


def told_by(reranker: Reranker) -> tuple[float, float] | None:
    """Between which best scores the reranker says that it becomes sure; None where it does not say.

    Raises:
        ConfigError: the first is not below the second.
    """
    told = reranker.sure_between if isinstance(reranker, TellingReranker) else None
    if told is not None and not told[0] < told[1]:
        raise ConfigError(f"its sure_between must be two scores, the lower first, not {told!r:.80}")
    return told
