"""The reranker's order mixed with the fused one: a reranker outside of its domain then does less harm.

Only orders are read, never scores: rerankers score on scales of every kind (logits, 0…1, sums, places in a list),
and what a difference of one means on them nobody can tell in general.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridrank.errors import InputError
from hybridrank.types import Ranking

__all__ = ["blend", "blended"]

_K = 60  # as in reciprocal rank fusion


def blended(scores: Sequence[float], *, weight: float) -> list[float]:
    """A new score for each document; `scores` are the reranker's, in the documents' fused order.

    ``(1 - weight) / (60 + rank) + weight / (60 + fused rank)``, with ranks from 1: reciprocal rank fusion of the
    two orders. Documents that the reranker scored equally share the mean of their ranks. So `weight` 0 gives the
    reranker's order, 1 the fused one, and the answer is the same for every rising function of the scores.

    >>> [round(score, 5) for score in blended([0.2, 0.9, 0.1], weight=0.25)]
    [0.01619, 0.01633, 0.01587]
    """
    ranks = _ranks(scores)
    return [(1 - weight) / (_K + rank) + weight / (_K + place) for place, rank in enumerate(ranks, start=1)]


def blend(fused: Ranking, reranked: Ranking, *, weight: float) -> Ranking:
    """The documents of `reranked`, ordered by both rankings; their fused ranks count among themselves.

    A trace has both: ``blend(trace.stage("fusion").ranking, trace.stage("rerank").ranking, weight=0.3)`` is what a
    pipeline with that weight would have found.

    Raises:
        InputError: `fused` lacks one of the documents.
    """
    found = dict(zip(reranked.ids, reranked.scores, strict=True))
    ids = [doc_id for doc_id in fused.ids if doc_id in found]
    if len(ids) < len(found):
        lost = next(doc_id for doc_id in found if doc_id not in set(ids))
        raise InputError(f"the fused ranking lacks document {lost!r}, which the reranker has scored")
    scores = blended([found[doc_id] for doc_id in ids], weight=weight)
    return Ranking.of(zip(ids, scores, strict=True))


def _ranks(scores: Sequence[float]) -> list[float]:
    """Each score's rank from the highest, from 1; equal ones share the mean of theirs."""
    order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    ranks = [0.0] * len(scores)
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or scores[order[end]] != scores[order[start]]:
            for place in order[start:end]:
                ranks[place] = (start + 1 + end) / 2
            start = end
    return ranks
