"""The scores of one ranking on one scale, whatever scale they came on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum, sqrt

__all__ = ["NORMALIZATIONS"]


def _min_max(scores: Sequence[float]) -> list[float]:
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    if low == high:
        return [1.0] * len(scores)
    return [(score - low) / (high - low) for score in scores]


def _z_score(scores: Sequence[float]) -> list[float]:
    unit = _min_max(scores)  # rescaling changes no z-score, and keeps the squares below in range
    _, deviation = _moments(unit, lost=0)
    return [value / deviation for value in unit] if deviation else [1.0] * len(unit)


def _dbsf(scores: Sequence[float]) -> list[float]:
    unit = _min_max(scores)
    mean, deviation = _moments(unit, lost=1)
    if not deviation:
        return [0.5] * len(unit)
    return [max(0.0, 0.5 + (value - mean) / (6 * deviation)) for value in unit]


def _moments(values: Sequence[float], *, lost: int) -> tuple[float, float]:
    """Mean, and standard deviation with `lost` degrees of freedom; (0, 0) of fewer than two values."""
    if len(values) < 2:
        return 0.0, 0.0
    mean = fsum(values) / len(values)
    return mean, sqrt(fsum([(value - mean) ** 2 for value in values]) / (len(values) - lost))


NORMALIZATIONS: Mapping[str, Callable[[Sequence[float]], list[float]]] = {
    "min-max": _min_max,
    "z-score": _z_score,
    "dbsf": _dbsf,
}
