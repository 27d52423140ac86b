"""Scores of any scale -> scores from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf

__all__ = ["scaled"]


def scaled(scores: Sequence[float]) -> list[float]:
    """Min-max: the lowest score is 0, the highest 1. All equal, or a single one: 1, since each is the highest.

    >>> scaled([-3.0, 1.0, 0.0]), scaled([7.5])
    ([0.0, 1.0, 0.75], [1.0])
    """
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    if low == high:
        return [1.0] * len(scores)
    if isinf(high - low):  # too far apart for a float, and so are not their halves
        low, high, scores = low / 2, high / 2, [score / 2 for score in scores]
    return [(score - low) / (high - low) for score in scores]
