"""Score fusion: several rankings -> one, by normalized scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum
from typing import Literal

from pydantic import Field

from hybridrank.component.base import Component
from hybridrank.fusion.normalization import NORMALIZATIONS
from hybridrank.fusion.weights import Weights, weights_for
from hybridrank.types import Query, Ranking

__all__ = ["ScoreFusion"]


class ScoreFusion(Component):
    """Normalizes every arm's scores, multiplies them by weights, and combines them per document.

    `normalize` is the method. Each maps "not found" to zero, so that no document that an arm found counts less
    than one that it missed, and an arm whose scores are all equal (or a single one) still contributes:

    - ``"min-max"``: the arm's lowest score is 0, its highest 1. All equal: 1, since each is the highest.
    - ``"z-score"``: standard deviations above the arm's lowest score. Plain z-scores, zero at the mean, would
      place a document that the arm missed above half of those that it found; taken from the lowest score they
      order a sum just as plain z-scores do that give a missed document the arm's lowest. All equal: 1, which is
      the mean of any two scores that differ.
    - ``"dbsf"``, distribution-based score fusion: 0 is three standard deviations below the arm's mean, 1 is three
      above. All equal: 0.5, the mean. This follows Qdrant (``lib/segment/src/common/score_fusion.rs``), with the
      sample's deviation (n - 1) and without a ceiling; only scores below 0 are raised to 0 here.

    `combine` combines a document's normalized scores (Fox and Shaw, "Combination of multiple
    searches", TREC-2, 1994): their ``"sum"``, the largest (``"max"``), or ``"mnz"``, the sum times the number of
    arms that found the document, not counting arms of weight 0. `weights` are as in `RRF`.

    >>> arms = {"bm25": Ranking.of({"a": 9.0, "b": 6.0, "c": 5.0}), "dense": Ranking.of({"b": 0.8, "d": 0.4})}
    >>> fused = ScoreFusion().fuse(arms, query=Query("air"))
    >>> list(zip(fused.ids, fused.scores))
    [('b', 1.25), ('a', 1.0), ('c', 0.0), ('d', 0.0)]
    >>> ScoreFusion(combine="mnz", weights={"dense": 0.5}).fuse(arms, query=Query("air")).scores
    (1.5, 1.0, 0.0, 0.0)
    """

    use = "score"

    normalize: Literal["min-max", "z-score", "dbsf"] = "min-max"
    combine: Literal["sum", "max", "mnz"] = "sum"
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
        """Merge the rankings by score; ranks are ignored."""
        if weights is None:
            weights = self.weights_for(query, rankings)
        normalize, combine = NORMALIZATIONS[self.normalize], _COMBINE[self.combine]
        found: dict[str, list[float]] = {}
        for arm, ranking in rankings.items():
            weight = weights[arm]
            for doc_id, score in zip(ranking.ids, normalize(ranking.scores), strict=True):
                parts = found.setdefault(doc_id, [])
                if weight:
                    parts.append(weight * score)
        return Ranking.of({doc_id: combine(parts) for doc_id, parts in found.items()})


_COMBINE: Mapping[str, Callable[[Sequence[float]], float]] = {
    "sum": fsum,
    "max": lambda parts: max(parts, default=0.0),
    "mnz": lambda parts: len(parts) * fsum(parts),
}
