"""What other settings would have made of recorded searches, and whether choosing among them pays."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from hybridrank.blend import blend as mixed
from hybridrank.component.protocols import Fusion
from hybridrank.component.trust import build_stored
from hybridrank.errors import HybridrankError
from hybridrank.evaluation.recordings.recording import RecordedSearch
from hybridrank.evaluation.recordings.stage_rankings import rankings_by_stage
from hybridrank.evaluation.replay.replaying import fuse
from hybridrank.fusion import RRF
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank.members import is_pointwise
from hybridrank.result.trace import Stage, Trace
from hybridrank.types import Ranking

__all__ = [
    "FOLDS",
    "blend_with",
    "candidate_weights",
    "fixed_weight",
    "fuse_with",
    "fusion_like",
    "held_out_gains",
    "reads_each_alone",
    "rerank_to",
]

FOLDS = 5
_RATIOS = ((1, 0), (4, 1), (3, 1), (2, 1), (1, 1), (1, 2), (1, 3), (1, 4), (1, 8), (0, 1))
_STEPS = {3: (0, 1, 2, 4), 4: (0, 1, 3)}


def candidate_weights(arms: Sequence[str]) -> list[dict[str, float]]:
    """Weights to try, by arm; none for a single arm or for more than four."""
    if len(arms) == 2:
        return [dict(zip(arms, map(float, ratio), strict=True)) for ratio in _RATIOS]
    distinct: dict[tuple[float, ...], dict[str, float]] = {}
    for weights in product(_STEPS.get(len(arms), ()), repeat=len(arms)):
        if top := max(weights, default=0):
            scaled = tuple(weight / top for weight in weights)
            distinct.setdefault(scaled, dict(zip(arms, map(float, weights), strict=True)))
    return list(distinct.values())


def fusion_like(settings: Mapping[str, Any]) -> Fusion:
    """The configured fusion if it takes weights, else reciprocal rank fusion."""
    said = settings.get("fusion")
    if isinstance(said, Mapping):
        try:
            like = {"fusion": {**said, "weights": {}}}
            made: Fusion = build_stored(PipelineConfig, like, source="the recording")["fusion"]
        except HybridrankError:
            return RRF()
        return made
    return RRF()


def fuse_with(
    searches: Sequence[RecordedSearch], settings: Mapping[str, Any], weights: Mapping[str, float]
) -> dict[str, tuple[str, ...]]:
    """The fused order of each query with these weights of the arms."""
    like = fusion_like(settings)
    fusion = like.model_copy(update={"weights": dict(weights)})  # type: ignore[attr-defined]
    orders = {}
    for search in searches:
        arms = [stage for stage in search.trace.stages if stage.kind == "retrieve"]
        stage = next(stage for stage in search.trace.stages if stage.kind == "fuse")
        answered = [arm for arm in arms if arm.error is None]
        fused = fuse(fusion, answered, query=search.trace.query, recorded=stage, parents=search.parents)
        changed = replace(stage, ids=fused.ids, scores=fused.scores)
        orders[search.query_id] = _orders(search, [*arms, changed])[stage.name]
    return orders


def fixed_weight(searches: Sequence[RecordedSearch]) -> float | None:
    """The weight of the fused order in the blend; None where searches differ."""
    blends = [stage for s in searches for stage in s.trace.stages if stage.kind == "blend"]
    weights = {float(stage.details.get("fused", 0.0)) for stage in blends} or {0.0}
    return weights.pop() if len(weights) == 1 else None


def blend_with(searches: Sequence[RecordedSearch], weight: float) -> dict[str, tuple[str, ...]]:
    """The order of each query with this weight of the fused order in the blend."""
    return rerank_to(searches, None, blend=weight)


def rerank_to(
    searches: Sequence[RecordedSearch], depth: int | None, *, blend: float = 0.0
) -> dict[str, tuple[str, ...]]:
    """The order of each query if only the first `depth` fused candidates are reranked (None: as recorded).

    `blend` is the weight of the fused order.
    """
    orders = {}
    for search in searches:
        stages: list[Stage] = []
        for stage in search.trace.stages:
            if stage.kind == "rerank":
                fused = next(each for each in stages if each.kind == "fuse")
                seen = set(fused.ids[:depth])
                kept = [(unit, s) for unit, s in zip(stage.ids, stage.scores, strict=True) if unit in seen]
                ranking = Ranking(tuple(unit for unit, _ in kept), tuple(score for _, score in kept))
                if blend and kept:
                    ranking = mixed(fused.ranking, ranking, weight=blend)
                stages.append(replace(stage, ids=ranking.ids, scores=ranking.scores))
                break
            stages.append(stage)
        orders[search.query_id] = _orders(search, stages)[stages[-1].name]
    return orders


def reads_each_alone(settings: Mapping[str, Any]) -> bool:
    """Whether the configured reranker scores each document for itself, so that a smaller depth can be replayed."""
    said = settings.get("reranker")
    if not isinstance(said, Mapping):
        return False
    try:
        made = build_stored(PipelineConfig, {"reranker": said}, source="the recording", only_made=["reranker"])
        return is_pointwise(made["reranker"])
    except HybridrankError:
        return False


def held_out_gains(
    choices: Mapping[str, Mapping[str, float]], current: Mapping[str, float], *, folds: int = FOLDS, seed: int = 0
) -> dict[str, float] | None:
    """What each query would have gained by a choice that was made on the others.

    `choices` are a measure's values by setting, then by query; `current` is the current value, and stays where
    none is better on the other queries. None where there are fewer than two queries a fold.
    """
    queries = list(current)
    if len(queries) < 2 * folds or not choices:
        return None
    random.Random(seed).shuffle(queries)
    gains: dict[str, float] = {}
    for number in range(folds):
        others = [q for at, q in enumerate(queries) if at % folds != number]
        best = max(choices.values(), key=lambda values: _sum(values, others))
        if _sum(best, others) <= _sum(current, others):
            best = current
        gains.update((q, best[q] - current[q]) for q in queries[number::folds])
    return {query_id: gains[query_id] for query_id in current}


def _sum(values: Mapping[str, float], queries: Sequence[str]) -> float:
    return sum(values[query_id] for query_id in queries)


def _orders(search: RecordedSearch, stages: Sequence[Any]) -> dict[str, tuple[str, ...]]:
    trace: Trace = replace(search.trace, stages=tuple(stages))
    return rankings_by_stage(trace, ignored=search.ignored, parents=search.parents)
