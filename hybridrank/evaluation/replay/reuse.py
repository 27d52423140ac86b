"""Reuse of results when several pipelines are recorded: each ranking and each score is computed once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from hybridrank.blend import confidence_range_of
from hybridrank.component.base import Component
from hybridrank.component.protocols import IndexedRetriever, Reranker
from hybridrank.errors import ConfigError, InputError
from hybridrank.pipeline.pipeline import Pipeline
from hybridrank.rerank.members import identity_of, is_pointwise, metadata_fields_of, score_member
from hybridrank.result.hits import SearchResult
from hybridrank.result.trace import Stage, Trace
from hybridrank.types import Candidates, Document, Query, Ranking, Scores, Span

__all__ = ["Reuse"]


@dataclass(frozen=True)
class _Part:
    """A score, or the scores of one call, with the seconds and the counts of the reranker."""

    scores: tuple[float, ...]
    seconds: float
    details: Mapping[str, float]
    spans: tuple[tuple[Span, ...], ...]


@dataclass(frozen=True)
class _Retrieved:
    """What an arm found, and the time of its search that belongs to no later stage."""

    stage: Stage
    seconds: float


class Reuse:
    """Rankings of arms and scores of rerankers, from searches of pipelines over the same documents.

    A search reuses the rankings of the arms if all arms and their depth are those of an earlier search for the
    query, and the scores of a reranker if it scored the same texts. A `pointwise` reranker scores only new
    pairs; any other scores only new lists of candidates.

    The trace is that of the pipeline alone: a reused result counts the seconds of the original call, a pair its
    share of the call by characters; so do the counts of the reranker.
    The details of such a stage say how much was ``shared``.
    """

    def __init__(self) -> None:
        self._arms: dict[tuple[Any, ...], _Retrieved] = {}
        self._scores: dict[tuple[Any, ...], _Part] = {}
        self._known: list[object] = []  # keeps alive what an id() stands for

    def search(
        self, pipeline: Pipeline, query: str, *, k: int, per_document: bool, documents: str
    ) -> SearchResult:
        """Search as `Pipeline.search` does, reusing earlier results; `documents` identifies the documents and
        the splitter."""
        settings = pipeline.config
        fetch_k = max(settings.fetch_k, k)
        found: dict[str, _Retrieved] = {}
        for name, arm in settings.retrievers.items():
            key = (documents, self._identity(arm), fetch_k, per_document, query)
            if key not in self._arms:
                break
            found[name] = self._arms[key]
        whole = len(found) == len(settings.retrievers)
        changes: dict[str, Any] = {}
        if settings.reranker is not None:
            changes["reranker"] = _ReusedScores(settings.reranker, self._identity(settings.reranker), self._scores)
        if whole:
            changes["retrievers"] = {name: _Replayed(each.stage) for name, each in found.items()}
        searching = Pipeline(settings.model_copy(update=changes), pipeline.collection)
        result = searching.search(query, k=k, per_document=per_document)
        return replace(result, trace=_as_if_alone(result.trace, found if whole else {}))

    def learn(
        self,
        pipeline: Pipeline,
        trace: Trace,
        units: Mapping[str, Document],
        *,
        per_document: bool,
        documents: str,
    ) -> None:
        """Store the results of a search; `units` are the candidates by id. Degraded searches are ignored."""
        if trace.degraded or any(stage.batch > 1 for stage in trace.stages):
            return
        later = sum(stage.seconds for stage in trace.stages if stage.kind != "retrieve")
        for stage in trace.stages:
            if stage.kind == "retrieve":
                arm = pipeline.config.retrievers[stage.name]
                if isinstance(arm, IndexedRetriever):  # a remote engine's documents are not at hand
                    key = (documents, self._identity(arm), trace.fetch_k, per_document, trace.query)
                    self._arms.setdefault(key, _Retrieved(stage, max(0.0, trace.seconds - later)))
            elif stage.kind == "rerank" and pipeline.config.reranker is not None:
                self._learn_scores(pipeline.config.reranker, trace, stage, units)

    def _learn_scores(self, reranker: Reranker, trace: Trace, stage: Stage, units: Mapping[str, Document]) -> None:
        scores = dict(zip(stage.ids, stage.scores, strict=True))
        shown = [doc_id for doc_id in trace.stage("fusion").ids[: stage.received] if doc_id in scores]
        if not shown or not all(doc_id in units for doc_id in shown):
            return
        read = Candidates(Query(trace.query), [units[doc_id] for doc_id in shown])
        texts = dict(zip(shown, read.contents(metadata_fields_of(reranker)), strict=True))
        spans = {doc_id: stage.spans.get(doc_id, ()) for doc_id in shown}
        identity = self._identity(reranker)
        counts = {
            name: value
            for name, value in stage.details.items()
            if type(value) in (int, float) and name not in ("shared", "shared_seconds")
        }
        if not is_pointwise(reranker):
            if len(shown) != stage.received:
                return
            ordered = tuple(scores[doc_id] for doc_id in shown)
            key = _list_key(identity, trace.query, [*texts.values()])
            self._scores.setdefault(key, _Part(ordered, stage.seconds, counts, tuple(spans.values())))
            return
        sizes = {doc_id: len(trace.query) + len(texts[doc_id]) for doc_id in shown}
        total = sum(sizes.values())
        for doc_id in shown:
            share = sizes[doc_id] / total
            shares = {name: share * value for name, value in counts.items()}
            part = _Part((scores[doc_id],), share * stage.seconds, shares, (spans[doc_id],))
            self._scores.setdefault(_pair_key(identity, trace.query, texts[doc_id]), part)

    def _identity(self, part: object) -> str:
        """What determines the results of a component; the object itself where it has no configuration."""
        if isinstance(part, Reranker):
            try:
                return identity_of(part)
            except InputError:
                pass
        elif isinstance(part, Component):
            try:
                return json.dumps(part.to_config(), sort_keys=True)
            except ConfigError:
                pass
        self._known.append(part)
        return f"object {id(part)}"


@dataclass(frozen=True)
class _Replayed:
    """An arm that returns a recorded ranking."""

    stage: Stage

    def retrieve(self, queries: Sequence[Query], *, k: int) -> list[Ranking]:
        """The recorded ranking."""
        return [Ranking(self.stage.ids[:k], self.stage.scores[:k], details=self.stage.details) for _ in queries]


@dataclass(frozen=True)
class _ReusedScores:
    """A reranker that scores only what was not scored before."""

    reranker: Reranker
    identity: str
    known: Mapping[tuple[Any, ...], _Part]

    @property
    def pointwise(self) -> bool:
        """Whether the reranker is."""
        return is_pointwise(self.reranker)

    @property
    def confidence_range(self) -> tuple[float, float] | None:
        """What the reranker says."""
        return confidence_range_of(self.reranker)

    def score(self, batch: Sequence[Candidates]) -> list[Scores]:
        """Scores, reused or new; the details count the reused ones and their seconds."""
        return [self._one(candidates) for candidates in batch]

    def _one(self, candidates: Candidates) -> Scores:
        texts = candidates.contents(metadata_fields_of(self.reranker))
        if not self.pointwise:
            whole = self.known.get(_list_key(self.identity, candidates.query.text, texts))
            return (
                self._ask(candidates)
                if whole is None
                else _scores(Scores(whole.scores, spans=whole.spans), [whole], len(texts), {})
            )
        parts = [self.known.get(_pair_key(self.identity, candidates.query.text, text)) for text in texts]
        missing = [each for each, part in zip(candidates.documents, parts, strict=True) if part is None]
        made = self._ask(Candidates(candidates.query, missing)) if missing else Scores()
        new = zip(made, made.spans, strict=True)
        pairs = [next(new) if part is None else (part.scores[0], part.spans[0]) for part in parts]
        scores = Scores([score for score, _ in pairs], spans=[spans for _, spans in pairs])
        taken = [part for part in parts if part is not None]
        return _scores(scores, taken, len(taken), made.details)

    def _ask(self, candidates: Candidates) -> Scores:
        return score_member(self.reranker, [candidates], name="rerank")[0]


def _scores(scores: Scores, taken: Sequence[_Part], count: int, details: Mapping[str, Any]) -> Scores:
    if not taken:
        return Scores(scores, details=details, spans=scores.spans)
    summed = dict(details)
    for part in taken:
        for name, value in part.details.items():
            summed[name] = summed.get(name, 0) + value
    numbers = {name: _plain(value) if type(value) is float else value for name, value in summed.items()}
    seconds = sum(part.seconds for part in taken)
    notes = {**numbers, "shared": count, "shared_seconds": seconds}
    return Scores(scores, details=notes, spans=scores.spans)


def _plain(value: float) -> float:
    """A sum of shares, as an int if the original number was one."""
    return round(value) if abs(value - round(value)) < 1e-6 else value


def _as_if_alone(trace: Trace, arms: Mapping[str, _Retrieved]) -> Trace:
    """The trace with the seconds of the reused results."""
    stages = []
    for stage in trace.stages:
        if stage.name in arms:
            source = arms[stage.name].stage
            stages.append(replace(source, name=stage.name, details={**source.details, "shared": len(stage.ids)}))
        elif "shared_seconds" in stage.details:
            details = dict(stage.details)
            stages.append(replace(stage, seconds=stage.seconds + details.pop("shared_seconds"), details=details))
        else:
            stages.append(stage)
    added = sum(stage.seconds for stage in stages) - sum(stage.seconds for stage in trace.stages)
    seconds = trace.seconds + added
    if arms:
        later = sum(stage.seconds for stage in stages if stage.kind != "retrieve")
        seconds = max(each.seconds for each in arms.values()) + later
    return replace(trace, seconds=seconds, stages=tuple(stages))


def _pair_key(identity: str, query: str, text: str) -> tuple[Any, ...]:
    return identity, query, _digest(text)


def _list_key(identity: str, query: str, texts: Sequence[str]) -> tuple[Any, ...]:
    return identity, query, tuple(map(_digest, texts))


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
