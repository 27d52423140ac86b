"""How well probabilities agree with outcomes: calibration error, Brier score, and a table by bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Bin", "brier_score", "calibration_error", "reliability"]

_BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """The pairs in a range of probability: how many, their mean probability, and the share that is relevant."""

    low: float
    high: float
    count: int
    probability: float
    relevant: float


def reliability(probabilities: ArrayLike, relevant: ArrayLike) -> list[Bin]:
    """Ten bins of equal width, without the empty ones; both arguments have shape (n,)."""
    import numpy as np

    p, y = np.asarray(probabilities, np.float64), np.asarray(relevant, np.float64)
    at = np.minimum((p * _BINS).astype(int), _BINS - 1)
    return [
        Bin(number / _BINS, (number + 1) / _BINS, int(here.sum()), float(p[here].mean()), float(y[here].mean()))
        for number in range(_BINS)
        if (here := at == number).any()
    ]


def calibration_error(probabilities: ArrayLike, relevant: ArrayLike) -> float:
    """Expected calibration error (ECE): the mean distance of probability and share over ten bins of equal width.

    0 is best. Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017).

    >>> calibration_error([0.9, 0.9, 0.1, 0.1], [1, 1, 0, 1])
    0.25
    """
    bins = reliability(probabilities, relevant)
    total = sum(each.count for each in bins)
    return round(sum(each.count * abs(each.probability - each.relevant) for each in bins) / total, 12)


def brier_score(probabilities: ArrayLike, relevant: ArrayLike) -> float:
    """The mean squared distance of probability and outcome; 0 is best (Brier, 1950).

    >>> brier_score([0.5, 1.0], [1, 1])
    0.125
    """
    import numpy as np

    p: NDArray[np.float64] = np.asarray(probabilities, np.float64)
    return float(np.mean((p - np.asarray(relevant, np.float64)) ** 2))
