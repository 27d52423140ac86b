"""Replay of a recorded search with other settings, without indexes and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from hybridrank.blend import blend, blend_scores
from hybridrank.component.protocols import Fusion, WeightedFusion
from hybridrank.component.validation import validate_rankings
from hybridrank.errors import InputError
from hybridrank.evaluation.recordings.recording import RecordedSearch, Recording
from hybridrank.evaluation.replay.timing import count_characters, latency_of, scale_details
from hybridrank.evaluation.replay.variant import Variant
from hybridrank.fusion.weights import are_per_query
from hybridrank.pipeline.latency_model import LatencyModel, LinearLatency
from hybridrank.pipeline.scoring import RerankScorer, StopRule, score
from hybridrank.result.trace import Stage, Trace
from hybridrank.runtime.drivers import drive
from hybridrank.types import Candidates, Document, Query, Ranking, Scores

__all__ = ["cut", "fuse", "refuse_impossible", "replay", "replay_all"]

_NO_TEXT = "-"  # stands for the text of a query that had vectors alone


def replay(
    trace: Trace,
    variant: Variant,
    *,
    k: int | None = None,
    chars: Mapping[str, int] | None = None,
    parents: Mapping[str, str] | None = None,
    latency: LinearLatency | None = None,
) -> Trace:
    """Replay a search with the settings of `variant` and `k` results (None: as recorded).

    Arms are cut to their first `fetch_k`, fused, and as many of the fused documents get their recorded scores as
    would have been shown. A document that the reranker never scored has none: it keeps its place in the fused
    order, behind those that have one, and the stage's details count it as ``unscored``.

    `chars` are the documents' sizes, and `parents` what passages are of, as a recording has them; `latency` is
    that of the reranker (None: in proportion). Seconds are predictions; what the reranker
    counts is scaled (`scale_details`).

    Raises:
        InputError: the trace lacks data for the replay.
    """
    k = trace.k if k is None else k
    refuse_impossible(trace, variant, k=k, parents=parents)
    depth = max(variant.fetch_k, k)
    recorded = {stage.kind: stage for stage in trace.stages if stage.kind in ("fuse", "rerank", "blend")}
    arms = [
        cut(stage, depth, parents if _grouped(trace) else None)
        for stage in trace.stages
        if stage.kind == "retrieve" and stage.arm in variant.arms
    ]
    stages = [*arms, _fused(arms, trace.query, variant, recorded["fuse"], parents)]
    ids = stages[-1].ids[: variant.rerank_k]
    if ids:
        reranked = _reranked(
            ids, trace, recorded.get("rerank"), variant, k, chars or {}, latency or LinearLatency()
        )
        stages.append(reranked)
        if variant.effective_blend != 0 and reranked.ids:
            weight = variant.weight(reranked.scores)
            ranking = blend(stages[-2].ranking, reranked.ranking, weight=weight)
            seconds = recorded["blend"].seconds if "blend" in recorded else 0.0
            details = {"fused": round(weight, 3)}
            stages.append(
                Stage("blend", "blend", seconds, ranking.ids, ranking.scores, len(ranking), details=details)
            )
    return Trace(trace.query, k, depth, variant.rerank_k, _seconds(trace, stages), tuple(stages))


def replay_all(
    recording: Recording, variant: Variant, *, k: int | None = None, name: str | None = None
) -> Recording:
    """Replay every search of a recording; the result is a recording that `evaluate` and `compare` take.

    Raises:
        InputError: as `replay`; says for which query.
    """
    latency = latency_of(recording)
    searches: dict[str, RecordedSearch] = {}
    unscored = shown = 0
    for query_id, search in recording.searches.items():
        try:
            trace = replay(search.trace, variant, k=k, chars=search.chars, parents=search.parents, latency=latency)
        except InputError as error:
            raise InputError(f"query {query_id!r} of {recording.name!r}: {error}") from None
        searches[query_id] = replace(search, trace=trace)
        for stage in trace.stages:
            if stage.kind == "rerank":
                unscored += stage.details.get("unscored", 0)
                shown += stage.received or 0
    warnings = list(recording.warnings)
    if unscored:
        warnings.append(
            f"{unscored:,} of the {shown:,} documents that would have been reranked have no recorded score, and "
            "stand in fused order behind the others: record deeper"
        )
    settings = {**recording.header.settings, **variant.settings()}
    settings["retrievers"] = {arm: recording.header.settings["retrievers"][arm] for arm in settings.pop("arms")}
    header = replace(recording.header, settings=settings, k=recording.header.k if k is None else k, own=None)
    return Recording(name or recording.name, header, searches, tuple(warnings))


def refuse_impossible(trace: Trace, variant: Variant, *, k: int, parents: Mapping[str, str] | None = None) -> None:
    """Check that a trace can be replayed with these settings.

    Raises:
        InputError: it holds fewer candidates than would be fetched, lacks an arm or the reranker, was changed by
            adjusters, or has passages grouped by unknown documents.
    """
    if k < 1 or variant.fetch_k < 1 or variant.rerank_k < 0:
        raise InputError("a replay needs k and fetch_k of at least 1, and rerank_k of at least 0")
    if (depth := max(variant.fetch_k, k)) > trace.fetch_k:
        raise InputError(
            f"each arm fetched {trace.fetch_k} candidates here, and {depth} are wanted: record deeper"
        )
    kinds = {stage.kind for stage in trace.stages}
    if "adjust" in kinds:
        raise InputError(
            "adjusters have read documents or vectors, which a trace does not hold: record without them"
        )
    arms = [stage.name for stage in trace.stages if stage.kind == "retrieve" and stage.arm == stage.name]
    if missing := [arm for arm in variant.arms if arm not in arms]:
        raise InputError(f"there is no arm {missing[0]!r} here (there are: {', '.join(arms)})")
    if not variant.arms:
        raise InputError("a replay needs at least one arm")
    if variant.rerank_k and "rerank" not in kinds and trace.stage("fusion").ids:
        raise InputError("nothing was reranked here, so that there are no scores to replay: rerank_k must be 0")
    if _grouped(trace) and not parents:
        raise InputError(
            "passages were grouped by their documents, and a trace alone does not say whose they are: replay the "
            "recording"
        )


def _grouped(trace: Trace) -> bool:
    return "passages" in trace.stage("fusion").details


def cut(stage: Stage, depth: int, parents: Mapping[str, str] | None) -> Stage:
    """An arm's first candidates; where passages are grouped, down to the first passage of the last document."""
    end = depth
    if parents is not None:
        seen: dict[str, int] = {}
        for place, unit in enumerate(stage.ids, start=1):
            seen.setdefault(parents.get(unit, unit), place)
        places = list(seen.values())
        end = places[depth - 1] if len(places) >= depth else len(stage.ids)
    return replace(stage, ids=stage.ids[:end], scores=stage.scores[:end])


