"""Pipeline: retrievers in parallel, one fusion, one reranker. One plan of a search, a sync and an async driver."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection as Sized
from collections.abc import Generator, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from os import fspath
from platform import node
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Self, Unpack

from hybridrank.blend import ConfidenceBlend, blend, blended, confidence_range_of, effective_blend
from hybridrank.collection import Collection, MemoryCollection
from hybridrank.collection.documents import detached
from hybridrank.collection.indexes.live_index import LiveIndex
from hybridrank.collection.indexes.view import View
from hybridrank.component.base import Component, nested
from hybridrank.component.protocols import (
    Adjuster,
    AsyncRetriever,
    ChecksSetup,
    IndexedRetriever,
    Reranker,
    Retriever,
    VectorAdjuster,
    VectorSource,
)
from hybridrank.component.validation import checked_rankings, checked_vectors
from hybridrank.errors import (
    BackendResponseError,
    BackendTimeoutError,
    BackendUnavailableError,
    ConfigError,
    HybridrankError,
    InputError,
    MissingDependencyError,
    ModelError,
    SearchError,
    described,
)
from hybridrank.filters.language import Filter
from hybridrank.pipeline.config import OpenOptions, PipelineConfig, PipelineOptions, ReplaceOptions
from hybridrank.pipeline.latency_model import LatencyModel, LatencyModels
from hybridrank.pipeline.scoring import Scored, Scoring, score_all, score_in_time, score_until_settled
from hybridrank.pipeline.stages.adjust import adjust_each
from hybridrank.pipeline.stages.retrieve import LocalArms, Retrieve
from hybridrank.result.hits import Hit, SearchResult
from hybridrank.result.trace import Stage, Trace
from hybridrank.result.usage import Usage
from hybridrank.runtime.deadline import all_but, limited, remaining
from hybridrank.runtime.drivers import AdmissionLimit, Call, Outcome, Plan, adrive, drive
from hybridrank.runtime.shielding import shielded
from hybridrank.types import Candidates, Document, Passage, Progress, Query, Ranking, Scores
from hybridrank.values.arguments import real_number, true_or_false, whole_number

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Pipeline"]

_log = logging.getLogger(__name__)

_SETUP_ERRORS = (ConfigError, InputError, MissingDependencyError, ModelError)
"""Failures that waiting does not mend: they are raised, whatever `on_rerank_error` says."""


class _Search(NamedTuple):
    """The stages of a query so far, and documents and vectors by id: those at least that later stages need."""

    stages: list[Stage]
    found: Mapping[str, Document]
    vectors: Mapping[str, NDArray[np.float32]] = {}


@dataclass(frozen=True, slots=True)
class _Local:
    """What the local arms found, in which state of the collection; and documents and vectors of some of it."""

    arms: Mapping[str, Outcome]
    found: frozenset[str] = frozenset()
    state: object = None
    documents: Mapping[str, Document] = field(default_factory=dict)
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def is_past(self, view: View) -> bool:
        """Whether the collection has changed since."""
        return self.state is not None and view.state is not self.state


_RESERVE = 0.05
"""The part of a deadline that is kept for what comes after remote arms and the reranker."""


class Pipeline:
    """A hybrid search: arms in parallel, fused, the best candidates reranked, and adjusted.

    Safe to share between threads; searches run beside each other, and see each `add` and `delete` whole or
    not at all. Make one with `build`, or `open` one that was built with a path; `replace` gives another over the
    same indexes. `collection` is where the documents are.
    """

    def __init__(
        self,
        config: PipelineConfig,
        collection: Collection | MemoryCollection,
        *,
        costs: LatencyModels | None = None,
    ) -> None:
        self.config = config
        self.collection = collection
        path = collection.path / "costs.json" if isinstance(collection, Collection) else None
        self._costs = LatencyModels(path) if costs is None else costs
        self._usage = Usage()
        self._admission = AdmissionLimit(config.max_searches)
        self._told = None if config.reranker is None else confidence_range_of(config.reranker)
        self._blend = effective_blend(config.blend, self._told)
        self._needs_vectors = any(map(_needs_vectors, config.adjust))
        self._local = _indexers(config)
        self._arms = LocalArms(self._local, collection)
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
        **options: Unpack[PipelineOptions],
    ) -> Self:
        """Index documents: in memory, or durably in the new directory `path`.

        `config` is a TOML file's path, a mapping, or a `PipelineConfig`; `options` are fields of
        `PipelineConfig` and go before it. `vectors` maps an arm to what its embedder would make of the documents:
        float32, shape (len(documents), dim). `progress` is called as documents are indexed.

        Raises:
            ConfigError: the configuration is wrong; says where.
            AuthenticationError: a part needs an API key, and its environment variable is not set.
            InputError: something is not a `Document`, two share an id, or metadata has no JSON form.
            StorageError: `path` is in use, or cannot be written. What was built is removed, unless others have
                written to it meanwhile: the exception's notes say so.
        """
        settings = PipelineConfig.load(config, **options)
        _check_setup(settings)
        local = _indexers(settings)
        if path is None:
            memory = MemoryCollection(
                {name: arm.create_index() for name, arm in local.items()}, splitter=settings.splitter
            )
            memory.add(documents, vectors=vectors, progress=progress)
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
        except BaseException as error:
            _discard(collection, error)
            raise
        return cls(settings, collection)

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        *,
        trust: bool = False,
        progress: Progress | None = None,
        **options: Unpack[OpenOptions],
    ) -> Self:
        """Open what `build` made at `path`, with the configuration that it was built with.

        `options` are fields of `PipelineConfig` and override it; the parts that were objects without a
        registered name have to be given again. `progress` is called where indexes have to be made again.

        Whoever made the collection wrote its configuration. Parts of it that could run code, reach a network, or
        read a file outside of the model caches and the collection are built with ``trust=True`` alone: remote
        rerankers, models at a path or not on this machine yet, caches at a path, plugins that declare nothing.

        Raises:
            UntrustedConfigError: the stored configuration takes `trust`; names every part, and why.
            ConfigError: an option is wrong or has to be given; or an arm's vectors are another embedder's.
            StorageError: there is no collection, it is damaged, or a newer version of hybridrank wrote it.
        """
        for fixed in ("splitter", "indexed_fields"):
            if fixed in options:
                raise ConfigError(
                    "a collection keeps what it was built with: build another one", path=f"$.{fixed}"
                )
        stored = Collection.stored_config(path)
        for part in ("retrievers", "fusion", "reranker", "adjust"):
            if part in stored and stored[part] is None and part not in options:
                raise ConfigError(
                    "it was an object that has no registered name when this was built; give it again",
                    path=f"$.{part}",
                )
        source = f"the collection at {fspath(path)}"
        settings = PipelineConfig.load_stored(stored, source=source, trust=trust, **options)
        _check_setup(settings)
        return cls(settings, Collection.open(path, _indexers(settings), trust=trust, progress=progress))

    def close(self) -> None:
        """Let go of a durable collection's files. Nothing is lost by not closing."""
        if isinstance(self.collection, Collection):
            if self.collection.writable:
                self._costs.save()
            self.collection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def replace(self, **options: Unpack[ReplaceOptions]) -> Self:
        """Make a pipeline over the same documents and indexes with another fusion, reranker, adjusters or depth.

        `options` are fields of `PipelineConfig`, all but what the indexes were built with.

        Raises:
            ConfigError: an option is unknown or wrong.
            AuthenticationError: a part needs an API key, and its environment variable is not set.
        """
        for fixed in ("retrievers", "splitter", "indexed_fields"):
            if fixed in options:
                raise ConfigError("that needs other indexes: use Pipeline.build()", path=f"$.{fixed}")
        kept = {name: getattr(self.config, name) for name in PipelineConfig.model_fields}
        settings = PipelineConfig(**{**kept, **options})
        _check_setup(settings)
        return type(self)(settings, self.collection, costs=self._costs)

    @property
    def retrievers(self) -> Mapping[str, Retriever]:
        """The arms at work, by name: an index for a local one, else the configured retriever itself.

        What is called of an index runs on one state of the collection, as a search does.
        """
        return {**self._remote, **{name: LiveIndex(self.collection.reading, name) for name in self._local}}

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
        min_score: float | None = None,
        deadline: float | None = None,
    ) -> SearchResult:
        """Find the best `k` documents, or passages where documents are split; fewer where fewer were found.

        For pages of results, take the tail of a larger `k`. With `k` beyond `fetch_k`, the arms fetch deeper and
        the order may change, so that pages repeat and skip documents: set `fetch_k` to the end of the last page,
        and keep it for every page.

        `filters` choose documents by their metadata, before any arm cuts to its best;
        `hybridrank.filters.language` has the language. `per_document` gives each document's best passage alone, so
        that `k` documents are found.

        `min_score` leaves out what the reranker scored lower, and what it was not shown or did not come to before
        the deadline. Where it scored nothing at all, since it failed or had no time, nothing is left out: results
        are in fused order, and `degraded` says that `min_score` was not applied. It is on the reranker's own
        scale, whatever the blend and the adjusters make of it: `rerank.Calibrated` gives probabilities, on which a
        threshold means the same for every reranker.

        `deadline` is in seconds, for the whole search: as many candidates are reranked, best first, as there is
        time for, and an arm or a reranker that is late is left behind. The result's `degraded` says so; being
        late raises nothing.

        Raises:
            InputError: the query is blank, `k` < 1, the deadline is not positive, a filter is wrong, or there is a
                `min_score` and no reranker.
            SearchError: every arm failed.
            BackendError: the reranker failed, and `on_rerank_error` is ``"raise"``.
            StorageError: a durable collection cannot be read.
        """
        with limited(_seconds(deadline)):
            plan = self._plan([_query(query, filters)], k, per_document, min_score)
            return shielded(partial(drive, plan))[0]

    async def asearch(
        self,
        query: str | Query,
        *,
        k: int = 10,
        filters: Filter | Mapping[str, Any] | None = None,
        per_document: bool = False,
        min_score: float | None = None,
        deadline: float | None = None,
    ) -> SearchResult:
        """As `search`, without blocking the event loop. Cancelling it cancels what waits for a network.

        Raises:
            OverloadedError: `max_searches` are going on already. Nothing was done.
        """
        with self._admission.one(), limited(_seconds(deadline)):
            return (await adrive(self._plan([_query(query, filters)], k, per_document, min_score)))[0]

    def search_many(
        self,
        queries: Iterable[str | Query],
        *,
        k: int = 10,
        filters: Filter | Mapping[str, Any] | None = None,
        per_document: bool = False,
        min_score: float | None = None,
    ) -> list[SearchResult]:
        """Search for several queries, batched through every stage; results in the order of `queries`."""
        if isinstance(queries, (str, Query)):
            raise InputError("search_many takes several queries; use search() for one")
        if isinstance(queries, Mapping) or not isinstance(queries, Iterable):
            raise InputError(f"queries must be several queries in their order, not one {type(queries).__name__}")
        batch = [_query(query, filters) for query in queries]
        return shielded(partial(drive, self._plan(batch, k, per_document, min_score))) if batch else []

    def warm_up(self) -> None:
        """Load what the first search would load, and learn what reranking takes on this machine.

        It searches three times, which `usage` counts: a service wants to be paid for that, too.
        """
        for depth in (self.config.rerank_k, 2, self.config.rerank_k):
            trial = self.replace(rerank_k=depth)
            trial._usage = self._usage
            trial.search("what is this about?")

    def usage(self, prices: Mapping[str, float] | None = None) -> dict[str, float]:
        """What reranking has used since this pipeline was made: searches, documents, seconds, failures, and the
        sum of everything that the reranker counts (``requests``, ``search_units``, ``tokens_read``, …).

        A search that a deadline cut short is no failure: those are counted as ``shortened``.

        `prices` are for one of each, as in ``{"search_units": 0.002}``; with them the sum is there as ``cost``.

        Raises:
            InputError: there is a price for what was never counted.
        """
        return self._usage.to_dict(prices)

    @property
    def _cost(self) -> LatencyModel:
        """What calls of the reranker take on this machine."""
        reranker = self.config.reranker
        name = type(reranker).__qualname__
        if isinstance(reranker, Component):
            with suppress(ConfigError):
                name = json.dumps(reranker.to_config(), sort_keys=True)
        return self._costs.of(f"{name} on {node()}")

    # The plan: what a search does, asking its driver for every call that may take long.

    def _plan(
        self, queries: Sequence[Query], k: int, per_document: bool, min_score: float | None
    ) -> Plan[list[SearchResult]]:
        started = perf_counter()
        k = whole_number(k, "k", least=1)
        per_document = true_or_false(per_document, "per_document")
        settings = self.config
        if min_score is not None:
            _check_threshold(min_score, settings)
        fetch_k = max(settings.fetch_k, k)

        if self._remote:
            calls = [_remote_call(name, arm, queries, fetch_k) for name, arm in self._remote.items()]
            if self._local:
                calls.append(Call(partial(self._retrieve_local, queries, k, fetch_k, per_document)))
            with limited(all_but(_RESERVE)):
                outcomes = list((yield calls))
            local = _Local({})
            if self._local:
                whole = outcomes.pop()
                local = _Local(dict.fromkeys(self._local, whole)) if _is_late(whole) else whole.get()
            remote = dict(zip(self._remote, outcomes, strict=True))
            (joined,) = yield [Call(partial(self._join, queries, k, fetch_k, per_document, local, remote))]
            if _is_late(joined):
                searches = self._fused({**local.arms, **remote}, queries, per_document, held=local.documents)
            else:
                searches = joined.get()
        else:
            whole_search = partial(self._search_local, queries, k, fetch_k, per_document)
            (outcome,) = yield [Call(whole_search, backend=settings.fusion)]
            if remaining() is not None and isinstance(outcome.error, BackendUnavailableError):
                outcome = replace(
                    outcome, error=BackendTimeoutError(str(outcome.error))
                )  # others were late before
            if _is_late(outcome):
                searches = self._fused(dict.fromkeys(self._local, outcome), queries, per_document)
            else:
                searches = outcome.get()

        with limited(all_but(_RESERVE) if settings.adjust else None):
            yield from self._rerank(queries, searches, k, strict=min_score is not None)
        yield from self._adjust(queries, searches)
        seconds = perf_counter() - started
        results = []
        for query, search in zip(queries, searches, strict=True):
            trace = Trace(
                query=query.text,
                k=k,
                fetch_k=fetch_k,
                rerank_k=settings.rerank_k,
                seconds=seconds,
                stages=tuple(search.stages),
            )
            results.append(SearchResult(_hits(search, k, min_score), trace))
        return results

    def _rerank(
        self, queries: Sequence[Query], searches: Sequence[_Search], k: int, *, strict: bool
    ) -> Generator[Sequence[Call], Sequence[Outcome], None]:
        """Add a stage to each search, and the blend's to what was scored; none where there is no reranker, or
        nothing for it. `strict`: there is a `min_score`.
        """
        settings = self.config
        if settings.reranker is None:
            return
        shown = [
            Candidates(query, tuple(search.found[doc_id] for doc_id in search.stages[-1].ids[: settings.rerank_k]))
            for query, search in zip(queries, searches, strict=True)
        ]
        asked = [number for number, candidates in enumerate(shown) if len(candidates)]
        if not asked:
            return
        scored = yield from self._scoring(settings.reranker, [shown[number] for number in asked], k)
        if scored.error is not None:
            raising = settings.on_rerank_error == "raise" and not scored.late
            if raising or isinstance(scored.error, _SETUP_ERRORS):
                raise scored.error
            if not scored.late:
                _log.warning("the reranker failed, results are in fused order: %s", described(scored.error))
        for place, (number, scores) in enumerate(zip(asked, scored.scores, strict=True)):
            stage = _rerank_stage(shown[number], scores, scored, place)
            if strict and stage.error is not None and not stage.ids:
                stage = replace(stage, error=f"{stage.error}; min_score was not applied")
            searches[number].stages.append(stage)
            self._usage.add(stage)
            if self._blend != 0 and stage.ids:
                searches[number].stages.append(_blend_stage(searches[number].stages, self._weight(stage.scores)))

    def _weight(self, scores: Sequence[float]) -> float:
        """What the fused order weighs beside these scores of the reranker's."""
        if not isinstance(self._blend, ConfidenceBlend):
            return self._blend
        return self._blend.weight(scores, told=self._told)

    def _scoring(self, reranker: Reranker, batch: Sequence[Candidates], k: int) -> Scoring:
        """Have these scored: all of them, as many as there is time for, or until the best `k` have settled."""
        stop, cost = self.config.stop, self._cost
        if stop is not None:

            def settled(scores: Sequence[float]) -> bool:
                return stop.should_stop(blended(scores, weight=self._weight(scores)), k=k)

            return score_until_settled(reranker, batch, size=partial(stop.next, k=k), settled=settled, cost=cost)
        scoring = score_all if remaining() is None else score_in_time
        return scoring(reranker, batch, cost=cost)

    def _adjust(
        self, queries: Sequence[Query], searches: Sequence[_Search]
    ) -> Generator[Sequence[Call], Sequence[Outcome], None]:
        """Add a stage for each adjuster to each search that has something for it.

        It is shown what the last stage that did not fail has ranked, and never what a reranker was not shown.
        """
        most = None if self.config.reranker is None else self.config.rerank_k
        for name, adjuster in self.config.adjusters.items():
            batch, before, asked = [], [], []
            for query, search in zip(queries, searches, strict=True):
                last = _last(search.stages)
                if ids := last.ids[:most]:
                    documents = tuple(search.found[doc_id] for doc_id in ids)
                    vectors = _stacked(search.vectors, ids) if _needs_vectors(adjuster) else None
                    batch.append(Candidates(query, documents, vectors))
                    before.append(last.scores[:most])
                    asked.append(search)
            if not asked:
                return
            adjusted = yield from adjust_each(name, adjuster, batch, before)
            errors = [error for _, error in adjusted if error is not None]
            for error in errors:
                if isinstance(error, _SETUP_ERRORS):
                    raise error
            if errors:
                _log.warning("adjuster %r failed, results keep their order: %s", name, described(errors[0]))
            for search, (stage, _) in zip(asked, adjusted, strict=True):
                search.stages.append(stage)

    def _search_local(self, queries: Sequence[Query], k: int, fetch_k: int, per_document: bool) -> list[_Search]:
        """Retrieve and fuse on one state of the collection, and fetch of it what later stages show."""
        with self._arms.retrieving(queries, fetch_k, retrieve=partial(_retrieving, per_document)) as (view, arms):
            _, vectors = self._let_go(view, arms)
            searches = self._fused(arms, queries, per_document)
            found = view.found(self._shown(searches, k))
            return [_Search(search.stages, found, vectors) for search in searches]

    def _most_shown(self, k: int) -> int | None:
        """How many of the fused candidates later stages and the result show; None for all of them."""
        if self.config.reranker is not None:
            return max(k, self.config.rerank_k)
        return None if self.config.adjust else k

    def _shown(self, searches: Sequence[_Search], k: int) -> set[str]:
        most = self._most_shown(k)
        return {doc_id for search in searches for doc_id in search.stages[-1].ids[:most]}

    def _retrieve_local(self, queries: Sequence[Query], k: int, fetch_k: int, per_document: bool) -> _Local:
        """What the local arms find where others are remote, and the documents at the top of each.

        Those are most likely shown; what else is shown will be fetched when all arms are fused.
        """
        with self._arms.retrieving(queries, fetch_k, retrieve=partial(_retrieving, per_document)) as (view, arms):
            rankings = [ranking for arm in arms.values() if arm.error is None for ranking in arm.value]
            top = {doc_id for ranking in rankings for doc_id in ranking.ids[: self._most_shown(k)]}
            vectors = self._vectors(view, top)
            return _Local(arms, _found_by(arms), view.state, dict(view.found(top)), vectors)

    def _join(
        self,
        queries: Sequence[Query],
        k: int,
        fetch_k: int,
        per_document: bool,
        local: _Local,
        remote: Mapping[str, Outcome],
    ) -> list[_Search]:
        """Fuse what all arms found, and fetch what later stages show, of one state of the collection."""
        searches = self._joined(queries, k, per_document, local, remote)
        if searches is None:  # the collection has changed since the local arms were asked
            with self._arms.retrieving(queries, fetch_k, retrieve=partial(_retrieving, per_document)) as (
                view,
                arms,
            ):
                ids, vectors = self._let_go(view, arms, _absent(remote))
                local = _Local(arms, _found_by(arms), None, dict(view.units(ids)), vectors)
            searches = self._joined(queries, k, per_document, local, remote)
        return searches or []

    def _joined(
        self,
        queries: Sequence[Query],
        k: int,
        per_document: bool,
        local: _Local,
        remote: Mapping[str, Outcome],
    ) -> list[_Search] | None:
        """As `_join`; None where the collection is not in the state any more that the local arms have searched.

        Nothing is held while the fusion works, which is somebody else's code.
        """
        held, vectors = dict(local.documents), dict(local.vectors)
        filtered = any(query.filters is not None for query in queries)
        wanted = _absent(remote) - held.keys() - (frozenset() if filtered else local.found)
        if wanted:
            with self.collection.reading() as view:
                if local.is_past(view):
                    return None
                held.update(view.units(wanted))
        arms = {**local.arms, **self._heeding(queries, remote, held)}
        searches = self._fused(arms, queries, per_document, held=held, local=local.found)
        ids = self._shown(searches, k)
        missing = ids.difference(*(search.found for search in searches))
        unread = ids - vectors.keys() if self._needs_vectors else set()
        if missing or unread:
            with self.collection.reading() as view:
                if local.is_past(view):
                    return None
                held.update(view.found(missing))
                vectors.update(self._vectors(view, unread))
        return [_Search(search.stages, {**held, **search.found}, vectors) for search in searches]

    def _let_go(
        self, view: View, arms: Mapping[str, Outcome], others: Set[str] = frozenset()
    ) -> tuple[Set[str], dict[str, NDArray[np.float32]]]:
        """The ids of what the arms have found, and `others`; and the vectors, where they are needed.

        Lets go of the indexes: fusions are somebody else's code.
        """
        ids = _found_by(arms) | others
        vectors = self._vectors(view, ids)
        view.retrieved(ids)
        return ids, vectors

    def _vectors(self, view: View, ids: Sized[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors of these units, if an adjuster needs them, in the first arm that can give them."""
        if not self._needs_vectors:
            return {}
        for name, index in view.indexes.items():
            if isinstance(index, VectorSource):
                order = list(ids)
                try:
                    rows = checked_vectors(index.vectors(order), count=len(order), source=name, unit=False)
                except Exception as error:
                    _log.warning("the vectors of retriever %r cannot be read: %s", name, described(error))
                    return {}
                return dict(zip(order, rows, strict=True))
        return {}

    def _heeding(
        self, queries: Sequence[Query], remote: Mapping[str, Outcome], held: Mapping[str, Document]
    ) -> dict[str, Outcome]:
        """The remote arms' answers; an arm that did not heed a filter has failed."""
        arms = dict(remote)
        for name, arm in remote.items():
            for query, ranking in zip(queries, arm.value or (), strict=arm.error is None):
                if query.filters is None:
                    continue
                known = [ranking.documents.get(doc_id) or held.get(doc_id) for doc_id in ranking.ids]
                if not all(query.filters.matches(document.metadata) for document in known if document is not None):
                    problem = f"retriever {name!r} returned documents that do not match the query's filters"
                    arms[name] = Outcome(None, BackendResponseError(problem), arm.seconds)
        return arms

    def _fused(
        self,
        arms: Mapping[str, Outcome],
        queries: Sequence[Query],
        per_document: bool,
        *,
        held: Mapping[str, Document] | None = None,
        local: Set[str] = frozenset(),
    ) -> list[_Search]:
        """The stages of each query up to its fusion, and the documents that are at hand for it.

        `held` are those that were fetched, and of those in `local` the others can be; without `held` no arm is
        remote, and all that is found can be fetched.
        """
        arms = {name: arms[name] for name in self.config.retrievers}  # in the configuration's order
        failed = {name: arm.error for name, arm in arms.items() if arm.error is not None}
        for failure in failed.values():
            if isinstance(failure, InputError):  # the query's fault, not the arm's
                raise failure
        if len(failed) == len(arms) and not any(map(_is_late, arms.values())):  # being late raises nothing
            raise SearchError(failed) from next(iter(failed.values()))
        for name, failure in failed.items():
            if not _is_late(arms[name]):  # else the deadline was too short, which `degraded` says
                _log.warning("retriever %r failed, the search goes on without it: %s", name, described(failure))
        return [
            self._fused_one(arms, number, len(queries), per_document, held, local)
            for number in range(len(queries))
        ]

    def _fused_one(
        self,
        arms: Mapping[str, Outcome],
        number: int,
        batch: int,
        per_document: bool,
        held: Mapping[str, Document] | None,
        local: Set[str],
    ) -> _Search:
        stages, rankings = [], {}
        found: Mapping[str, Document] = held or {}
        for name, arm in arms.items():
            if arm.error is not None:
                said = f"deadline: {arm.error}" if _is_late(arm) else described(arm.error)
                stages.append(Stage(name, "retrieve", arm.seconds, error=said, batch=batch))
                continue
            ranking: Ranking = arm.value[number]
            if ranking.documents:
                found = {**ranking.documents, **found}
            lost = held is not None and len(ranking) > 0 and not any(i in found or i in local for i in ranking.ids)
            unknown = _unknown(name, ranking) if lost else None
            stages.append(
                Stage(
                    name,
                    "retrieve",
                    arm.seconds,
                    ranking.ids,
                    ranking.scores,
                    None,
                    unknown,
                    ranking.details,
                    batch,
                )
            )
            rankings[name] = ranking
        if not rankings:
            return _Search([*stages, Stage("fusion", "fuse", 0.0, received=0)], found)
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
        if held is not None and not all(i in found or i in local for i in ids):
            known = [(i, s) for i, s in zip(ids, scores, strict=True) if i in found or i in local]
            details = {**details, "unknown_documents": len(ids) - len(known)}
            ids, scores = tuple(i for i, _ in known), tuple(s for _, s in known)
        if per_document and (held is not None or self.collection.splitter is not None):
            best: dict[str, tuple[str, float]] = {}
            for unit, score in zip(ids, scores, strict=True):
                best.setdefault(_parent(unit, found, splits=self.collection.splitter is not None), (unit, score))
            if len(best) < len(ids):
                details = {**details, "passages": len(ids)}
            ids, scores = tuple(unit for unit, _ in best.values()), tuple(score for _, score in best.values())
        seconds = perf_counter() - started
        stages.append(Stage("fusion", "fuse", seconds, ids, scores, len(received), None, details))
        return _Search(stages, found)


def _discard(collection: Collection, error: BaseException) -> None:
    """Remove a collection that could not be filled; where it stays, the exception says so."""
    reason = "others have written to it meanwhile"
    try:
        if collection.discard():
            return
    except HybridrankError as problem:
        reason = str(problem)
        collection.close()
    error.add_note(f"the collection at {collection.path} was not removed: {reason}")


def _seconds(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    try:
        seconds = real_number(deadline, "deadline")
    except InputError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InputError(f"deadline must be a positive number of seconds, not {deadline!r}; None is no limit")
    return seconds


def _is_late(outcome: Outcome) -> bool:
    """Whether a deadline is why there is no value."""
    return isinstance(outcome.error, BackendTimeoutError) and remaining() is not None


def _believed(name: str, rankings: Any, queries: Sequence[Query], k: int) -> Sequence[Ranking]:
    source = f"retriever {name!r}"
    checked = checked_rankings(rankings, queries=len(queries), k=k, source=source)
    for query, ranking in zip(queries, checked, strict=True):
        if query.ids is not None and not query.ids.issuperset(ranking.ids):
            raise BackendResponseError(f"{source} returned documents that are not among the query's ids")
    return checked


def _retrieve(name: str, arm: Retriever, queries: Sequence[Query], k: int) -> Sequence[Ranking]:
    return _believed(name, arm.retrieve(queries, k=k), queries, k)


def _retrieving(per_document: bool, view: View) -> Retrieve:
    return _retrieve_parents if per_document and view.splits else _retrieve


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


def _parent(unit: str, found: Mapping[str, Document], *, splits: bool) -> str:
    """The document that a unit is, or is a passage of: what a remote arm brought along may be either."""
    document = found.get(unit)
    if document is None:  # a unit of the collection
        return unit.rpartition("#")[0] if splits else unit
    return document.parent if isinstance(document, Passage) else unit


def _query(query: str | Query, filters: Filter | Mapping[str, Any] | None) -> Query:
    asked = Query.of(query)
    if filters is None:
        return asked
    chosen = Filter.of(filters)
    if asked.filters is not None:  # both must hold
        chosen = Filter.of({"$and": [asked.filters.to_dict(), chosen.to_dict()]})
    return replace(asked, filters=chosen)


def _indexers(config: PipelineConfig) -> dict[str, IndexedRetriever]:
    return {name: arm for name, arm in config.retrievers.items() if isinstance(arm, IndexedRetriever)}


def _remote_call(name: str, arm: Any, queries: Sequence[Query], k: int) -> Call:
    async def native() -> Sequence[Ranking]:
        return _believed(name, await arm.aretrieve(queries, k=k), queries, k)

    is_native = isinstance(arm, AsyncRetriever)
    return Call(partial(_retrieve, name, arm, queries, k), native if is_native else None, backend=arm)


def _unknown(name: str, ranking: Ranking) -> str:
    """What is wrong with an arm whose documents it did not bring along, and which are not held here either."""
    if remaining() == 0.0:
        return "deadline: its documents were not fetched"
    problem = f"none of its {len(ranking)} documents is held here, and it brought none along"
    _log.warning("retriever %r: %s (the first is %r)", name, problem, ranking.ids[0])
    return described(BackendResponseError(problem))


def _found_by(arms: Mapping[str, Outcome]) -> frozenset[str]:
    """The ids that arms have found, for all queries."""
    rankings = [ranking for arm in arms.values() if arm.error is None for ranking in arm.value]
    return frozenset().union(*(ranking.ids for ranking in rankings))


def _absent(remote: Mapping[str, Outcome]) -> set[str]:
    """The ids of documents that remote arms have found and did not bring along."""
    rankings = [ranking for arm in remote.values() if arm.error is None for ranking in arm.value]
    return {doc_id for ranking in rankings for doc_id in ranking.ids if doc_id not in ranking.documents}


def _check_setup(config: PipelineConfig) -> None:
    """Have every part say now what would make all of its calls fail."""
    for name in type(config).model_fields:
        for part in nested(getattr(config, name)):
            if isinstance(part, ChecksSetup):
                part.check_setup()


def _rerank_stage(candidates: Candidates, scores: Scores, scored: Scored, place: int) -> Stage:
    """What came out for one query, the one at this place: as many of the first candidates as there are scores."""
    ranked = candidates.documents[: len(scores)]
    ranking = Ranking.of(zip((document.id for document in ranked), scores, strict=True))
    error, details = None, scores.details
    if place in scored.settled:
        details = {**details, "stopped": f"settled: reranked {len(scores)} of {len(candidates)}"}
    elif len(scores) < len(candidates):
        error = None if scored.error is None else described(scored.error)
        if scored.late:
            error = f"deadline: reranked {len(scores)} of {len(candidates)}"
    return Stage(
        "rerank",
        "rerank",
        scored.seconds,
        ranking.ids,
        ranking.scores,
        len(candidates),
        error,
        details,
        batch=len(scored.scores),
    )


def _blend_stage(stages: Sequence[Stage], weight: float) -> Stage:
    """What the blend makes of the last two stages, the fusion's and the reranker's."""
    started = perf_counter()
    fused, reranked = stages[-2], stages[-1]
    ranking = blend(fused.ranking, reranked.ranking, weight=weight)
    seconds = perf_counter() - started
    return Stage(
        "blend", "blend", seconds, ranking.ids, ranking.scores, len(ranking), details={"fused": round(weight, 3)}
    )


def _last(stages: Sequence[Stage]) -> Stage:
    """The last stage that ranked anything; the fusion where none did."""
    return next(stage for stage in reversed(stages) if stage.ids or stage.kind == "fuse")


def _needs_vectors(adjuster: Adjuster) -> bool:
    return isinstance(adjuster, VectorAdjuster) and adjuster.needs_vectors


def _stacked(vectors: Mapping[str, NDArray[np.float32]], ids: Sequence[str]) -> NDArray[np.float32]:
    """Shape (len(ids), dim), zeros where there is no vector."""
    import numpy as np

    none = np.zeros_like(next(iter(vectors.values()), np.zeros(0, np.float32)))
    return np.stack([vectors.get(doc_id, none) for doc_id in ids])


def _check_threshold(min_score: float, settings: PipelineConfig) -> None:
    real_number(min_score, "min_score")
    if settings.reranker is None:
        raise InputError("min_score is about a reranker's scores, and this pipeline has no reranker")


def _hits(search: _Search, k: int, min_score: float | None) -> list[Hit]:
    """The first `k`: what the last stage scored, by its scores, behind it what only those before scored.

    With `min_score`, only those of them to which the reranker gave at least so much; all, if it scored nothing.
    """
    hits: list[Hit] = []
    seen: set[str] = set()
    reranked = next((stage for stage in search.stages if stage.kind == "rerank"), None)
    if min_score is not None and reranked is not None and reranked.ids:
        scored = zip(reranked.ids, reranked.scores, strict=True)
        good = {doc_id for doc_id, score in scored if score >= min_score}
        seen.update(doc_id for stage in search.stages for doc_id in stage.ids if doc_id not in good)
    for stage in reversed(search.stages):
        if stage.kind == "retrieve":
            break
        for doc_id, score in zip(stage.ids, stage.scores, strict=True):
            if len(hits) == k:
                return hits
            if doc_id not in seen:
                seen.add(doc_id)
                hits.append(Hit(len(hits) + 1, score, detached(search.found[doc_id]), stage.name))
    return hits
