"""Interpolation of the reranker's scores with the fused order, on standardized scores.

Rerankers use scales of every kind (logits, 0…1, sums, ranks), so scores are standardized within a query.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from hybridrank.errors import InputError
from hybridrank.fusion.normalization import standardize
from hybridrank.types import Ranking

__all__ = ["blend", "blend_scores"]


def blend_scores(scores: Sequence[float], *, weight: float) -> list[float]:
    """A new score for each document; `scores` are the reranker's, in the documents' fused order.

    ``(1 - weight) * z(score) + weight * z(-log(1 + fused rank))``, where z standardizes over the documents (0 if
    all are equal), and ranks count from 1. `weight` 0 gives the reranker's order, 1 the fused one. The result is
    invariant to a factor and an offset of the scores.

    >>> [round(score, 2) for score in blend_scores([0.2, 0.9, 0.1], weight=0.25)]
    [-0.1, 1.02, -0.92]
    """
    prior = standardize([-log(place + 1) for place in range(1, len(scores) + 1)])
    return [(1 - weight) * a + weight * b for a, b in zip(standardize(scores), prior, strict=True)]


def blend(fused: Ranking, reranked: Ranking, *, weight: float) -> Ranking:
    """The documents of `reranked`, ordered by both; fused ranks are counted among these documents.

    A trace has both: ``blend(trace.stage("fusion").ranking, trace.stage("rerank").ranking, weight=0.3)`` is the
    result of a pipeline with that weight.

    Raises:
        InputError: `fused` lacks one of the documents.
    """
    found = dict(zip(reranked.ids, reranked.scores, strict=True))
    ids = [doc_id for doc_id in fused.ids if doc_id in found]
    if len(ids) < len(found):
        lost = next(doc_id for doc_id in reranked.ids if doc_id not in set(ids))
        raise InputError(f"the fused ranking lacks document {lost!r}, which the reranker has scored")
    scores = blend_scores([found[doc_id] for doc_id in ids], weight=weight)
    return Ranking.of(zip(ids, scores, strict=True))
