"""Adjust: rescore by diversity, recency, or other criteria."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from hybridrank.component.protocols import Adjuster, VectorAdjuster
from hybridrank.component.validation import validate_scores
from hybridrank.errors import BackendTimeoutError, BackendUnavailableError, described
from hybridrank.pipeline.setup import SETUP_ERRORS, Setup
from hybridrank.pipeline.state import QueryState, SearchOptions
from hybridrank.result.trace import Stage
from hybridrank.runtime.deadline import remaining
from hybridrank.runtime.drivers import Call, Outcome, Plan, ask_all
from hybridrank.types import Candidates, Ranking, Scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["adjust"]

_log = logging.getLogger(__name__)


def adjust(
    setup: Setup, options: SearchOptions, states: Sequence[QueryState], name: str, adjuster: Adjuster
) -> Plan[None]:
    """Add an adjuster's stage to each query that has ranked documents.

    The adjuster receives the documents that the last successful stage ranked, except those that the reranker did
    not receive. Each query is a separate call, so that a failure does not affect the others.
    """
    most = None if setup.config.reranker is None else setup.config.rerank_k
    asked = [_asked(state, adjuster, most) for state in states if state.last.ids]
    if not asked:
        return
    if remaining() == 0.0:
        outcomes = [_no_time() for _ in asked]
    else:
        outcomes = yield from ask_all(
            [Call(partial(_adjusted, name, adjuster, each), backend=adjuster) for each in asked]
        )
    errors = [
        outcome.error
        for each, outcome in zip(asked, outcomes, strict=True)
        if not _add_stage(options, name, each, outcome) and outcome.error is not None
    ]
    for error in errors:
        if isinstance(error, SETUP_ERRORS):
            raise error
    if errors:
        _log.warning("adjuster %r failed, results keep their order: %s", name, described(errors[0]))


@dataclass(frozen=True, slots=True)
class _Asked:
    """The input of an adjuster for one query."""

    state: QueryState
    candidates: Candidates
    scores: Sequence[float]


def _asked(state: QueryState, adjuster: Adjuster, most: int | None) -> _Asked:
    last = state.last
    ids = last.ids[:most]
    documents = tuple(state.found[doc_id] for doc_id in ids)
    needs_vectors = isinstance(adjuster, VectorAdjuster) and adjuster.needs_vectors
    vectors = _vectors(state, ids) if needs_vectors else None
    return _Asked(state, Candidates(state.query, documents, vectors), last.scores[:most])


def _vectors(state: QueryState, ids: Sequence[str]) -> NDArray[np.float32]:
    """Shape (len(ids), dim), zeros for a document without a vector."""
    import numpy as np

    none = np.zeros_like(next(iter(state.vectors.values()), np.zeros(0, np.float32)))
    return np.stack([state.vectors.get(doc_id, none) for doc_id in ids])


def _adjusted(name: str, adjuster: Adjuster, asked: _Asked) -> Scores:
    candidates = asked.candidates
    if candidates.vectors is not None and not candidates.vectors.any():
        raise BackendUnavailableError("there is no vector of any of these documents")
    scores = adjuster.adjust(candidates, asked.scores)
    (adjusted,) = validate_scores([scores], [candidates], source=f"adjuster {name!r}")
    return adjusted


def _no_time() -> Outcome[Scores]:
    return Outcome(None, BackendTimeoutError("there is no time left"), 0.0, perf_counter())


def _add_stage(options: SearchOptions, name: str, asked: _Asked, outcome: Outcome[Scores]) -> bool:
    """Add the stage of one query; False where the adjuster failed. A late one has not failed."""
    error, late = outcome.error, outcome.late
    ranking, details = Ranking(), {}
    if error is None:
        scores = outcome.get()
        ranking = Ranking.of(zip((document.id for document in asked.candidates.documents), scores, strict=True))
        details = dict(scores.details)
    why = "deadline: not adjusted" if late else None if error is None else described(error)
    asked.state.stages.append(
        Stage(
            name,
            "adjust",
            outcome.seconds,
            ranking.ids,
            ranking.scores,
            len(asked.candidates),
            why,
            details,
            start=options.start(outcome.started),
        )
    )
    return error is None or late
