"""Blend: combine the reranker's scores with the fused order."""

from __future__ import annotations

from time import perf_counter

from hybridrank.blend import blend as blended
from hybridrank.pipeline.setup import Setup
from hybridrank.pipeline.state import QueryState, SearchOptions
from hybridrank.result.trace import Stage

__all__ = ["blend"]


def blend(setup: Setup, options: SearchOptions, state: QueryState) -> None:
    """Add the blend's stage to a reranked query, if the fused order has any weight."""
    reranked, fused = state.stages[-1], next(stage for stage in reversed(state.stages) if stage.kind == "fuse")
    if setup.blend == 0 or reranked.kind != "rerank" or not reranked.ids:
        return
    started = perf_counter()
    weight = setup.fused_weight(reranked.scores)
    ranking = blended(fused.ranking, reranked.ranking, weight=weight)
    state.stages.append(
        Stage(
            "blend",
            "blend",
            perf_counter() - started,
            ranking.ids,
            ranking.scores,
            len(ranking),
            details={"fused": round(weight, 3)},
            start=options.start(started),
        )
    )
