"""The scoring loop: score all candidates, as many as the time allows, or until the top k is stable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hybridrank.component.protocols import AsyncReranker, PointwiseReranker, Reranker
from hybridrank.component.validation import validate_scores
from hybridrank.errors import BackendTimeoutError
from hybridrank.pipeline.latency_model import LatencyModel
from hybridrank.rerank.early_stopping import EarlyStopping
from hybridrank.runtime.deadline import limited, remaining
from hybridrank.runtime.drivers import Call, Outcome, Partial, Plan, ask
from hybridrank.types import Candidates, Scores

__all__ = ["RerankScorer", "Scored", "StopRule", "score"]

_RESERVE = 0.05
"""The part of the time left that is kept for later stages."""

_FIRST = 2
"""Documents in the first calls to a local reranker whose latency is not known yet."""

_STEPS = 3
"""A call takes about one such part of the time left, so that the next one can be cut to what is then left."""

_WORTH = 8
"""A call takes at least so many times its fixed part, so that fixed parts do not use up the time."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The scores that a reranker returned: for each `Candidates`, those of as many first documents as it reached.

    `stable` are the places in the batch of those whose top k is stable, so that no more were scored. `error` says
    why there are not more for the others; `late` says that it was the deadline. `started` is on the clock of
    `perf_counter`.
    """

    scores: Sequence[Scores]
    seconds: float
    error: Exception | None = None
    late: bool = False
    stable: frozenset[int] = frozenset()
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class RerankScorer:
    """A reranker and its capabilities, looked up once."""

    reranker: Reranker
    pointwise: bool
    native: AsyncReranker | None

    @classmethod
    def of(cls, reranker: Reranker) -> RerankScorer:
        """The scorer of a reranker."""
        pointwise = isinstance(reranker, PointwiseReranker) and reranker.pointwise
        return cls(reranker, pointwise, reranker if isinstance(reranker, AsyncReranker) else None)

    def call(self, batch: Sequence[Candidates]) -> Call[Sequence[Scores]]:
        """The call that scores a batch."""
        return Call.then(
            partial(validate_scores, batch=batch, source="the reranker"),
            partial(self.reranker.score, batch),
            None if self.native is None else partial(self.native.ascore, batch),
            backend=self.reranker,
        )


@dataclass(frozen=True, slots=True)
class StopRule:
    """When to stop: `rule` reads the scores so far after `order`, such as those of the blend."""

    rule: EarlyStopping
    k: int
    order: Callable[[Sequence[float]], Sequence[float]]

    def next(self, scored: int) -> int:
        """How many documents to score next."""
        return max(self.rule.next(scored, k=self.k), 1)

    def should_stop(self, scores: Sequence[float]) -> bool:
        """Whether the top k is stable."""
        return self.rule.should_stop(self.order(scores), k=self.k)


def score(
    scorer: RerankScorer,
    batch: Sequence[Candidates],
    *,
    model: LatencyModel,
    stop: StopRule | None = None,
    emit: Callable[[Scored], object] | None = None,
) -> Plan[Scored]:
    """Score each query's documents, the first ones first.

    Without a deadline and without `stop` this is one call. A pointwise reranker is called repeatedly: with as
    many documents as the time allows, until `stop` is satisfied. Any other is called once, since its scores of
    two calls are not comparable. All queries are scored to equal depths. `emit` creates a partial result from the
    scores so far, before each further call.
    """
    progress = _Progress(batch)
    while asked := progress.open():
        left = remaining()
        ends = {
            n: len(batch[n]) if stop is None else progress.counts[n] + stop.next(progress.counts[n]) for n in asked
        }
        wanted = progress.next_documents(ends)
        if left is not None:
            left *= 1 - _RESERVE
            sizes = [progress.sizes[n][place] for n, place in wanted]
            wanted = wanted[: _fitting(scorer, sizes, left, model)]
            if not wanted:
                progress.late = True
                if not any(progress.counts) and left > 0:
                    model.forget()
                break
        if emit is not None and any(progress.counts):
            yield Partial(emit(progress.scored()))
        taken = progress.take(wanted)
        with limited(left):
            outcome = yield from ask(scorer.call([part for _, part in taken]))
        progress.add(taken, outcome, stop)
        timed_out = isinstance(outcome.error, BackendTimeoutError) and left is not None
        if outcome.error is None or timed_out:  # a late call took at least this long
            model.observe(sum(progress.sizes[n][place] for n, place in wanted), outcome.seconds)
        if outcome.error is not None:
            progress.late = timed_out and (remaining() or 0.0) < (left or 0.0) / 2
            break
        if not scorer.pointwise:
            progress.late = bool(progress.open())
            break
    return progress.scored()


class _Progress:
    """The number of documents of each query that have been scored."""

    def __init__(self, batch: Sequence[Candidates]) -> None:
        self.batch = batch
        self.sizes = [_sizes(candidates) for candidates in batch]
        self.counts = [0] * len(batch)
        self.late = False
        self._parts: list[list[Scores]] = [[] for _ in batch]
        self._stable: set[int] = set()
        self._seconds = 0.0
        self._started: float | None = None
        self._error: Exception | None = None

    def open(self) -> list[int]:
        """The queries that are not stable, and have documents left."""
        return [n for n, done in enumerate(self.counts) if n not in self._stable and done < len(self.batch[n])]

    def next_documents(self, ends: Mapping[int, int]) -> list[tuple[int, int]]:
        """The documents up to these ends, as (query, place): the first of every query, then the second, …"""
        places = [
            (place, n) for n, end in ends.items() for place in range(self.counts[n], min(end, len(self.batch[n])))
        ]
        return (
            [(n, place) for place, n in sorted(places)] if len(ends) > 1 else [(n, place) for place, n in places]
        )

    def take(self, wanted: Sequence[tuple[int, int]]) -> list[tuple[int, Candidates]]:
        """The candidates of one call, by query."""
        ends = {n: place + 1 for n, place in wanted}
        return [(n, self.batch[n].part(self.counts[n], end)) for n, end in sorted(ends.items())]

    def add(
        self, taken: Sequence[tuple[int, Candidates]], outcome: Outcome[Sequence[Scores]], stop: StopRule | None
    ) -> None:
        """Add the scores of a call, or its failure."""
        self._seconds += outcome.seconds
        self._error = outcome.error
        if self._started is None:
            self._started = outcome.started
        if outcome.error is not None:
            return
        for (n, part), scores in zip(taken, outcome.get(), strict=True):
            self._parts[n].append(scores)
            self.counts[n] += len(part)
            if stop is None or self.counts[n] == len(self.batch[n]):
                continue
            if stop.should_stop([each for scores in self._parts[n] for each in scores]):
                self._stable.add(n)

    def scored(self) -> Scored:
        """The scores so far."""
        scores = [_joined(parts) for parts in self._parts]
        stable, started = frozenset(self._stable), self._started or 0.0
        return Scored(scores, self._seconds, self._error, self.late, stable, started)


def _fitting(scorer: RerankScorer, sizes: Sequence[int], left: float, model: LatencyModel) -> int:
    """The number of the first documents to score next."""
    if left <= 0:
        return 0
    if not model.known:
        return min(_FIRST, len(sizes)) if scorer.pointwise and scorer.native is None else len(sizes)
    if scorer.pointwise:
        step = max(left / _STEPS, _WORTH * model.fixed)
        if step < left and (count := model.fitting(sizes, step)):
            return count
    return model.fitting(sizes, left)


def _sizes(candidates: Candidates) -> list[int]:
    """Characters that a reranker reads for each document."""
    return [len(candidates.query.text) + len(document.content) for document in candidates.documents]


def _joined(parts: Sequence[Scores]) -> Scores:
    """One list of scores. Details that are numbers or lists are added up; of others the last call's count."""
    if len(parts) == 1:
        return parts[0]
    details: dict[str, Any] = {}
    for part in parts:
        for name, value in part.details.items():
            before = details.get(name)
            numbers = type(value) in (int, float) and type(before) in (int, float)
            lists = isinstance(value, list) and isinstance(before, list)
            details[name] = before + value if numbers or lists else value
    spans = [each for part in parts for each in part.spans]
    return Scores([score for part in parts for score in part], details=details, spans=spans)
