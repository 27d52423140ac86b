"""Rank: turn the final order into hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
            _hits(state, options.k, _relevance(setup, state), _kept(setup, options, state)),
            Trace(
                query=state.query.text,
                k=options.k,
                fetch_k=options.fetch_k,
                rerank_k=setup.config.rerank_k,
                seconds=seconds,
                stages=tuple(state.stages),
                version=TRACE_VERSION,
                decision=setup.scale.decide(state.stages),
            ),
        )
        for state in states
    ]


def _relevance(setup: Setup, state: QueryState) -> dict[str, float]:
    """The relevance of each reranked document, where the reranker's scores are calibrated."""
    reranked, curve = state.reranked, setup.scale.curve
    if reranked is None or curve is None:
        return {}
    return {doc_id: curve(score) for doc_id, score in zip(reranked.ids, reranked.scores, strict=True)}


def _kept(setup: Setup, options: SearchOptions, state: QueryState) -> set[str] | None:
    """The documents that `min_score` and `min_relevance` leave; None for all, as if none was scored."""
    least, probable = options.min_score, setup.config.min_relevance
    reranked = state.reranked
    if (least is None and probable is None) or reranked is None or not reranked.ids:
        return None
    relevance = _relevance(setup, state)
    return {
        doc_id
        for doc_id, score in zip(reranked.ids, reranked.scores, strict=True)
        if (least is None or score >= least) and (probable is None or relevance[doc_id] >= probable)
    }


def _hits(state: QueryState, k: int, relevance: Mapping[str, float], kept: set[str] | None) -> list[Hit]:
    """The first `k`: the documents that the last stage scored, by score, then those that only earlier stages
    scored; only those that are `kept`, if that is not None.
    """
    hits: list[Hit] = []
    seen: set[str] = set()
    spans = {} if state.reranked is None else state.reranked.spans
    for stage in reversed(state.stages):
        if stage.kind == "retrieve":
            break
        for doc_id, score in zip(stage.ids, stage.scores, strict=True):
            if len(hits) == k:
                return hits
            if doc_id not in seen and (kept is None or doc_id in kept):
                seen.add(doc_id)
                document = detached(state.found[doc_id])
                found = relevance.get(doc_id)
                hits.append(Hit(len(hits) + 1, score, document, stage.name, spans.get(doc_id, ()), found))
    return hits
