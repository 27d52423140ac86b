"""The best of many variants on some queries, within bounds, such that noise does not choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil, isfinite, sqrt
from typing import TYPE_CHECKING

from hybridrank.errors import InputError
from hybridrank.evaluation.tuning.sweep import VariantOutcome

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

    Row 0 is the default. `timed` are the queries whose times count. All queries determine whether a variant keeps
    within the bounds.
    """

    def __init__(
        self,
        outcomes: Sequence[VariantOutcome],
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

    @cached_property
    def p95(self) -> NDArray[np.float64]:
        """Of each variant, the seconds that 95 of a hundred searches do not exceed (the nearest rank)."""
        import numpy as np

        of = self.seconds[:, self._timed] if self._timed.any() else self.seconds
        place = max(0, ceil(0.95 * of.shape[1]) - 1)
        found: NDArray[np.float64] = np.partition(of, place, axis=1)[:, place]
        return found

    @cached_property
    def cost(self) -> NDArray[np.float64]:
        """Of each variant, what a thousand queries cost."""
        found: NDArray[np.float64] = 1000 * self.costs.mean(1)
        return found

    @cached_property
    def possible(self) -> list[int]:
        """The variants within the bounds.

        Raises:
            InputError: there is none; says which bound, and what comes nearest.
        """
        import numpy as np

        found = np.ones(len(self.outcomes), dtype=bool)
        for bound, of, _ in self._bounds():
            found &= of <= bound
        if not found.any():
            raise InputError(self._unmet())
        return np.flatnonzero(found).tolist()

    @cached_property
    def _reduced(self) -> list[int]:
        """The default; where it breaks a bound, what of it is within: with less reranking, or with one arm alone.

        Where nothing of it is, row 0.
        """
        if 0 in self.possible:
            return [0]
        return [row for row in self.possible if _is_reduced(self.outcomes[row], self.outcomes[0])] or [0]

    def baseline(self, queries: NDArray[np.int64]) -> int:
        """What is kept unless another is shown to be better: the default.

        Where it breaks a bound, the best on these queries of what it comes to with less reranking or with one arm
        alone: few enough that chance chooses little. Where none of these is within the bounds, the default still.
        """
        of = self.values[self._reduced][:, queries].mean(1)
        return self._reduced[int(of.argmax())]

    def choose(self, queries: NDArray[np.int64]) -> int:
        """The simplest variant that is not shown to be worse on these queries than the best, of the possible.

        That is, whose mean difference from the best, query by query, is at most so many of its standard errors
        (Breiman et al., "Classification and Regression Trees", 1984, with paired differences). The baseline is
        the simplest; then the one that reranks less, then that with fewer arms, then that which changes less.
        """
        import numpy as np

        baseline = self.outcomes[self.baseline(queries)]
        of = self.values[self.possible][:, queries]
        means = of.mean(1)
        lost = of[int(means.argmax())] - of
        errors = lost.std(1, ddof=1) / sqrt(len(queries)) if len(queries) > 1 else np.zeros(len(of))
        near = np.flatnonzero(lost.mean(1) <= self._tolerance * errors + 1e-12)
        return min(
            [self.possible[n] for n in near],
            key=lambda n: (_simplicity(self.outcomes[n], baseline), -self.values[n, queries].mean(), n),
        )

    def _bounds(self) -> list[tuple[float, NDArray[np.float64], str]]:
        bounds = (
            (self._goal.p95, self.p95, "p95 of {:.3g} s"),
            (self._goal.cost, self.cost, "cost of {:.3g} for a thousand queries"),
        )
        return [(bound, of, words) for bound, of, words in bounds if bound is not None]

    def _unmet(self) -> str:
        import numpy as np

        unmet = [
            f"nothing has a {words.format(bound)} or less: the least is {words.format(of.min())} "
            f"({self.outcomes[int(of.argmin())].variant.label})"
            for bound, of, words in self._bounds()
            if of.min() > bound
        ]
        if unmet:
            return "; ".join(unmet)
        nearest = int(np.max([of / bound for bound, of, _ in self._bounds()], axis=0).argmin())
        has = " and a ".join(words.format(of[nearest]) for _, of, words in self._bounds())
        return (
            f"each bound can be met, but not both: {self.outcomes[nearest].variant.label} comes nearest, with a "
            f"{has}"
        )


def _is_reduced(outcome: VariantOutcome, default: VariantOutcome) -> bool:
    """Whether it is the default with less reranking, or with fewer arms."""
    kept = replace(default.variant, arms=outcome.variant.arms, rerank_k=outcome.variant.rerank_k)
    return (
        outcome.source == default.source
        and outcome.variant == kept
        and outcome.variant.rerank_k <= default.variant.rerank_k
    )


def _simplicity(outcome: VariantOutcome, baseline: VariantOutcome) -> tuple[int, ...]:
    variant = outcome.variant
    changes = len(variant.settings(other=baseline.variant)) + (outcome.source != baseline.source)
    return (int(changes > 0), variant.rerank_k, len(variant.arms), changes)
