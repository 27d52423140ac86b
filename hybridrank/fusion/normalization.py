"""Normalization of the scores of one ranking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum, isinf, sqrt

__all__ = ["NORMALIZATIONS", "min_max", "moments", "standardize"]


def min_max(scores: Sequence[float]) -> list[float]:
    """Scores from 0, the lowest, to 1, the highest. Equal scores, or a single one, are 1.

    >>> min_max([-3.0, 1.0, 0.0]), min_max([7.5])
    ([0.0, 1.0, 0.75], [1.0])
    """
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    if low == high:
        return [1.0] * len(scores)
    if isinf(high - low):  # too far apart for a float; their halves are not
        low, high, scores = low / 2, high / 2, [score / 2 for score in scores]
    return [(score - low) / (high - low) for score in scores]


def standardize(scores: Sequence[float]) -> list[float]:
    """Standard deviations above the mean; zeros if all are equal.

    >>> standardize([1.0, 3.0]), standardize([7.5, 7.5])
    ([-1.0, 1.0], [0.0, 0.0])
    """
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    half = high / 2 - low / 2  # of the range: halved, so that nothing overflows
    if half == 0.0:
        return [0.0] * len(scores)
    unit = [(score / 2 - low / 2) / half for score in scores]
    mean, deviation = moments(unit)
    return [(value - mean) / deviation for value in unit]


def moments(values: Sequence[float], *, lost: int = 0) -> tuple[float, float]:
    """Mean, and standard deviation with `lost` degrees of freedom; (0, 0) for fewer than two values."""
    if len(values) < 2:
        return 0.0, 0.0
    mean = fsum(values) / len(values)
    return mean, sqrt(fsum([(value - mean) ** 2 for value in values]) / (len(values) - lost))


def _z_score(scores: Sequence[float]) -> list[float]:
    unit = min_max(scores)  # rescaling changes no z-score, and keeps the squares in range
    _, deviation = moments(unit)
    return [value / deviation for value in unit] if deviation else [1.0] * len(unit)


def _dbsf(scores: Sequence[float]) -> list[float]:
    unit = min_max(scores)
    mean, deviation = moments(unit, lost=1)
    if not deviation:
        return [0.5] * len(unit)
    return [max(0.0, 0.5 + (value - mean) / (6 * deviation)) for value in unit]


NORMALIZATIONS: Mapping[str, Callable[[Sequence[float]], list[float]]] = {
    "min-max": min_max,
    "z-score": _z_score,
    "dbsf": _dbsf,
}
