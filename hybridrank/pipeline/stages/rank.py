"""Rank: turn the final order into hits."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from hybridrank.collection.documents import detached
from hybridrank.pipeline.setup import Setup
from hybridrank.pipeline.state import QueryState, SearchOptions
from hybridrank.result.hits import Hit, SearchResult
from hybridrank.result.trace import TRACE_VERSION, Trace

__all__ = ["rank"]


def rank(setup: Setup, options: SearchOptions, states: Sequence[QueryState]) -> list[SearchResult]:
    """The current result of each query."""
    seconds = perf_counter() - options.started
    return [
        SearchResult(
            _hits(state, options.k, options.min_score),
            Trace(
                query=state.query.text,
                k=options.k,
                fetch_k=options.fetch_k,
                rerank_k=setup.config.rerank_k,
                seconds=seconds,
                stages=tuple(state.stages),
                version=TRACE_VERSION,
            ),
        )
        for state in states
    ]


def _hits(state: QueryState, k: int, min_score: float | None) -> list[Hit]:
    """The first `k`: the documents that the last stage scored, by score, then those that only earlier stages
    scored.

    With `min_score`, only those with at least this reranker score; all, if it scored nothing.
    """
    hits: list[Hit] = []
    seen: set[str] = set()
    reranked = next((stage for stage in state.stages if stage.kind == "rerank"), None)
    if min_score is not None and reranked is not None and reranked.ids:
        scored = zip(reranked.ids, reranked.scores, strict=True)
        good = {doc_id for doc_id, score in scored if score >= min_score}
        seen.update(doc_id for stage in state.stages for doc_id in stage.ids if doc_id not in good)
    spans = {} if reranked is None else reranked.spans
    for stage in reversed(state.stages):
        if stage.kind == "retrieve":
            break
        for doc_id, score in zip(stage.ids, stage.scores, strict=True):
            if len(hits) == k:
                return hits
            if doc_id not in seen:
                seen.add(doc_id)
                document = detached(state.found[doc_id])
                hits.append(Hit(len(hits) + 1, score, document, stage.name, spans.get(doc_id, ())))
    return hits
