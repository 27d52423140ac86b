"""Reciprocal rank fusion: several rankings -> one, by rank."""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum

from pydantic import Field

from hybridrank.component.base import Component
from hybridrank.fusion.weights import Weights, weights_for
from hybridrank.types import Query, Ranking

__all__ = ["RRF"]


class RRF(Component):
    """Reciprocal rank fusion: a document scores the sum of ``weight / (k + rank)`` over the arms that found it.

    Ranks count from 1. `weights` are by arm, the pipeline's name for a retriever; an arm without one has weight
    1. A `WeightModel` chooses them for each query. An arm of weight 0 still contributes its documents, in last
    place.

    The defaults here are the paper's. A pipeline's default fusion, also if it is given only as ``"rrf"``, is
    ``RRF(k=5, weights={"dense": 2.0})``, which is better on short lists (docs/quality.md).

    Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods", SIGIR 2009.

    >>> arms = {"bm25": Ranking.of({"a": 9.1, "b": 4.2}), "dense": Ranking.of({"b": 0.81, "c": 0.44})}
    >>> fused = RRF().fuse(arms, query=Query("air"))
    >>> [(doc_id, round(score, 6)) for doc_id, score in zip(fused.ids, fused.scores)]
    [('b', 0.032522), ('a', 0.016393), ('c', 0.016129)]
    >>> RRF(weights={"dense": 2.0}).fuse(arms, query=Query("air")).ids
    ('b', 'c', 'a')
    """

    use = "rrf"

    k: int = Field(default=60, gt=0)
    weights: Weights = Field(default_factory=dict)

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it only computes."""
        return {}

    def weights_for(self, query: Query, rankings: Mapping[str, Ranking]) -> dict[str, float]:
        """The weight of each ranking."""
        return weights_for(self.weights, query, rankings)

    def fuse(
        self, rankings: Mapping[str, Ranking], *, query: Query, weights: Mapping[str, float] | None = None
    ) -> Ranking:
        """Merge the rankings by rank; scores are ignored."""
        if weights is None:
            weights = self.weights_for(query, rankings)
        parts: dict[str, list[float]] = {}
        total: dict[str, float] = {}
        for arm, ranking in rankings.items():
            weight = weights[arm]
            for position, doc_id in enumerate(ranking.ids, start=self.k + 1):
                share = weight / position
                if doc_id not in total:
                    total[doc_id] = share
                elif len(rankings) == 2:  # the sum of two numbers is already exactly rounded
                    total[doc_id] += share
                else:
                    parts.setdefault(doc_id, [total[doc_id]]).append(share)
        total.update((doc_id, fsum(shares)) for doc_id, shares in parts.items())
        return Ranking.of(total)
