"""The contracts of fusions (several rankings -> one ranking) and of weight models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from hybridrank.types import Query, Ranking

__all__ = ["BatchedFusion", "Fusion", "WeightModel", "WeightedFusion"]


@runtime_checkable
class Fusion(Protocol):
    """Several rankings -> one ranking."""

    def fuse(self, rankings: Mapping[str, Ranking], *, query: Query) -> Ranking:
        """Merge the rankings of one query; the keys are the pipeline's names for its retrievers.

        If a query has several formulations, the rankings of the second one are keyed ``"bm25 #2"``, and so on.
        """
        ...


@runtime_checkable
class BatchedFusion(Fusion, Protocol):
    """A fusion that merges the rankings of several queries in one call."""

    def fuse_many(
        self, rankings: Sequence[Mapping[str, Ranking]], *, queries: Sequence[Query]
    ) -> Sequence[Ranking]:
        """Merge the rankings of each query, in the order of `queries`; the same results as `fuse`."""
        ...


@runtime_checkable
class WeightedFusion(Fusion, Protocol):
    """A fusion that gives each ranking a weight."""

    def weights_for(self, query: Query, rankings: Mapping[str, Ranking]) -> Mapping[str, float]:
        """The weight of each ranking, at least zero; its keys are those of `rankings`."""
        ...

    def fuse(
        self, rankings: Mapping[str, Ranking], *, query: Query, weights: Mapping[str, float] | None = None
    ) -> Ranking:
        """Like `Fusion.fuse`, with these weights instead of its own."""
        ...


@runtime_checkable
class WeightModel(Protocol):
    """A model that chooses the weights of the arms for each query."""

    def weights(self, query: Query, rankings: Mapping[str, Ranking]) -> Mapping[str, float]:
        """The weight of each arm, at least zero and finite; an arm without one has weight 1.

        The trace records the weights, so that a replay fuses with the same ones.
        """
        ...
