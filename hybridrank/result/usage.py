"""Usage of the reranker, summed over searches, and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybridrank.errors import InputError
from hybridrank.result.trace import Stage
from hybridrank.runtime import fork
from hybridrank.values.arguments import prices_of

__all__ = ["Usage", "with_cost"]


class Usage:
    """Sums over the reranking stages of searches; thread-safe."""

    def __init__(self) -> None:
        self._lock = fork.new_lock()
        self._sums: dict[str, float] = {
            "searches": 0,
            "documents": 0,
            "failures": 0,
            "shortened": 0,
            "seconds": 0.0,
        }

    def add(self, stage: Stage) -> None:
        """Add one query's stage; the seconds of a batch are shared by its queries."""
        amounts: dict[str, Any] = {
            **stage.details,
            "searches": 1,
            "documents": len(stage.ids),
            "failures": int(stage.error is not None and not stage.late),
            "shortened": int(stage.late),
            "seconds": stage.seconds / stage.batch,
        }
        with self._lock:
            for name, amount in amounts.items():
                if type(amount) in (int, float):
                    self._sums[name] = self._sums.get(name, 0) + amount

    def to_dict(self, prices: Mapping[str, float] | None = None) -> dict[str, float]:
        """The sums, by name; with `prices` per unit, also their ``cost``, in the currency of the prices.

        Raises:
            InputError: a price is for what was never counted, and `cost` would be silently too low.
        """
        with self._lock:
            sums = dict(self._sums)
        return with_cost(sums, prices)


def with_cost(sums: dict[str, float], prices: Mapping[str, float] | None) -> dict[str, float]:
    """The sums; with `prices` per unit, also their ``cost``, in the currency of the prices.

    Raises:
        InputError: a price is for what was never counted, and `cost` would be silently too low.
    """
    if prices is None:
        return sums
    prices = prices_of(prices)
    if unknown := [name for name in prices if name not in sums]:
        raise InputError(f"nothing was counted as {', '.join(map(repr, unknown))} (counted: {', '.join(sums)})")
    return {**sums, "cost": sum(price * sums[name] for name, price in prices.items())}
