"""Asking an adjuster: for each query by itself, so that what fails for one leaves the others alone."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import TypeAlias

from hybridrank.component.protocols import Adjuster
from hybridrank.component.validation import checked_scores
from hybridrank.errors import BackendTimeoutError, BackendUnavailableError, described
from hybridrank.result.trace import Stage
from hybridrank.runtime.deadline import remaining
from hybridrank.runtime.drivers import Call, Outcome
from hybridrank.types import Candidates, Ranking, Scores

__all__ = ["Adjusting", "adjust_each"]

Adjusting: TypeAlias = Generator[Sequence[Call], Sequence[Outcome], list[tuple[Stage, Exception | None]]]


def adjust_each(
    name: str, adjuster: Adjuster, batch: Sequence[Candidates], scores: Sequence[Sequence[float]]
) -> Adjusting:
    """Have the candidates of each query scored anew.

    Gives a stage for each, and its failure if there was one; being late is none.
    """
    if remaining() == 0.0:
        return [(_late(name, candidates, 0.0), None) for candidates in batch]
    outcomes = yield [
        Call(partial(_adjust, name, adjuster, candidates, before), backend=adjuster)
        for candidates, before in zip(batch, scores, strict=True)
    ]
    return [_stage(name, candidates, outcome) for candidates, outcome in zip(batch, outcomes, strict=True)]


def _adjust(name: str, adjuster: Adjuster, candidates: Candidates, scores: Sequence[float]) -> Scores:
    if candidates.vectors is not None and not candidates.vectors.any():
        raise BackendUnavailableError("there is no vector of any of these documents")
    (adjusted,) = checked_scores([adjuster.adjust(candidates, scores)], [candidates], source=f"adjuster {name!r}")
    return adjusted


def _stage(name: str, candidates: Candidates, outcome: Outcome) -> tuple[Stage, Exception | None]:
    error = outcome.error
    if isinstance(error, BackendTimeoutError) and remaining() is not None:
        return _late(name, candidates, outcome.seconds), None
    if error is not None:
        return Stage(name, "adjust", outcome.seconds, received=len(candidates), error=described(error)), error
    adjusted: Scores = outcome.value
    ranking = Ranking.of(zip((document.id for document in candidates.documents), adjusted, strict=True))
    return Stage(
        name,
        "adjust",
        outcome.seconds,
        ranking.ids,
        ranking.scores,
        len(candidates),
        details=adjusted.details,
    ), None


def _late(name: str, candidates: Candidates, seconds: float) -> Stage:
    return Stage(name, "adjust", seconds, received=len(candidates), error="deadline: not adjusted")
