"""Pipeline: retrievers in parallel, one fusion, one reranker. One plan of a search, a sync and an async driver."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from collections.abc import Collection as Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from hybridrank.checks import checked_rankings, checked_scores
from hybridrank.collection import Collection, MemoryCollection
from hybridrank.collection.view import View
from hybridrank.config import PipelineConfig
from hybridrank.errors import (
    BackendResponseError,
    ConfigError,
    InputError,
    MissingDependencyError,
    ModelError,
    SearchError,
)
from hybridrank.filters import Filter
from hybridrank.protocols import AsyncReranker, AsyncRetriever, Indexer, Reranker, Retriever
from hybridrank.result import Hit, SearchResult
from hybridrank.trace import Stage, Trace
from hybridrank.types import Candidates, Document, Passage, Progress, Query, Ranking, Scores

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Pipeline"]

_log = logging.getLogger(__name__)

_SETUP_ERRORS = (ConfigError, InputError, MissingDependencyError, ModelError)
"""Failures that waiting does not mend: a reranker's are raised whatever `on_rerank_error` says."""


@dataclass(frozen=True, slots=True)
class _Call:
    """Work that a plan asks its driver for: `arun`, where there is one, is the same without a thread."""

    run: Callable[[], Any]
    arun: Callable[[], Awaitable[Any]] | None = None


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: Any
    error: Exception | None
    seconds: float


_Search: TypeAlias = tuple[list[Stage], Mapping[str, Document]]
"""The stages of a query up to its fusion, and documents by id: those at least that later stages need."""

_Plan: TypeAlias = Generator[Sequence[_Call], Sequence[_Outcome], list[SearchResult]]


@cache
def _pool(purpose: str) -> ThreadPoolExecutor:
    # Work in the "arm" pool never waits for other work in a pool; work in the "search" pool waits only for arms.
    # That is why they are two: in one, searches could fill every thread and wait for arms that find none.
    return ThreadPoolExecutor(32, thread_name_prefix=f"hybridrank-{purpose}")


if hasattr(os, "register_at_fork"):  # not on Windows, which forks nothing
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked child inherits no threads


def _run(call: _Call) -> _Outcome:
    started = perf_counter()
    try:
        return _Outcome(call.run(), None, perf_counter() - started)
    except Exception as error:
        return _Outcome(None, error, perf_counter() - started)


def _run_all(calls: Sequence[_Call]) -> list[_Outcome]:
    """Run calls beside each other: all but the last in threads, the last here."""
    others = [_pool("arm").submit(_run, call) for call in calls[:-1]]
    last = _run(calls[-1])
    return [*(other.result() for other in others), last]


async def _arun(call: _Call) -> _Outcome:
    if call.arun is None:
        return await asyncio.get_running_loop().run_in_executor(_pool("search"), _run, call)
    started = perf_counter()
    try:
        return _Outcome(await call.arun(), None, perf_counter() - started)
    except Exception as error:
        return _Outcome(None, error, perf_counter() - started)


def _drive(plan: _Plan) -> list[SearchResult]:
    try:
        calls = next(plan)
        while True:
            calls = plan.send(_run_all(calls))
    except StopIteration as finished:
        results: list[SearchResult] = finished.value
        return results


async def _adrive(plan: _Plan) -> list[SearchResult]:
    try:
        calls = next(plan)
        while True:
            calls = plan.send(await asyncio.gather(*map(_arun, calls)))
    except StopIteration as finished:
        results: list[SearchResult] = finished.value
        return results


