"""Fuse: merge the rankings of all arms into one ranking."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, TypeAlias

from hybridrank.component.protocols import WeightedFusion
from hybridrank.component.validation import validate_rankings
from hybridrank.errors import BackendResponseError, InputError, SearchError, described
from hybridrank.pipeline.local_arms import Rankings
from hybridrank.pipeline.setup import Setup
from hybridrank.pipeline.state import QueryState, SearchOptions
from hybridrank.result.trace import Stage
from hybridrank.runtime.deadline import remaining
from hybridrank.runtime.drivers import Outcome
from hybridrank.types import Document, Passage, Query, Ranking

__all__ = ["Asked", "ParentOf", "Retrieved", "fuse"]

_log = logging.getLogger(__name__)

ParentOf: TypeAlias = Callable[[str], str]
"""The id of a unit's document."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The batch for the arms: every formulation of every query, with the weight of each."""

    queries: Sequence[Query]
    weights: Sequence[float]
    places: Sequence[range]  # by query: the positions of its formulations in the batch

    @classmethod
    def of(cls, states: Sequence[QueryState]) -> Asked:
        """The formulations of these queries."""
        queries: list[Query] = []
        weights: list[float] = []
        places: list[range] = []
        for state in states:
            start = len(queries)
            for query, weight in state.query.asked():
                queries.append(query)
                weights.append(weight)
            places.append(range(start, len(queries)))
        return cls(queries, weights, places)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The outcome of each arm, and the documents fetched for them.

    `held` are documents that were fetched; of the units in `local` the others can be fetched later. `complete`
    says that all of what was found is held or local: no arm is remote. `parent_of` gives the document of a local
    unit.
    """

    arms: Mapping[str, Outcome[Rankings]]
    held: Mapping[str, Document] = field(default_factory=dict)
    local: Set[str] = frozenset()
    complete: bool = True
    parent_of: ParentOf = str


def fuse(
    setup: Setup, options: SearchOptions, asked: Asked, states: Sequence[QueryState], retrieved: Retrieved
) -> list[QueryState]:
    """The states with their stages up to the fusion.

    Raises:
        SearchError: every arm failed. An arm that is late has not failed.
        InputError: an arm says that a query is wrong.
    """
    arms = {name: retrieved.arms[name] for name in setup.config.retrievers}  # in the configuration's order
    failed = {name: arm.error for name, arm in arms.items() if arm.error is not None}
    for failure in failed.values():
        if isinstance(failure, InputError):  # the query's fault, not the arm's
            raise failure
    if len(failed) == len(arms) and not any(arm.late for arm in arms.values()):  # being late does not raise
        raise SearchError(failed) from next(iter(failed.values()))
    for name, failure in failed.items():
        if not arms[name].late:  # `degraded` reports the deadline
            _log.warning("retriever %r failed, the search goes on without it: %s", name, described(failure))
    fused = [
        _retrieved_stages(options, asked, places, state, arms, retrieved)
        for places, state in zip(asked.places, states, strict=True)
    ]
    found = [each for each in fused if each.rankings]
    started = perf_counter()
    merged = iter(_merged(setup, found) if found else ())
    seconds = (perf_counter() - started) / max(1, len(found))
    start = options.start(started)
    for each in fused:
        if each.rankings:
            _add_fusion(options, each, next(merged), retrieved, seconds=seconds, start=start)
        else:
            each.state.stages.append(Stage("fusion", "fuse", 0.0, received=0, start=start))
    return [each.state for each in fused]


@dataclass(frozen=True, slots=True)
class _Query:
    """A query with the rankings of its arms, by the names of their stages."""

    state: QueryState
    rankings: Mapping[str, Ranking]
    weights: Mapping[str, tuple[str, float]]  # by stage: the arm, and the weight of the formulation


def _retrieved_stages(
    options: SearchOptions,
    asked: Asked,
    places: range,
    state: QueryState,
    arms: Mapping[str, Outcome[Rankings]],
    retrieved: Retrieved,
) -> _Query:
    """Add a stage for each arm and formulation to a copy of the state."""
    stages, rankings, weights = list(state.stages), {}, {}
    found: Mapping[str, Document] = retrieved.held
    batch = len(asked.places)
    for name, arm in arms.items():
        start = options.start(arm.started)
        if arm.error is not None:
            error = f"deadline: {arm.error}" if arm.late else described(arm.error)
            stages.append(Stage(name, "retrieve", arm.seconds, error=error, batch=batch, start=start))
            continue
        for number, place in enumerate(places, start=1):
            ranking = arm.get()[place]
            if ranking.documents:
                found = {**ranking.documents, **_held(found, ranking, asked.queries[place])}
            known = (
                retrieved.complete
                or not len(ranking)
                or any(i in found or i in retrieved.local for i in ranking.ids)
            )
            stage_name = name if number == 1 else f"{name} #{number}"
            details = ranking.details
            if number > 1:
                details = {**details, "formulation": number, "weight": asked.weights[place]}
            stages.append(
                Stage(
                    stage_name,
                    "retrieve",
                    arm.seconds,
                    ranking.ids,
                    ranking.scores,
                    error=None if known else _unknown(name, ranking),
                    details=details,
                    batch=batch,
                    start=start,
                )
            )
            rankings[stage_name] = ranking
            weights[stage_name] = name, asked.weights[place]
    return _Query(QueryState(state.query, stages, found), rankings, weights)


def _held(found: Mapping[str, Document], ranking: Ranking, query: Query) -> Mapping[str, Document]:
    """`found` without documents that do not match the query, where the arm returned one of the same id that does.

    They were fetched for another query, or for an arm that ignores filters.
    """
    if query.filters is None:
        return found
    wrong = {i for i in ranking.documents if i in found and not query.filters.matches(found[i].metadata)}
    return {i: each for i, each in found.items() if i not in wrong} if wrong else found


def _merged(setup: Setup, found: Sequence[_Query]) -> list[Ranking]:
    """One ranking per query. The weights are in its details if they depend on the query."""
    fusion = setup.config.fusion
    rankings = [each.rankings for each in found]
    queries = [each.state.query for each in found]
    weighted = setup.weights_per_query or any(query.formulations for query in queries)
    if weighted and setup.weighted_fusion is not None:
        merged = [_weighted(setup.weighted_fusion, each) for each in found]
    elif setup.batched_fusion is not None:
        merged = list(setup.batched_fusion.fuse_many(rankings, queries=queries))
    else:
        merged = [fusion.fuse(each, query=query) for each, query in zip(rankings, queries, strict=True)]
    most = max(sum(map(len, each.values())) for each in rankings)
    return list(validate_rankings(merged, queries=len(found), k=most, source="the fusion"))


def _weighted(fusion: WeightedFusion, each: _Query) -> Ranking:
    query = each.state.query
    arms = {arm: each.rankings[name] for name, (arm, _) in each.weights.items() if name == arm}
    by_arm = fusion.weights_for(query, arms)
    weights = {name: by_arm[arm] * weight for name, (arm, weight) in each.weights.items()}
    merged = fusion.fuse(each.rankings, query=query, weights=weights)
    return replace(merged, details={**merged.details, "weights": weights})


def _add_fusion(
    options: SearchOptions,
    each: _Query,
    fused: Ranking,
    retrieved: Retrieved,
    *,
    seconds: float,
    start: float,
) -> None:
    """Add the fusion's stage: less what is not known here, and one passage a document where that is asked for."""
    found, local = each.state.found, retrieved.local
    received = set().union(*(ranking.ids for ranking in each.rankings.values()))
    if not received.issuperset(fused.ids):
        raise BackendResponseError("the fusion returned documents that no retriever had found")
    details: Mapping[str, Any] = fused.details
    ids, scores = fused.ids, fused.scores
    if not retrieved.complete and not all(i in found or i in local for i in ids):
        known = [(i, s) for i, s in zip(ids, scores, strict=True) if i in found or i in local]
        details = {**details, "unknown_documents": len(ids) - len(known)}
        ids, scores = tuple(i for i, _ in known), tuple(s for _, s in known)
    if options.per_document:
        best: dict[str, tuple[str, float]] = {}
        for unit, score in zip(ids, scores, strict=True):
            best.setdefault(_parent(unit, found, retrieved.parent_of), (unit, score))
        if len(best) < len(ids):
            details = {**details, "passages": len(ids)}
        ids, scores = tuple(unit for unit, _ in best.values()), tuple(score for _, score in best.values())
    each.state.stages.append(
        Stage("fusion", "fuse", seconds, ids, scores, len(received), None, details, start=start)
    )


def _unknown(name: str, ranking: Ranking) -> str:
    """The error of an arm that did not return its documents, which are not held here either."""
    if remaining() == 0.0:
        return "deadline: its documents were not fetched"
    problem = f"none of its {len(ranking)} documents is held here, and it returned none of them"
    _log.warning("retriever %r: %s (the first is %r)", name, problem, ranking.ids[0])
    return described(BackendResponseError(problem))


def _parent(unit: str, found: Mapping[str, Document], parent_of: ParentOf) -> str:
    """The document that a unit is, or is a passage of; what a remote arm returned may be either."""
    document = found.get(unit)
    if document is None:  # a unit of the collection
        return parent_of(unit)
    return document.parent if isinstance(document, Passage) else unit
