"""Checks of a weight model: a query and the rankings of its arms -> a weight for each arm."""

# ruff: noqa: ARG001  (every check takes the component and the tolerances)

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hybridrank.component.protocols import WeightModel
from hybridrank.errors import BackendResponseError
from hybridrank.fusion.weights import weights_for
from hybridrank.testing.kit import THREADS, CheckFailed, Tolerances, call, in_threads, require
from hybridrank.testing.samples import ODD_TEXTS, queries
from hybridrank.types import Query, Ranking

__all__ = ["CHECKS"]

_ARMS = {
    "bm25": Ranking(("a", "b", "c"), (12.5, 11.0, 8.0)),
    "dense": Ranking(("c", "a"), (0.9, 0.7)),
}


def _weights(model: WeightModel, query: Query, rankings: Mapping[str, Ranking], what: str) -> dict[str, float]:
    """Ask for weights, and check what came."""
    try:
        return call(lambda: weights_for(model, query, rankings), what)
    except BackendResponseError as error:
        raise CheckFailed(f"{what}: {error}") from error


def finite_weights(model: WeightModel, tolerances: Tolerances) -> None:
    """Weights are finite and at least 0, and some arm has more than 0."""
    for query in queries():
        found = _weights(model, query, _ARMS, "weights() of two arms")
        require(
            any(weight > 0 for weight in found.values()),
            f"weights() gave {found} for {query.text!r}: with no weight above 0 the order is that of the ids",
        )


def empty_arms(model: WeightModel, tolerances: Tolerances) -> None:
    """Arms that found nothing, and a single arm, have weights too."""
    query = queries()[0]
    _weights(model, query, {"bm25": Ranking(), "dense": Ranking()}, "weights() of two empty arms")
    _weights(model, query, {"bm25": _ARMS["bm25"]}, "weights() of one arm")


def odd_queries(model: WeightModel, tolerances: Tolerances) -> None:
    """Odd texts raise nothing."""
    for name, text in ODD_TEXTS.items():
        if text.strip():
            _weights(model, Query(text), _ARMS, f"weights() for a query of {name}")


def repeatable(model: WeightModel, tolerances: Tolerances) -> None:
    """The same query and rankings have the same weights, in threads too."""
    query = queries()[0]
    expected = _weights(model, query, _ARMS, "weights()")
    for found in in_threads(lambda _: _weights(model, query, _ARMS, f"weights() in {THREADS} threads")):
        require(found == expected, f"weights() in {THREADS} threads gave {found}, expected {expected} as in one")


CHECKS: Sequence[Callable[[WeightModel, Tolerances], None]] = (finite_weights, empty_arms, odd_queries, repeatable)
