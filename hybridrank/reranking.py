"""Asking a reranker: for everything at once, or for as much as there is time for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hybridrank.checks import checked_scores
from hybridrank.costs import Cost
from hybridrank.deadline import limited, remaining
from hybridrank.drivers import Call, Outcome
from hybridrank.errors import BackendTimeoutError
from hybridrank.protocols import AsyncReranker, PointwiseReranker, Reranker
from hybridrank.types import Candidates, Scores

__all__ = ["Scored", "Scoring", "score_all", "score_in_time"]

_RESERVE = 0.05
"""The part of the time left that is kept for what comes after."""

_FIRST = 2
"""Documents in the first calls to a local reranker of which nothing is known."""

_STEPS = 3
"""A call takes about this part of the time left, so that the next can be cut to what is then left."""

_WORTH = 8
"""But at least this many times a call's fixed part, so that the fixed parts do not eat the time."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a reranker gave: for each `Candidates` the scores of as many of its first documents as it came to.

    `error` says why there are not more; `late` that it was the deadline.
    """

    scores: Sequence[Scores]
    seconds: float
    error: Exception | None = None
    late: bool = False


Scoring: TypeAlias = Generator[Sequence[Call], Sequence[Outcome], Scored]


def score_all(reranker: Reranker, batch: Sequence[Candidates], *, cost: Cost) -> Scoring:
    """Have everything scored in one call."""
    (outcome,) = yield [_call(reranker, batch)]
    if outcome.error is not None:
        return Scored([Scores()] * len(batch), outcome.seconds, outcome.error)
    cost.observe(sum(sum(_sizes(candidates)) for candidates in batch), outcome.seconds)
    return Scored(outcome.value, outcome.seconds)


def score_in_time(reranker: Reranker, batch: Sequence[Candidates], *, cost: Cost) -> Scoring:
    """Have as many of one query's documents scored, the first ones first, as there is time for.

    A reranker that is pointwise is called again and again, with as many as the time will do for; any other is
    called once, since its scores of two calls would not compare.
    """
    (candidates,) = batch
    sizes, pointwise = _sizes(candidates), isinstance(reranker, PointwiseReranker) and reranker.pointwise
    done: list[Scores] = []
    count = 0
    seconds = 0.0
    error: Exception | None = None
    while count < len(sizes) and error is None:
        left = (remaining() or 0.0) * (1 - _RESERVE)
        size = _fitting(reranker, sizes[count:], left, cost, pointwise=pointwise)
        if not size:
            if not count and left > 0:
                cost.forget()
            break
        part = Candidates(candidates.query, candidates.documents[count : count + size])
        with limited(left):
            (outcome,) = yield [_call(reranker, [part])]
        seconds += outcome.seconds
        error = outcome.error
        if error is None or isinstance(error, BackendTimeoutError):  # which took at least so long
            cost.observe(sum(sizes[count : count + size]), outcome.seconds)
        if error is None:
            done += outcome.value
            count += size
        if not pointwise:
            break
    over = isinstance(error, BackendTimeoutError) and (remaining() or 0.0) < left / 2
    late = count < len(sizes) and (error is None or over)
    return Scored([_joined(done)], seconds, error, late)


def _fitting(reranker: Reranker, sizes: Sequence[int], left: float, cost: Cost, *, pointwise: bool) -> int:
    """How many of the first documents to score next."""
    if left <= 0:
        return 0
    if not cost.known:
        return min(_FIRST, len(sizes)) if pointwise and not isinstance(reranker, AsyncReranker) else len(sizes)
    if pointwise:
        step = max(left / _STEPS, _WORTH * cost.fixed)
        if step < left and (count := cost.fitting(sizes, step)):
            return count
    return cost.fitting(sizes, left)


def _sizes(candidates: Candidates) -> list[int]:
    """Characters that a reranker reads for each document."""
    return [len(candidates.query.text) + len(document.content) for document in candidates.documents]


def _joined(parts: Sequence[Scores]) -> Scores:
    """One list of scores, its details summed where they are numbers, else those of the last call."""
    if len(parts) == 1:
        return parts[0]
    details: dict[str, object] = {}
    for part in parts:
        for name, value in part.details.items():
            before = details.get(name)
            both = type(value) in (int, float) and type(before) in (int, float)
            details[name] = before + value if both else value
    return Scores([score for part in parts for score in part], details=details)


def _call(reranker: Reranker, batch: Sequence[Candidates]) -> Call:
    def run() -> Sequence[Scores]:
        return checked_scores(reranker.score(batch), batch, source="the reranker")

    async def native() -> Sequence[Scores]:
        return checked_scores(await reranker.ascore(batch), batch, source="the reranker")  # type: ignore[attr-defined]

    return Call(run, native if isinstance(reranker, AsyncReranker) else None, backend=reranker)
