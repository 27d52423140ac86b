"""Curves from raw scores to probabilities, fitted on judged pairs; both strictly increasing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import atan, exp, inf, nextafter, pi
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hybridrank.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Calibration", "Isotonic", "Platt", "in_order"]

_EDGE = 1e-9  # probabilities keep this far from 0 and 1
_TILT = 1e-3  # how much of an isotonic curve is a rising one, so that no part of it is level


class _Curve(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Platt(_Curve):
    """The logistic curve ``1 / (1 + exp(-(slope * score + intercept)))``, for few judgments.

    Platt, "Probabilistic outputs for support vector machines" (1999), with his targets, which keep probabilities
    off 0 and 1 where judgments are few; fitted as in Lin, Lin and Weng, "A note on Platt's probabilistic outputs"
    (2007).
    """

    method: Literal["platt"] = "platt"
    slope: float = Field(gt=0.0)
    intercept: float

    @classmethod
    def fit(cls, scores: NDArray[np.float64], relevant: NDArray[np.bool_]) -> Self:
        """Fit the curve to raw scores and whether each one's document is relevant; both of shape (n,).

        Raises:
            InputError: higher scores are not more relevant.
        """
        import numpy as np

        middle, spread = scores.mean(), scores.std() or 1.0
        x = (scores - middle) / spread
        yes, no = int(relevant.sum()), int((~relevant).sum())
        targets = np.where(relevant, (yes + 1.0) / (yes + 2.0), 1.0 / (no + 2.0))

        def loss(slope: float, intercept: float) -> float:
            z = slope * x + intercept
            return float(np.sum(np.logaddexp(0.0, z) - targets * z))

        slope, intercept = 0.0, float(np.log((yes + 1.0) / (no + 1.0)))
        value = loss(slope, intercept)
        for _ in range(100):
            p = np.exp(-np.logaddexp(0.0, -(slope * x + intercept)))
            error, weight = p - targets, p * (1.0 - p)
            gradient = np.array([error @ x, error.sum()])
            if np.abs(gradient).max() < 1e-10 * len(x):
                break
            cross = weight @ x
            hessian = np.array([[weight @ (x * x) + 1e-12, cross], [cross, weight.sum() + 1e-12]])
            step, size = np.linalg.solve(hessian, gradient), 1.0
            while size > 1e-10:  # Newton's step, halved until it gains
                trial = slope - size * float(step[0]), intercept - size * float(step[1])
                if (new := loss(*trial)) < value - 1e-4 * size * float(gradient @ step):
                    break
                size /= 2.0
            else:
                break
            (slope, intercept), value = trial, new
        if not slope > 0.0:
            raise InputError("by these judgments documents with higher scores are not more relevant")
        return cls(slope=float(slope / spread), intercept=float(intercept - slope * middle / spread))

    def __call__(self, score: float) -> float:
        """Probability that a document of this raw score is relevant."""
        z = self.slope * score + self.intercept
        return _off_the_edge(1.0 / (1.0 + exp(-z)) if z >= 0 else exp(z) / (1.0 + exp(z)))


class Isotonic(_Curve):
    """The best-fitting increasing steps, joined by lines: assumes no shape, but needs some hundreds of judgments.

    `knots` are (raw score, probability), both ends of each step, as in scikit-learn's `IsotonicRegression`. A step
    is level, and beyond the first and the last knot there is nothing to go by: so that documents of different raw
    scores keep their order there, one part in a thousand of the curve is an arc tangent of the raw score, centered
    on the middle of the knots and as wide as half their range.

    Pool adjacent violators: Barlow et al., "Statistical inference under order restrictions" (1972); for
    probabilities, Zadrozny and Elkan (2002).
    """

    method: Literal["isotonic"] = "isotonic"
    knots: tuple[tuple[float, Annotated[float, Field(ge=0.0, le=1.0)]], ...] = Field(min_length=2)

    @field_validator("knots")
    @classmethod
    def _rise(cls, knots: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if any(a >= b or p > q for (a, p), (b, q) in pairwise(knots)):
            raise ValueError("knots must have rising raw scores, and probabilities that never fall")
        return knots

    @classmethod
    def fit(cls, scores: NDArray[np.float64], relevant: NDArray[np.bool_]) -> Self:
        """Fit the steps to raw scores and whether each one's document is relevant; both of shape (n,).

        Raises:
            InputError: higher scores are not more relevant.
        """
        import numpy as np

        raw, where = np.unique(scores, return_inverse=True)
        counts, sums = np.bincount(where), np.bincount(where, weights=relevant)
        steps: list[tuple[float, float, float, float]] = []  # relevant, all, first raw score, last raw score
        for first, good, count in zip(raw.tolist(), sums.tolist(), counts.tolist(), strict=True):
            last = first
            while steps and steps[-1][0] * count >= good * steps[-1][1]:  # no lower than this one: pool them
                before, all_before, first, _ = steps.pop()
                good, count = good + before, count + all_before
            steps.append((good, count, first, last))
        if len(steps) < 2:
            raise InputError("by these judgments documents with higher scores are not more relevant")
        knots: list[tuple[float, float]] = []
        for good, count, first, last in steps:
            knots += [(score, good / count) for score in dict.fromkeys((first, last))]
        return cls(knots=tuple(knots))

    def __call__(self, score: float) -> float:
        """Probability that a document of this raw score is relevant."""
        first, last = self.knots[0][0] / 2, self.knots[-1][0] / 2
        rising = 0.5 + atan((score - (first + last)) / (last - first or 1.0)) / pi
        return _off_the_edge((1.0 - _TILT) * self.on_steps(score) + _TILT * rising)

    def on_steps(self, score: float) -> float:
        """The fitted step function at a score, linear between its knots; it may be level, as `__call__` is not."""
        at = bisect_right(self.knots, (score, inf))
        if at in (0, len(self.knots)):
            return self.knots[min(at, len(self.knots) - 1)][1]
        (a, p), (b, q) = self.knots[at - 1], self.knots[at]
        return p + (q - p) * ((score - a) / (b - a))


Calibration: TypeAlias = Annotated[Platt | Isotonic, Field(discriminator="method")]
"""A fitted curve."""


def in_order(raw: Sequence[float], probabilities: Sequence[float]) -> list[float]:
    """The probabilities, in the strict order of the raw scores.

    Only rounding can make two of them equal whose raw scores differ: the higher then gets the next float.

    >>> in_order([2.0, 1.0, 1.0], [0.5, 0.5, 0.5])
    [0.5000000000000001, 0.5, 0.5]
    """
    ordered = list(probabilities)
    previous: int | None = None
    for at in sorted(range(len(raw)), key=raw.__getitem__):
        if previous is not None:
            if raw[at] == raw[previous]:
                ordered[at] = ordered[previous]
            elif ordered[at] <= ordered[previous]:
                ordered[at] = nextafter(ordered[previous], 1.0)
        previous = at
    return ordered


def _off_the_edge(probability: float) -> float:
    return min(max(probability, _EDGE), 1.0 - _EDGE)