def _fused(
    arms: Sequence[Stage], query: str, variant: Variant, recorded: Stage, parents: Mapping[str, str] | None
) -> Stage:
    answered = [stage for stage in arms if stage.error is None]
    if not answered:
        return Stage("fusion", "fuse", 0.0, received=0)
    fused = fuse(variant.fusion, answered, query=query, recorded=recorded, parents=parents)
    received = set().union(*(stage.ids for stage in answered))
    return Stage(
        "fusion", "fuse", recorded.seconds, fused.ids, fused.scores, len(received), details=dict(fused.details)
    )


def fuse(
    fusion: Fusion,
    arms: Sequence[Stage],
    *,
    query: str,
    recorded: Stage,
    parents: Mapping[str, str] | None,
) -> Ranking:
    """Fuse the rankings of these stages: without documents that were unknown when recorded, grouped if it was so.

    Weights that were chosen for the query are those that the trace has, so that the replay is exact.

    Raises:
        InputError: the fusion chooses weights for each query, and the trace has none.
    """
    rankings = {stage.name: stage.ranking for stage in arms}
    merged = _merged(fusion, arms, rankings, Query(query or _NO_TEXT), recorded)
    (fused,) = validate_rankings([merged], queries=1, k=sum(map(len, rankings.values())), source="the fusion")
    if "passages" not in recorded.details and "unknown_documents" not in recorded.details:
        return fused
    details: dict[str, Any] = dict(fused.details)
    pairs = list(zip(fused.ids, fused.scores, strict=True))
    if "passages" in recorded.details and parents:
        best: dict[str, tuple[str, float]] = {}
        for unit, score in pairs:
            best.setdefault(parents.get(unit, unit), (unit, score))
        if len(best) < len(pairs):
            details["passages"] = len(pairs)
        pairs = list(best.values())
    elif "unknown_documents" in recorded.details:
        known = set(recorded.ids)
        details["unknown_documents"] = sum(doc_id not in known for doc_id, _ in pairs)
        pairs = [(doc_id, score) for doc_id, score in pairs if doc_id in known]
    return Ranking(tuple(i for i, _ in pairs), tuple(s for _, s in pairs), details=details)


