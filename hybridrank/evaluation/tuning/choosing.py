"""The best of many variants on some queries, within bounds, such that noise does not choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, isfinite, sqrt
from typing import TYPE_CHECKING

from hybridrank.errors import InputError
from hybridrank.evaluation.tuning.sweep import Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Goal", "Table"]


@dataclass(frozen=True)
class Goal:
    """The measure to be made large, of `ir_measures`, and bounds on what it may take.

    `p95` is in seconds, which 95 of a hundred searches may not exceed; `cost` is that of a thousand queries, at
    `prices` for one of each thing that reranking counts, as ``{"search_units": 0.002}``.

    Raises:
        InputError: a bound is not positive, or a cost is bounded and there are no prices.
    """

    objective: str = "nDCG@10"
    p95: float | None = None
    cost: float | None = None
    prices: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("p95", "cost"):
            bound = getattr(self, name)
            if bound is not None and not (isfinite(bound) and bound > 0):
                raise InputError(f"the bound {name} must be a positive number, not {bound!r}")
        if self.cost is not None and not self.prices:
            raise InputError("a cost is bounded, and there are no prices: give them, as in search_units=0.002")


class Table:
    """Variants by queries: how good each was on each, how many seconds it took, and what it cost.

    Row 0 is the default. `timed` are the queries whose times count.
    """

    def __init__(
        self,
        outcomes: Sequence[Outcome],
        values: NDArray[np.float64],
        goal: Goal,
        *,
        timed: NDArray[np.bool_],
        tolerance: float,
    ) -> None:
        import numpy as np

        self.outcomes = outcomes
        self.values = values
        self.seconds = np.stack([outcome.seconds for outcome in outcomes])
        self.costs = np.stack([outcome.costs for outcome in outcomes])
        self._goal = goal
        self._timed = timed
        self._tolerance = tolerance

    def p95(self, queries: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of each variant, the seconds that 95 of a hundred searches do not exceed (the nearest rank)."""
        import numpy as np

        of = queries[self._timed[queries]]
        if not len(of):
            of = queries
        place = max(0, ceil(0.95 * len(of)) - 1)
        found: NDArray[np.float64] = np.partition(self.seconds[:, of], place, axis=1)[:, place]
        return found

    def cost(self, queries: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of each variant, what a thousand queries cost."""
        found: NDArray[np.float64] = 1000 * self.costs[:, queries].mean(1)
        return found

    def feasible(self, queries: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which variants keep within the bounds on these queries."""
        import numpy as np

        found = np.ones(len(self.outcomes), dtype=bool)
        if self._goal.p95 is not None:
            found &= self.p95(queries) <= self._goal.p95
        if self._goal.cost is not None:
            found &= self.cost(queries) <= self._goal.cost
        return found

    def choose(self, queries: NDArray[np.int64], *, strict: bool = True) -> int:
        """The simplest variant that is not shown to be worse than the best, of those within the bounds.

        That is, whose mean difference from the best, query by query, is at most so many of its standard errors
        (Breiman et al., "Classification and Regression Trees", 1984, with paired differences). The default is the
        simplest; then the one that reranks less, then that with fewer arms, then that which changes less.

        Where none keeps within the bounds it is what comes nearest, if not `strict`.

        Raises:
            InputError: none keeps within the bounds; says which bound, and what comes nearest.
        """
        import numpy as np

        possible = np.flatnonzero(self.feasible(queries))
        if not len(possible):
            if strict:
                raise InputError(self._unmet(queries))
            return self._nearest(queries)
        of = self.values[np.ix_(possible, queries)]
        means = of.mean(1)
        lost = of[int(means.argmax())] - of
        errors = lost.std(1, ddof=1) / sqrt(len(queries)) if len(queries) > 1 else np.zeros(len(possible))
        near = np.flatnonzero(lost.mean(1) <= self._tolerance * errors + 1e-12)
        return int(
            min(possible[near].tolist(), key=lambda n: (self._plainness[n], -self.values[n, queries].mean(), n))
        )

    @cached_property
    def _plainness(self) -> list[tuple[int, ...]]:
        default = self.outcomes[0]
        return [_plainness(outcome, default, number) for number, outcome in enumerate(self.outcomes)]

    def _bounds(self, queries: NDArray[np.int64]) -> list[tuple[float, NDArray[np.float64], str]]:
        bounds = (
            (self._goal.p95, self.p95(queries), "p95 of {:.3g} s"),
            (self._goal.cost, self.cost(queries), "cost of {:.3g} for a thousand queries"),
        )
        return [(bound, of, words) for bound, of, words in bounds if bound is not None]

    def _nearest(self, queries: NDArray[np.int64]) -> int:
        """The variant that breaks its worst bound least."""
        import numpy as np

        return int(np.max([of / bound for bound, of, _ in self._bounds(queries)], axis=0).argmin())

    def _unmet(self, queries: NDArray[np.int64]) -> str:
        unmet = [
            f"nothing has a {words.format(bound)} or less: the least is {words.format(of.min())} "
            f"({self.outcomes[int(of.argmin())].variant.label})"
            for bound, of, words in self._bounds(queries)
            if of.min() > bound
        ]
        if unmet:
            return "; ".join(unmet)
        row = self._nearest(queries)
        has = " and a ".join(words.format(of[row]) for _, of, words in self._bounds(queries))
        return (
            f"each bound can be met, but not both: {self.outcomes[row].variant.label} comes nearest, with a {has}"
        )


def _plainness(outcome: Outcome, default: Outcome, number: int) -> tuple[int, ...]:
    variant = outcome.variant
    changes = len(variant.settings(other=default.variant)) + (outcome.source != default.source)
    return (int(number > 0), variant.rerank_k, len(variant.arms), changes)
