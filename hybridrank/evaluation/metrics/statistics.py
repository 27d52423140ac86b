"""What a difference between two pipelines is worth: a paired test, intervals, and many tests at once.

All of it is scipy's, seeded: the same values give the same numbers. Two values are the least that there are
statistics of; with fewer every answer is None.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from hybridrank.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CONFIDENCE", "RESAMPLES", "SEED", "Interval", "holm", "mean_interval", "paired_test"]

SEED = 0
RESAMPLES = 9999
CONFIDENCE = 0.95

_AT_ONCE = 10_000_000  # numbers drawn at a time: 80 MB


class Interval(NamedTuple):
    """Where the mean over all such queries lies, with the confidence that was asked for."""

    low: float
    high: float


def mean_interval(
    values: Sequence[float], *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval | None:
    """The bootstrap interval of a mean, bias-corrected and accelerated (BCa); None of fewer than two values.

    Where that is not defined, as for values that are almost all equal, it is the percentile interval; where all
    are equal, the value itself. Efron, "Better bootstrap confidence intervals", JASA 1987.

    >>> mean_interval([0.5, 0.5, 0.5])
    Interval(low=0.5, high=0.5)
    """
    _check(confidence, resamples)
    if len(values) < 2:
        return None
    if min(values) == max(values):
        return Interval(float(values[0]), float(values[0]))
    return _bootstrap(tuple(values), confidence, resamples, seed)


@lru_cache(maxsize=512)  # a report asks for the same more than once
def _bootstrap(values: tuple[float, ...], confidence: float, resamples: int, seed: int) -> Interval:
    import numpy as np

    stats = _stats()
    sample = np.asarray(values, dtype=float)
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of degenerate data, which is why there is another method
            found = stats.bootstrap(
                (sample,),
                np.mean,
                method=method,
                confidence_level=confidence,
                n_resamples=resamples,
                batch=max(1, _AT_ONCE // len(sample)),
                rng=np.random.default_rng(seed),
            ).confidence_interval
        low, high = float(found.low), float(found.high)
        if math.isfinite(low) and math.isfinite(high):
            break
    return Interval(low, high)


def paired_test(
    values: Sequence[float], others: Sequence[float], *, resamples: int = RESAMPLES, seed: int = SEED
) -> float | None:
    """How probable a difference of means as large as this is, under random exchange within each pair.

    It is the two-sided p-value of the paired randomization test: exact where there are no more than `resamples`
    ways to swap, and else estimated, never below 2 / (resamples + 1). None of fewer than two pairs.

    Smucker, Allan and Carterette, "A comparison of statistical significance tests for information retrieval
    evaluation", CIKM 2007.

    >>> paired_test([0.9, 0.8, 0.7, 0.9], [0.5, 0.4, 0.6, 0.1])
    0.125

    Raises:
        InputError: there are not as many of the one as of the other.
    """
    _check(CONFIDENCE, resamples)
    if len(values) != len(others):
        raise InputError(f"a paired test needs pairs, not {len(values)} values and {len(others)}")
    if len(values) < 2:
        return None
    import numpy as np

    found = _stats().permutation_test(
        (np.asarray(values, dtype=float), np.asarray(others, dtype=float)),
        _mean_difference,
        permutation_type="samples",
        n_resamples=resamples,
        batch=max(1, _AT_ONCE // len(values)),
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, raised so that any false alarm among them is as rare as one test's.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    raised = [0.0] * len(p_values)
    highest = 0.0
    for position, number in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - position) * p_values[number]))
        raised[number] = highest
    return raised


def _mean_difference(x: NDArray[np.float64], y: NDArray[np.float64], axis: int = -1) -> Any:
    return (x - y).mean(axis=axis)


def _check(confidence: float, resamples: int) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"a confidence lies between 0 and 1, such as 0.95; not {confidence}")
    if resamples < 99:
        raise InputError(f"at least 99 resamples are needed, not {resamples}")


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingDependencyError(
            'evaluation needs ir_measures and scipy; pip install "hybridrank[evaluate]"'
        ) from error
    return stats