class Pipeline:
    """A hybrid search: arms in parallel, fused, the best candidates reranked.

    Safe to share between threads; searches run beside each other, and see each `add` and `delete` whole or
    not at all. Make one with `build`, or `open` one that was built with a path; `replace` gives another over the
    same indexes. `collection` is where the documents are.
    """

    def __init__(self, config: PipelineConfig, collection: Collection | MemoryCollection) -> None:
        self.config = config
        self.collection = collection
        self._local = _indexers(config)
        self._remote = {
            name: arm
            for name, arm in config.retrievers.items()
            if name not in self._local and isinstance(arm, Retriever)
        }

    @classmethod
    def build(
        cls,
        documents: Iterable[Document],
        *,
        path: str | PathLike[str] | None = None,
        config: str | PathLike[str] | Mapping[str, Any] | PipelineConfig | None = None,
        vectors: Mapping[str, NDArray[np.float32]] | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Self:
        """Index documents: in memory, or durably in the new directory `path`.

        `config` is a TOML file's path, a mapping, or a `PipelineConfig`; `options` are fields of
        `PipelineConfig` and go before it. `vectors` maps an arm to what its embedder would make of the documents:
        float32, shape (len(documents), dim). `progress` is called as documents are indexed.

        Raises:
            ConfigError: the configuration is wrong; says where.
            InputError: there are no documents, something is not a `Document`, or two share an id.
            StorageError: `path` is in use, or cannot be written. What was built is removed.
        """
        settings = PipelineConfig.load(config, **options)
        local = _indexers(settings)
        if path is None:
            memory = MemoryCollection(
                {name: arm.create_index() for name, arm in local.items()}, splitter=settings.splitter
            )
            memory.add(documents, vectors=vectors, progress=progress)
            if local and not len(memory):
                raise InputError("there are no documents to search; give build() at least one Document")
            return cls(settings, memory)
        collection = Collection.create(
            path,
            local,
            splitter=settings.splitter,
            indexed_fields=settings.indexed_fields,
            config=settings.nameable(),
        )
        try:
            collection.add(documents, vectors=vectors, progress=progress)
        except BaseException:
            collection.close()
            shutil.rmtree(path, ignore_errors=True)
            raise
        return cls(settings, collection)

    @classmethod
    def open(cls, path: str | PathLike[str], *, progress: Progress | None = None, **options: Any) -> Self:
        """Open what `build` made at `path`, with the configuration that it was built with.

        `options` are fields of `PipelineConfig` and go before that; the parts that were objects without a
        registered name have to be given again. `progress` is called where indexes have to be made again.

        Raises:
            ConfigError: an option is wrong or has to be given; or an arm's vectors are another embedder's.
            StorageError: there is no collection, it is damaged, or a newer version of hybridrank wrote it.
        """
        for fixed in ("splitter", "indexed_fields"):
            if fixed in options:
                raise ConfigError(
                    "a collection keeps what it was built with: build another one", path=f"$.{fixed}"
                )
        stored = {**Collection.stored_config(path), **options}
        for part in ("retrievers", "fusion", "reranker"):
            if part in stored and stored[part] is None and part not in options:
                raise ConfigError(
                    "it was an object that has no registered name when this was built; give it again",
                    path=f"$.{part}",
                )
        settings = PipelineConfig.load(stored)
        return cls(settings, Collection.open(path, _indexers(settings), progress=progress))

    def close(self) -> None:
        """Let go of a durable collection's files. Nothing is lost by not closing."""
        if isinstance(self.collection, Collection):
            self.collection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def replace(self, **options: Any) -> Self:
        """Make a pipeline over the same documents and indexes with another fusion, reranker or depth.

        `options` are fields of `PipelineConfig`, all but what the indexes were built with.

        Raises:
            ConfigError: an option is unknown or wrong.
        """
        for fixed in ("retrievers", "splitter", "indexed_fields"):
            if fixed in options:
                raise ConfigError("that needs other indexes: use Pipeline.build()", path=f"$.{fixed}")
        kept = {name: getattr(self.config, name) for name in PipelineConfig.model_fields}
        return type(self)(PipelineConfig(**{**kept, **options}), self.collection)

    @property
    def retrievers(self) -> Mapping[str, Retriever]:
        """The arms at work, by name: an index for a local one, else the configured retriever itself."""
        with self.collection.reading() as view:
            return {**self._remote, **view.indexes}

    def __len__(self) -> int:
        return len(self.collection)

    def get(self, ids: Sized[str]) -> Mapping[str, Document]:
        """Those of the documents that are held, by id."""
        return self.collection.get(ids)

    def add(
        self,
        documents: Iterable[Document],
        *,
        vectors: Mapping[str, NDArray[np.float32]] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Add documents to every local index, each in place of the one already held under its id.

        Returns how many. `Collection.add` has the details of a durable one.

        Raises:
            InputError: something is not a `Document`, or two share an id.
        """
        return self.collection.add(documents, vectors=vectors, progress=progress)

    def delete(self, ids: Iterable[str] = (), *, filters: Filter | Mapping[str, Any] | None = None) -> int:
        """Delete documents by id, and those that match, from every local index. Returns how many there were."""
        return self.collection.delete(ids, filters=filters)

    def search(
        self,
        query: str | Query,
        *,
        k: int = 10,
        filters: Filter | Mapping[str, Any] | None = None,
        per_document: bool = False,
    ) -> SearchResult:
        """Find the best `k` documents, or passages where documents are split; fewer where fewer were found.

        `filters` choose documents by their metadata, before any arm cuts to its best; `hybridrank.filters` has
        the language. `per_document` gives each document's best passage alone, so that `k` documents are found.

        Raises:
            InputError: the query is blank, `k` < 1, or a filter is wrong.
            SearchError: every arm failed.
            BackendError: the reranker failed, and `on_rerank_error` is ``"raise"``.
            StorageError: a durable collection cannot be read.
        """
        return _drive(self._plan([_query(query, filters)], k, per_document))[0]

    async def asearch(
        self,
        query: str | Query,
        *,
        k: int = 10,
        filters: Filter | Mapping[str, Any] | None = None,
        per_document: bool = False,
    ) -> SearchResult:
        """As `search`, without blocking the event loop."""
        return (await _adrive(self._plan([_query(query, filters)], k, per_document)))[0]

    def search_many(
        self,
        queries: Iterable[str | Query],
        *,
        k: int = 10,
        filters: Filter | Mapping[str, Any] | None = None,
        per_document: bool = False,
    ) -> list[SearchResult]:
        """Search for several queries, batched through every stage; results in the order of `queries`."""
        if isinstance(queries, (str, Query)):
            raise InputError("search_many takes several queries; use search() for one")
        batch = [_query(query, filters) for query in queries]
        return _drive(self._plan(batch, k, per_document)) if batch else []

    # The plan: what a search does, asking its driver for every call that may take long.

    def _plan(self, queries: Sequence[Query], k: int, per_document: bool) -> _Plan:
        started = perf_counter()
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise InputError(f"k must be a whole number of at least 1, not {k!r}")
        settings = self.config
        fetch_k = max(settings.fetch_k, k)

        if self._remote:
            calls = [_remote_call(name, arm, queries, fetch_k) for name, arm in self._remote.items()]
            if self._local:
                calls.append(_Call(partial(self._retrieve_local, queries, fetch_k, per_document)))
            outcomes = list((yield calls))
            arms, documents = _value(outcomes.pop()) if self._local else ({}, {})
            arms.update(zip(self._remote, outcomes, strict=True))
            _value(*(yield [_Call(partial(self._fetch_remote, queries, arms, documents))]))
            searches = self._fused(arms, queries, per_document, held=documents)
        else:
            (outcome,) = yield [_Call(partial(self._search_local, queries, k, fetch_k, per_document))]
            searches = _value(outcome)

        reranked: list[Stage | None] = [None] * len(queries)
        if settings.reranker is not None:
            shown = [
                Candidates(query, tuple(found[doc_id] for doc_id in stages[-1].ids[: settings.rerank_k]))
                for query, (stages, found) in zip(queries, searches, strict=True)
            ]
            asked = [number for number, candidates in enumerate(shown) if len(candidates)]
            if asked:
                (outcome,) = yield [_rerank_call(settings.reranker, [shown[number] for number in asked])]
                error = outcome.error
                if error is not None:
                    if settings.on_rerank_error == "raise" or isinstance(error, _SETUP_ERRORS):
                        raise error
                    _log.warning("the reranker failed, results are in fused order: %s", _said(error))
                for position, number in enumerate(asked):
                    reranked[number] = _rerank_stage(
                        shown[number],
                        None if error is not None else outcome.value[position],
                        seconds=outcome.seconds,
                        error=None if error is None else _said(error),
                        batch=len(asked),
                    )

        seconds = perf_counter() - started
        results = []
        for query, (stages, found), last in zip(queries, searches, reranked, strict=True):
            trace = Trace(
                query=query.text,
                k=k,
                fetch_k=fetch_k,
                rerank_k=settings.rerank_k,
                seconds=seconds,
                stages=(*stages, last) if last is not None else tuple(stages),
            )
            results.append(SearchResult(_hits(stages[-1], last, found, k), trace))
        return results

    def _search_local(self, queries: Sequence[Query], k: int, fetch_k: int, per_document: bool) -> list[_Search]:
        """Retrieve and fuse on one state of the collection, and fetch of it what later stages show."""
        with self.collection.reading() as view:
            searches = self._fused(self._arms(view, queries, fetch_k, per_document), queries, per_document)
            shown = max(k, self.config.rerank_k if self.config.reranker is not None else 0)
            found = view.units({doc_id for stages, _ in searches for doc_id in stages[-1].ids[:shown]})
            return [(stages, found) for stages, _ in searches]

    def _retrieve_local(
        self, queries: Sequence[Query], k: int, per_document: bool
    ) -> tuple[dict[str, _Outcome], dict[str, Document]]:
        """Retrieve on one state of the collection, and fetch all that was found of it."""
        with self.collection.reading() as view:
            arms = self._arms(view, queries, k, per_document)
            found = set().union(*(r.ids for arm in arms.values() if arm.error is None for r in arm.value))
            return arms, dict(view.units(found))

    def _arms(self, view: View, queries: Sequence[Query], k: int, per_document: bool) -> dict[str, _Outcome]:
        """Run the local arms beside each other."""
        asked = [view.resolve(query) for query in queries]
        retrieve = _retrieve_parents if per_document and view.splits else _retrieve
        outcomes = _run_all([_Call(partial(retrieve, n, arm, asked, k)) for n, arm in view.indexes.items()])
        return dict(zip(view.indexes, outcomes, strict=True))

    def _fetch_remote(
        self, queries: Sequence[Query], arms: dict[str, _Outcome], documents: dict[str, Document]
    ) -> None:
        """Fetch what remote arms found and did not bring along; an arm that did not heed a filter has failed."""
        answers = [(name, arms[name]) for name in self._remote if arms[name].error is None]
        wanted = {doc_id for _, arm in answers for r in arm.value for doc_id in r.ids if doc_id not in r.documents}
        if missing := wanted - documents.keys():
            with self.collection.reading() as view:
                documents.update(view.units(missing))
        for name, arm in answers:
            for query, ranking in zip(queries, arm.value, strict=True):
                known = {**documents, **ranking.documents}
                if query.filters is not None and not all(
                    query.filters.matches(known[doc_id].metadata) for doc_id in ranking.ids if doc_id in known
                ):
                    problem = f"retriever {name!r} returned documents that do not match the query's filters"
                    arms[name] = _Outcome(None, BackendResponseError(problem), arm.seconds)

    def _fused(
        self,
        arms: Mapping[str, _Outcome],
        queries: Sequence[Query],
        per_document: bool,
        *,
        held: Mapping[str, Document] | None = None,
    ) -> list[_Search]:
        """The stages of each query up to its fusion, and the documents that are at hand for it.

        `held` are those that were fetched; without it no arm is remote, and all that is found can be fetched.
        """
        arms = {name: arms[name] for name in self.config.retrievers}  # in the configuration's order
        failed = {name: arm.error for name, arm in arms.items() if arm.error is not None}
        for failure in failed.values():
            if isinstance(failure, InputError):  # the query's fault, not the arm's
                raise failure
        if len(failed) == len(arms):
            raise SearchError(failed) from next(iter(failed.values()))
        for name, failure in failed.items():
            _log.warning("retriever %r failed, the search goes on without it: %s", name, _said(failure))
        return [self._fused_one(arms, number, len(queries), per_document, held) for number in range(len(queries))]

    def _fused_one(
        self,
        arms: Mapping[str, _Outcome],
        number: int,
        batch: int,
        per_document: bool,
        held: Mapping[str, Document] | None,
    ) -> _Search:
        stages, rankings = [], {}
        found: Mapping[str, Document] = held or {}
        for name, arm in arms.items():
            if arm.error is not None:
                stages.append(Stage(name, "retrieve", arm.seconds, error=_said(arm.error), batch=batch))
                continue
            ranking: Ranking = arm.value[number]
            if ranking.documents:
                found = {**ranking.documents, **found}
            stages.append(
                Stage(
                    name, "retrieve", arm.seconds, ranking.ids, ranking.scores, None, None, ranking.details, batch
                )
            )
            rankings[name] = ranking
        started = perf_counter()
        (fused,) = checked_rankings(
            [self.config.fusion.fuse(rankings)],
            queries=1,
            k=sum(map(len, rankings.values())),
            source="the fusion",
        )
        received = set().union(*(ranking.ids for ranking in rankings.values()))
        if not received.issuperset(fused.ids):
            raise BackendResponseError("the fusion returned documents that no retriever had found")
        details: Mapping[str, Any] = fused.details
        ids, scores = fused.ids, fused.scores
        if held is not None and not found.keys() >= set(ids):
            known = [(i, s) for i, s in zip(ids, scores, strict=True) if i in found]
            details = {**details, "unknown_documents": len(ids) - len(known)}
            ids, scores = tuple(i for i, _ in known), tuple(s for _, s in known)
        if per_document and (held is not None or self.collection.splitter is not None):
            best: dict[str, tuple[str, float]] = {}
            for unit, score in zip(ids, scores, strict=True):
                best.setdefault(_parent(unit, found), (unit, score))
            if len(best) < len(ids):
                details = {**details, "passages": len(ids)}
            ids, scores = tuple(unit for unit, _ in best.values()), tuple(score for _, score in best.values())
        seconds = perf_counter() - started
        stages.append(Stage("fusion", "fuse", seconds, ids, scores, len(received), None, details))
        return stages, found


def _value(outcome: _Outcome) -> Any:
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _believed(name: str, rankings: Any, queries: Sequence[Query], k: int) -> Sequence[Ranking]:
    source = f"retriever {name!r}"
    checked = checked_rankings(rankings, queries=len(queries), k=k, source=source)
    for query, ranking in zip(queries, checked, strict=True):
        if query.ids is not None and not query.ids.issuperset(ranking.ids):
            raise BackendResponseError(f"{source} returned documents that are not among the query's ids")
    return checked


def _retrieve(name: str, arm: Retriever, queries: Sequence[Query], k: int) -> Sequence[Ranking]:
    return _believed(name, arm.retrieve(queries, k=k), queries, k)


def _retrieve_parents(name: str, arm: Retriever, queries: Sequence[Query], k: int) -> Sequence[Ranking]:
    """As many of the best passages as it takes for `k` documents to be among them."""
    depth = k
    while True:
        rankings = _retrieve(name, arm, queries, depth)
        parents = [[unit.rpartition("#")[0] for unit in ranking.ids] for ranking in rankings]
        if all(len(units) < depth or len(set(units)) >= k for units in parents):
            return [_down_to(ranking, units, k) for ranking, units in zip(rankings, parents, strict=True)]
        depth *= 4


def _down_to(ranking: Ranking, parents: Sequence[str], k: int) -> Ranking:
    """The ranking down to the first passage of its k-th document."""
    first = {parent: place for place, parent in reversed(list(enumerate(parents)))}
    places = sorted(first.values())
    end = places[k - 1] + 1 if len(places) >= k else len(parents)
    return replace(ranking, ids=ranking.ids[:end], scores=ranking.scores[:end])


def _parent(unit: str, found: Mapping[str, Document]) -> str:
    """The document that a unit is, or is a passage of: what a remote arm brought along may be either."""
    document = found.get(unit)
    if document is None:
        return unit.rpartition("#")[0]
    return document.parent if isinstance(document, Passage) else unit


def _query(query: str | Query, filters: Filter | Mapping[str, Any] | None) -> Query:
    asked = Query.of(query)
    if filters is None:
        return asked
    chosen = Filter.of(filters)
    if asked.filters is not None:  # both must hold
        chosen = Filter.of({"$and": [asked.filters.to_dict(), chosen.to_dict()]})
    return replace(asked, filters=chosen)


def _indexers(config: PipelineConfig) -> dict[str, Indexer]:
    return {name: arm for name, arm in config.retrievers.items() if isinstance(arm, Indexer)}


def _remote_call(name: str, arm: Any, queries: Sequence[Query], k: int) -> _Call:
    async def native() -> Sequence[Ranking]:
        return _believed(name, await arm.aretrieve(queries, k=k), queries, k)

    is_native = isinstance(arm, AsyncRetriever)
    return _Call(partial(_retrieve, name, arm, queries, k), native if is_native else None)


def _rerank_call(reranker: Reranker, batch: Sequence[Candidates]) -> _Call:
    def run() -> Sequence[Scores]:
        return checked_scores(reranker.score(batch), batch, source="the reranker")

    async def native() -> Sequence[Scores]:
        return checked_scores(await reranker.ascore(batch), batch, source="the reranker")  # type: ignore[attr-defined]

    return _Call(run, native if isinstance(reranker, AsyncReranker) else None)


def _rerank_stage(
    candidates: Candidates, scores: Scores | None, *, seconds: float, error: str | None, batch: int
) -> Stage:
    if scores is None:
        return Stage("rerank", "rerank", seconds, received=len(candidates), error=error, batch=batch)
    ranking = Ranking.of(zip((document.id for document in candidates.documents), scores, strict=True))
    return Stage(
        "rerank", "rerank", seconds, ranking.ids, ranking.scores, len(candidates), None, scores.details, batch
    )


def _hits(fused: Stage, reranked: Stage | None, documents: Mapping[str, Document], k: int) -> list[Hit]:
    """The first `k`: what the reranker scored, by its scores, and behind it the rest in fused order."""
    stages = [fused] if reranked is None else [reranked, fused]
    hits: list[Hit] = []
    seen: set[str] = set()
    for stage in stages:
        for doc_id, score in zip(stage.ids, stage.scores, strict=True):
            if len(hits) == k:
                return hits
            if doc_id not in seen:
                seen.add(doc_id)
                hits.append(Hit(len(hits) + 1, score, documents[doc_id], stage.name))
    return hits
