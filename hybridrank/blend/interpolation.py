"""The reranker's scores mixed with the fused order, in standard deviations.

Rerankers score on scales of every kind (logits, 0…1, sums, places in a list), so what counts is how far a score
stands out among those of its query.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from hybridrank.errors import InputError
from hybridrank.fusion.normalization import standardize
from hybridrank.types import Ranking

__all__ = ["blend", "blended"]


def blended(scores: Sequence[float], *, weight: float) -> list[float]:
    """A new score for each document; `scores` are the reranker's, in the documents' fused order.

    ``(1 - weight) * z(score) + weight * z(-log(1 + fused rank))``, where z counts standard deviations from the
    mean (0 where all are equal), and ranks count from 1. So `weight` 0 gives the reranker's order, 1 the fused
    one, and the answer is the same on every scale that differs by a factor and an offset.

    >>> [round(score, 2) for score in blended([0.2, 0.9, 0.1], weight=0.25)]
    [-0.1, 1.02, -0.92]
    """
    prior = standardize([-log(place + 1) for place in range(1, len(scores) + 1)])
    return [(1 - weight) * a + weight * b for a, b in zip(standardize(scores), prior, strict=True)]


def blend(fused: Ranking, reranked: Ranking, *, weight: float) -> Ranking:
    """The documents of `reranked`, ordered by both; their fused ranks count among themselves.

    A trace has both: ``blend(trace.stage("fusion").ranking, trace.stage("rerank").ranking, weight=0.3)`` is what a
    pipeline with that weight would have found.

    Raises:
        InputError: `fused` lacks one of the documents.
    """
    found = dict(zip(reranked.ids, reranked.scores, strict=True))
    ids = [doc_id for doc_id in fused.ids if doc_id in found]
    if len(ids) < len(found):
        lost = next(doc_id for doc_id in reranked.ids if doc_id not in set(ids))
        raise InputError(f"the fused ranking lacks document {lost!r}, which the reranker has scored")
    scores = blended([found[doc_id] for doc_id in ids], weight=weight)
    return Ranking.of(zip(ids, scores, strict=True))
