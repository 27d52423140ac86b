"""Several rankings of one query -> one ranking: by rank (`RRF`), or by score (`ScoreFusion`).

A fused ranking holds every document that any arm found. Its scores are for ordering the documents of one query;
they do not compare across queries. Sums are exactly rounded (`math.fsum`), so no order of the arms changes a
score, and documents that deserve a tie get one, which their ids then break.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum, sqrt
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from hybridrank.component import Component
from hybridrank.types import Ranking

__all__ = ["RRF", "ScoreFusion"]

Weights: TypeAlias = dict[str, Annotated[float, Field(ge=0)]]


class RRF(Component):
    """Reciprocal rank fusion: a document scores the sum of ``weight / (k + rank)`` over the arms that found it.

    Ranks count from 1. `weights` are by arm, the pipeline's name for a retriever; an arm without one has weight 1.
    An arm of weight 0 still brings its documents, which then come last.

    The defaults here are the paper's. A pipeline's default fusion, also where it is named ``"rrf"`` alone, is
    ``RRF(k=5, weights={"dense": 2.0})``, which did better on short lists (docs/quality.md).

    Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning
    methods", SIGIR 2009.

    >>> lexical, dense = Ranking.of({"a": 9.1, "b": 4.2}), Ranking.of({"b": 0.81, "c": 0.44})
    >>> fused = RRF().fuse({"bm25": lexical, "dense": dense})
    >>> [(doc_id, round(score, 6)) for doc_id, score in zip(fused.ids, fused.scores)]
    [('b', 0.032522), ('a', 0.016393), ('c', 0.016129)]
    >>> RRF(weights={"dense": 2.0}).fuse({"bm25": lexical, "dense": dense}).ids
    ('b', 'c', 'a')
    """

    use = "rrf"

    k: int = Field(default=60, gt=0)
    weights: Weights = Field(default_factory=dict)

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it computes on what it is given."""
        return {}

    def fuse(self, rankings: Mapping[str, Ranking]) -> Ranking:
        """Merge the rankings; their scores are not read."""
        parts: dict[str, list[float]] = {}
        total: dict[str, float] = {}
        for arm, ranking in rankings.items():
            weight = self.weights.get(arm, 1.0)
            for position, doc_id in enumerate(ranking.ids, start=self.k + 1):
                share = weight / position
                if doc_id not in total:
                    total[doc_id] = share
                elif len(rankings) == 2:  # the sum of two numbers is exactly rounded as it is
                    total[doc_id] += share
                else:
                    parts.setdefault(doc_id, [total[doc_id]]).append(share)
        total.update((doc_id, fsum(shares)) for doc_id, shares in parts.items())
        return Ranking.of(total)


class ScoreFusion(Component):
    """Put every arm's scores on one scale, weigh them, and combine them document by document.

    `normalise` is the scale. Each has its zero where it stands for "not found", so that no document that an arm
    found counts for less than one that it missed, and an arm whose scores are all equal (a single document
    included) never vanishes:

    - ``"min-max"``: the arm's lowest score is 0, its highest 1. All equal: 1, since each is the highest.
    - ``"z-score"``: standard deviations above the arm's lowest score. Plain z-scores, zero at the mean, would
      place a document that the arm missed above half of those that it found; taken from the lowest score they
      order a sum just as plain z-scores do that give a missed document the arm's lowest. All equal: 1, which is
      the mean of any two scores that differ.
    - ``"dbsf"``, distribution-based score fusion: 0 is three standard deviations below the arm's mean, 1 is three
      above. All equal: 0.5, the mean. So Qdrant does it (``lib/segment/src/common/score_fusion.rs``), with the
      sample's deviation (n - 1) and without a ceiling; only scores below 0 are raised to 0 here.

    `combine` is what becomes of a document's normalised scores (Fox and Shaw, "Combination of multiple
    searches", TREC-2, 1994): their ``"sum"``, the largest (``"max"``), or ``"mnz"``, the sum times the number of
    arms that found the document, not counting arms of weight 0. `weights` are as in `RRF`.

    >>> lexical, dense = Ranking.of({"a": 9.0, "b": 6.0, "c": 5.0}), Ranking.of({"b": 0.8, "d": 0.4})
    >>> fused = ScoreFusion().fuse({"bm25": lexical, "dense": dense})
    >>> list(zip(fused.ids, fused.scores))
    [('b', 1.25), ('a', 1.0), ('c', 0.0), ('d', 0.0)]
    >>> ScoreFusion(combine="mnz", weights={"dense": 0.5}).fuse({"bm25": lexical, "dense": dense}).scores
    (1.5, 1.0, 0.0, 0.0)
    """

    use = "score"

    normalise: Literal["min-max", "z-score", "dbsf"] = "min-max"
    combine: Literal["sum", "max", "mnz"] = "sum"
    weights: Weights = Field(default_factory=dict)

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it computes on what it is given."""
        return {}

    def fuse(self, rankings: Mapping[str, Ranking]) -> Ranking:
        """Merge the rankings; their order is not read."""
        normalise, combine = _NORMALISE[self.normalise], _COMBINE[self.combine]
        found: dict[str, list[float]] = {}
        for arm, ranking in rankings.items():
            weight = self.weights.get(arm, 1.0)
            for doc_id, score in zip(ranking.ids, normalise(ranking.scores), strict=True):
                parts = found.setdefault(doc_id, [])
                if weight:
                    parts.append(weight * score)
        return Ranking.of({doc_id: combine(parts) for doc_id, parts in found.items()})


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


_NORMALISE: Mapping[str, Callable[[Sequence[float]], list[float]]] = {
    "min-max": _min_max,
    "z-score": _z_score,
    "dbsf": _dbsf,
}
_COMBINE: Mapping[str, Callable[[Sequence[float]], float]] = {
    "sum": fsum,
    "max": lambda parts: max(parts, default=0.0),
    "mnz": lambda parts: len(parts) * fsum(parts),
}
