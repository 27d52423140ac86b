"""Thresholds that bound how many answerable questions are refused.

A question is refused if its score is below a threshold that is one of the scores of ``n`` answerable questions.
The share of answerable questions below the ``r``-th lowest of them has the distribution Beta(r, n + 1 - r),
whatever the scores are: its mean is ``r / (n + 1)``. Two bounds follow.

- In expectation: ``r = floor(bound * (n + 1))``. Conformal risk control (Angelopoulos, Bates, Fisch, Lei and
  Schuster, 2022) gives this ``r`` for the loss "refused".
- With a confidence: the largest ``r`` for which the share is within the bound in that part of all samples of ``n``
  questions, from the binomial distribution (Wilks, 1941; Vovk, "Conditional validity of inductive conformal
  predictors", 2012).

Both assume that the questions to come are like these: of the same users, on the same documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, exp, floor, lgamma, log, log1p

__all__ = ["questions_needed", "refusal_rank", "refusal_threshold"]


def refusal_threshold(scores: Sequence[float], *, max_refused: float, confidence: float) -> float | None:
    """The threshold for these scores of answerable questions, in ascending order; lower scores are refused.

    None if these are too few for the bound: then nothing may be refused.

    >>> refusal_threshold([number / 100 for number in range(100)], max_refused=0.05, confidence=0.95)
    0.01
    """
    rank = refusal_rank(len(scores), max_refused=max_refused, confidence=confidence)
    return scores[rank - 1] if rank else None


@lru_cache(maxsize=256)
def refusal_rank(questions: int, *, max_refused: float, confidence: float) -> int:
    """The place of the threshold among the scores of so many questions, 1 for the lowest; 0 if these are too few.

    `confidence` 0 bounds the expectation.

    >>> [refusal_rank(n, max_refused=0.05, confidence=0.95) for n in (58, 59, 100, 1000)]
    [0, 1, 2, 39]
    >>> [refusal_rank(n, max_refused=0.05, confidence=0.0) for n in (18, 19, 100, 1000)]
    [0, 1, 5, 50]
    """
    if confidence == 0.0:
        return floor(max_refused * (questions + 1) + 1e-9)
    chance, rank = 0.0, 0  # of fewer than `rank + 1` questions below the bound's quantile
    for count in range(questions + 1):
        chance += _binomial(count, questions, max_refused)
        if chance > 1.0 - confidence + 1e-12:
            return rank
        rank = count + 1
    return rank


def questions_needed(*, max_refused: float, confidence: float) -> int:
    """The lowest number of answerable questions for which the bound allows any refusal.

    >>> questions_needed(max_refused=0.05, confidence=0.95), questions_needed(max_refused=0.05, confidence=0.0)
    (59, 19)
    """
    if confidence == 0.0:
        return ceil(1.0 / max_refused - 1.0 - 1e-9)
    return ceil(log1p(-confidence) / log1p(-max_refused) - 1e-9)


def _binomial(count: int, trials: int, chance: float) -> float:
    ways = lgamma(trials + 1) - lgamma(count + 1) - lgamma(trials - count + 1)
    return exp(ways + count * log(chance) + (trials - count) * log1p(-chance))
