"""Asking a reranker: for everything at once, for as much as there is time for, or until the best have settled."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hybridrank.component.protocols import AsyncReranker, PointwiseReranker, Reranker
from hybridrank.component.validation import checked_scores
from hybridrank.errors import BackendTimeoutError
from hybridrank.pipeline.latency_model import LatencyModel
from hybridrank.runtime.deadline import limited, remaining
from hybridrank.runtime.drivers import Call, Outcome
from hybridrank.types import Candidates, Scores

__all__ = ["Scored", "Scoring", "score_all", "score_in_time", "score_until_settled"]

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

    `settled` are the places in the batch of those whose best have settled, so that no more were wanted. `error`
    says why there are not more for the others; `late` that it was the deadline.
    """

    scores: Sequence[Scores]
    seconds: float
    error: Exception | None = None
    late: bool = False
    settled: frozenset[int] = frozenset()


Scoring: TypeAlias = Generator[Sequence[Call], Sequence[Outcome], Scored]


def score_all(reranker: Reranker, batch: Sequence[Candidates], *, cost: LatencyModel) -> Scoring:
    """Have everything scored in one call."""
    (outcome,) = yield [_call(reranker, batch)]
    if outcome.error is not None:
        return Scored([Scores()] * len(batch), outcome.seconds, outcome.error)
    cost.observe(sum(sum(_sizes(candidates)) for candidates in batch), outcome.seconds)
    return Scored(outcome.value, outcome.seconds)


def score_in_time(reranker: Reranker, batch: Sequence[Candidates], *, cost: LatencyModel) -> Scoring:
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


def score_until_settled(
    reranker: Reranker,
    batch: Sequence[Candidates],
    *,
    size: Callable[[int], int],
    settled: Callable[[Sequence[float]], bool],
    cost: LatencyModel,
) -> Scoring:
    """Have each query's documents scored, the first ones first, until it has settled or the time is up.

    `size` says how many to score next, where so many were scored; `settled` whether the scores that there are will
    do. Each call is for all the queries that have not settled. The reranker is pointwise: scores of several calls
    have to compare.
    """
    sizes = [_sizes(candidates) for candidates in batch]
    rows: list[list[Scores]] = [[] for _ in batch]
    counts = [0] * len(batch)
    done: set[int] = set()
    seconds, error, late = 0.0, None, False
    while error is None and not late:
        asked = [n for n, candidates in enumerate(batch) if n not in done and counts[n] < len(candidates)]
        if not asked:
            break
        ends = {n: min(counts[n] + max(size(counts[n]), 1), len(batch[n])) for n in asked}
        left = remaining()
        if left is not None:
            left *= 1 - _RESERVE
            wanted = [s for n in asked for s in sizes[n][counts[n] : ends[n]]]
            count = _fitting(reranker, wanted, left, cost, pointwise=True)
            if count < len(wanted):
                ends = _cut(ends, counts, count)
                if not ends:
                    late = True
                    if not any(counts) and left > 0:
                        cost.forget()
                    break
        parts = [Candidates(batch[n].query, batch[n].documents[counts[n] : end]) for n, end in ends.items()]
        with limited(left):
            (outcome,) = yield [_call(reranker, parts)]
        seconds += outcome.seconds
        error = outcome.error
        if error is None or isinstance(error, BackendTimeoutError):  # which took at least so long
            cost.observe(sum(sum(sizes[n][counts[n] : end]) for n, end in ends.items()), outcome.seconds)
        if error is None:
            for (n, end), scores in zip(ends.items(), outcome.value, strict=True):
                rows[n].append(scores)
                counts[n] = end
                if end < len(batch[n]) and settled([score for part in rows[n] for score in part]):
                    done.add(n)
        elif isinstance(error, BackendTimeoutError) and left is not None:
            late = (remaining() or 0.0) < left / 2
    return Scored([_joined(row) for row in rows], seconds, error, late, frozenset(done))


def _cut(ends: Mapping[int, int], counts: Sequence[int], most: int) -> dict[int, int]:
    """The ends of as many documents as may be scored, the first queries' first; those with none are left out."""
    cut = {}
    for n, end in ends.items():
        if most > 0:
            cut[n] = min(end, counts[n] + most)
            most -= cut[n] - counts[n]
    return cut


def _fitting(reranker: Reranker, sizes: Sequence[int], left: float, cost: LatencyModel, *, pointwise: bool) -> int:
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
    """One list of scores, its details added up where they are numbers or lists, else those of the last call."""
    if len(parts) == 1:
        return parts[0]
    details: dict[str, Any] = {}
    for part in parts:
        for name, value in part.details.items():
            before = details.get(name)
            numbers = type(value) in (int, float) and type(before) in (int, float)
            lists = isinstance(value, list) and isinstance(before, list)
            details[name] = before + value if numbers or lists else value
    return Scores([score for part in parts for score in part], details=details)


def _call(reranker: Reranker, batch: Sequence[Candidates]) -> Call:
    def run() -> Sequence[Scores]:
        return checked_scores(reranker.score(batch), batch, source="the reranker")

    async def native() -> Sequence[Scores]:
        return checked_scores(await reranker.ascore(batch), batch, source="the reranker")  # type: ignore[attr-defined]

    return Call(run, native if isinstance(reranker, AsyncReranker) else None, backend=reranker)
