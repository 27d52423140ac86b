"""Rerank: score the best fused candidates with the reranker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from hybridrank.blend import blend_scores
from hybridrank.errors import described
from hybridrank.pipeline.scoring import Scored, StopRule, score
from hybridrank.pipeline.setup import SETUP_ERRORS, Setup
from hybridrank.pipeline.state import QueryState, SearchOptions
from hybridrank.result.trace import Stage
from hybridrank.runtime.drivers import Plan
from hybridrank.types import Candidates, Ranking, Scores

__all__ = ["rerank"]

_log = logging.getLogger(__name__)


def rerank(
    setup: Setup,
    options: SearchOptions,
    states: Sequence[QueryState],
    *,
    emit: Callable[[Sequence[QueryState]], object] | None = None,
) -> Plan[None]:
    """Add a stage to each query that has candidates; none without a reranker, or without a text to compare with.

    `emit` creates a partial result from the queries as far as they are reranked.
    """
    config = setup.config
    asked = [state for state in states if state.stages[-1].ids and not state.query.is_blank]
    if setup.scorer is None or not asked:
        return
    batch = [
        Candidates(state.query, tuple(state.found[doc_id] for doc_id in state.stages[-1].ids[: config.rerank_k]))
        for state in asked
    ]
    stop = None
    if config.stop is not None:
        stop = StopRule(
            config.stop, options.k, lambda scores: blend_scores(scores, weight=setup.fused_weight(scores))
        )

    def so_far(scored: Scored) -> list[QueryState]:
        stages = dict(zip(map(id, asked), _stages(setup, options, batch, scored), strict=True))
        return [
            replace(state, stages=[*state.stages, stages[id(state)]]) if id(state) in stages else state
            for state in states
        ]

    scored = yield from score(
        setup.scorer,
        batch,
        model=setup.latency_model,
        stop=stop,
        emit=None if emit is None else lambda scored: emit(so_far(scored)),
    )
    if scored.error is not None:
        raising = config.on_rerank_error == "raise" and not scored.late
        if raising or isinstance(scored.error, SETUP_ERRORS):
            raise scored.error
        if not scored.late:
            _log.warning("the reranker failed, results are in fused order: %s", described(scored.error))
    for state, stage in zip(asked, _stages(setup, options, batch, scored), strict=True):
        state.stages.append(stage)
        setup.shared.usage.add(stage)


def _stages(setup: Setup, options: SearchOptions, batch: Sequence[Candidates], scored: Scored) -> list[Stage]:
    return [
        _stage(setup, options, candidates, scores, scored, place)
        for place, (candidates, scores) in enumerate(zip(batch, scored.scores, strict=True))
    ]


def _stage(
    setup: Setup, options: SearchOptions, candidates: Candidates, scores: Scores, scored: Scored, place: int
) -> Stage:
    """The stage of the query at this place: as many of the first candidates as there are scores."""
    ranked = candidates.documents[: len(scores)]
    ranking = Ranking.of(zip((document.id for document in ranked), scores, strict=True))
    error, details = None, scores.details
    if place in scored.stable:
        details = {**details, "stopped": f"settled: reranked {len(scores)} of {len(candidates)}"}
    elif len(scores) < len(candidates):
        error = None if scored.error is None else described(scored.error)
        if scored.late:
            error = f"deadline: reranked {len(scores)} of {len(candidates)}"
        bounds = {"min_score": options.min_score, "min_relevance": setup.config.min_relevance}
        if error is not None and not len(scores):
            error = "; ".join(
                [error, *(f"{name} was not applied" for name, least in bounds.items() if least is not None)]
            )
    return Stage(
        "rerank",
        "rerank",
        scored.seconds,
        ranking.ids,
        ranking.scores,
        len(candidates),
        error,
        details,
        batch=len(scored.scores),
        start=options.start(scored.started),
        spans={document.id: spans for document, spans in zip(ranked, scores.spans, strict=True) if spans},
    )