def _merged(
    fusion: Fusion, arms: Sequence[Stage], rankings: Mapping[str, Ranking], query: Query, recorded: Stage
) -> Ranking:
    known: Mapping[str, float] = recorded.details.get("weights", {})
    if are_per_query(fusion):
        if not known.keys() >= rankings.keys():
            raise InputError("the weights that a model chose for this query were not recorded: search again")
        weights = {name: known[name] for name in rankings}
    elif known and isinstance(fusion, WeightedFusion):
        by_arm = fusion.weights_for(query, {stage.arm: stage.ranking for stage in arms})
        weights = {stage.name: by_arm[stage.arm] * stage.details.get("weight", 1.0) for stage in arms}
    else:
        return fusion.fuse(rankings, query=query)
    merged = cast("WeightedFusion", fusion).fuse(rankings, query=query, weights=weights)
    return replace(merged, details={**merged.details, "weights": weights})


def _reranked(
    shown: Sequence[str],
    trace: Trace,
    recorded: Stage | None,
    variant: Variant,
    k: int,
    chars: Mapping[str, int],
    latency: LinearLatency,
) -> Stage:
    before = recorded or Stage("rerank", "rerank", 0.0)
    scores = dict(zip(before.ids, before.scores, strict=True))
    known = [doc_id for doc_id in shown if doc_id in scores]
    asked: Sequence[str] = shown
    notes: dict[str, Any] = {}
    if (count := _settled_after(trace.query, shown, scores, variant, k)) is not None:
        asked = known = list(shown[:count])
        notes["stopped"] = f"settled: reranked {count} of {len(shown)}"
    unscored = len(asked) - len(known)
    if unscored:
        notes["unscored"] = unscored
    size = partial(count_characters, query=trace.query, chars=chars)
    read, whole = size(asked), size(before.ids)
    counted = {name: value for name, value in before.details.items() if name not in ("stopped", "unscored")}
    if before.ids:
        counted = scale_details(counted, read=read / whole, pairs=len(asked) / len(before.ids))
    ranking = Ranking.of({doc_id: scores[doc_id] for doc_id in known})
    return Stage(
        "rerank",
        "rerank",
        latency.rescale(before.seconds, read=whole, now=read),
        ranking.ids,
        ranking.scores,
        len(shown),
        before.error if unscored else None,
        {**counted, **notes},
        before.batch,
    )


def _settled_after(
    query: str, ids: Sequence[str], scores: Mapping[str, float], variant: Variant, k: int
) -> int | None:
    """The number of documents scored until the top k is stable; None if it never is, or if a score is missing."""
    stop = variant.stop
    if stop is None:
        return None
    rule = StopRule(stop, k, lambda so_far: blend_scores(so_far, weight=variant.weight(so_far)))
    candidates = Candidates(Query(query or _NO_TEXT), [Document(doc_id, "") for doc_id in ids])
    scored = drive(score(RerankScorer.of(_Recorded(scores)), [candidates], model=LatencyModel(), stop=rule))
    return len(scored.scores[0]) if scored.stable else None


class _Recorded:
    """A reranker that returns recorded scores, and fails where there is none."""

    pointwise = True

    def __init__(self, scores: Mapping[str, float]) -> None:
        self._scores = scores

    def score(self, batch: Sequence[Candidates]) -> list[Scores]:
        """The scores that the documents had."""
        try:
            return [Scores(self._scores[document.id] for document in each.documents) for each in batch]
        except KeyError as error:
            raise InputError(f"document {error} was never scored") from None


def _seconds(trace: Trace, stages: Sequence[Stage]) -> float:
    """The latency of the search: the arms run concurrently, the other stages one after another."""

    def parts(of: Sequence[Stage]) -> float:
        arms = [stage.seconds for stage in of if stage.kind == "retrieve"]
        return max(arms, default=0.0) + sum(stage.seconds for stage in of if stage.kind in ("rerank", "blend"))

    return max(0.0, trace.seconds - parts(trace.stages) + parts(stages))
