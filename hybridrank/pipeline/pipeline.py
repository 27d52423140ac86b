"""The public face of a search: build a pipeline, open one, search with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from collections.abc import Collection as Sized
from contextlib import aclosing, closing
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from hybridrank.collection.indexes.live_index import LiveIndex
from hybridrank.collection.protocol import SearchableCollection
from hybridrank.component.protocols import IndexedRetriever, Retriever
from hybridrank.errors import ConfigError, InputError
from hybridrank.filters.language import Filter
from hybridrank.pipeline.building import BUILT_IN, build_collection, open_collection
from hybridrank.pipeline.config import (
    OpenOptions,
    PipelineConfig,
    PipelineOptions,
    ReindexOptions,
    ReplaceOptions,
    SearchArguments,
    SearchOverrides,
)
from hybridrank.pipeline.latency_model import LatencyModels
from hybridrank.pipeline.observers import Observer, Observers
from hybridrank.pipeline.plan import plan
from hybridrank.pipeline.reindexing import reindex, reindexable
from hybridrank.pipeline.scope import Scope
from hybridrank.pipeline.setup import Setup, Shared, check_setup
from hybridrank.pipeline.state import SearchOptions
from hybridrank.result.hits import SearchResult
from hybridrank.result.usage import Usage
from hybridrank.runtime.deadline import limited
from hybridrank.runtime.drivers import AdmissionLimit, Plan, adrive, astream, drive, stream
from hybridrank.runtime.shielding import shielded
from hybridrank.runtime.threads import in_thread
from hybridrank.types import Document, Progress, Query
from hybridrank.values.arguments import real_number, true_or_false, whole_number

if TYPE_CHECKING:
    from os import PathLike
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from hybridrank.collection import Collection, ReindexReport
    from hybridrank.context.snippets import Snippet
    from hybridrank.ingest.sync import SyncOptions, SyncReport

__all__ = ["Pipeline"]


class Pipeline:
    """A hybrid search: arms in parallel, fused, the best candidates reranked, and adjusted.

    Thread-safe. Searches run in parallel, and see each `add` and `delete` completely or not at all. Create a
    pipeline with `build`, or `open` one that was built with a path. `replace` returns another one over the same
    indexes, `scoped` one that sees only some of the documents. `collection` holds the documents.
    """

    def __init__(
        self,
        config: PipelineConfig,
        collection: SearchableCollection,
        *,
        shared: Shared | None = None,
        scope: Filter | None = None,
        layout: Any = None,
    ) -> None:
        self.collection = collection
        if shared is None:
            path = None if collection.path is None else collection.path / "costs.json"
            shared = Shared(LatencyModels(path), Usage(), Observers(), AdmissionLimit(config.max_searches))
        self._shared = shared
        self._setup = Setup(config, collection, shared, collection.layout if layout is None else layout)
        self._scope = Scope(collection, scope)

    def __repr__(self) -> str:
        config = self.config
        parts = [
            *config.retrievers,
            *(_name(each) for each in (config.fusion, config.reranker) if each is not None),
        ]
        place = "in memory" if self.collection.path is None else f"at {self.collection.path}"
        scope = "" if self._scope.filters is None else f", within {self._scope.filters.to_dict()}"
        return f"<Pipeline of {', '.join(parts)}, {place}{scope}>"

    @property
    def config(self) -> PipelineConfig:
        """The configuration; its retrievers follow the collection when that is reindexed."""
        return self._followed().config

    def _followed(self) -> Setup:
        """The setup for the layout of the collection that this process knows."""
        if self._setup.layout is not self.collection.layout:
            self._setup = self._setup.following()
        return self._setup

    # Construction.

    @classmethod
    def build(
        cls,
        documents: Iterable[Document],
        *,
        path: str | PathLike[str] | None = None,
        config: str | PathLike[str] | Mapping[str, Any] | PipelineConfig | None = None,
        preset: str | None = None,
        vectors: Mapping[str, NDArray[np.float32]] | None = None,
        progress: Progress | None = None,
        **options: Unpack[PipelineOptions],
    ) -> Self:
        """Index documents: in memory, or durably in the new directory `path`.

        `config` is a TOML file's path, a mapping, or a `PipelineConfig`; `options` are fields of `PipelineConfig`
        and override it. Both override `preset`, the name of a prepared configuration, such as "multilingual"
        (docs/models.md). `vectors` maps an arm to the documents' vectors, as its embedder would produce them:
        float32, shape (len(documents), dim). `progress` is called as documents are indexed.

        Raises:
            ConfigError: the configuration is wrong; the message has the path.
            AuthenticationError: a part needs an API key, and its environment variable is not set.
            InputError: something is not a `Document`, two share an id, or metadata has no JSON form.
            StorageError: `path` is in use, or cannot be written. What was built is removed, unless others have
                written to it meanwhile: the exception's notes say so.
        """
        settings = PipelineConfig.load(config, preset=preset, **options)
        check_setup(settings)
        return cls(*build_collection(settings, documents, path=path, vectors=vectors, progress=progress))

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        *,
        trust: bool = False,
        progress: Progress | None = None,
        **options: Unpack[OpenOptions],
    ) -> Self:
        """Open the pipeline that `build` created at `path`, with its stored configuration.

        `options` are fields of `PipelineConfig` and override it; components that were objects without a
        registered name must be passed again. `progress` is called if indexes must be rebuilt.

        The configuration was written by the author of the collection. Components that could run code, use a
        network, or read a file outside the model caches and the collection are built only with ``trust=True``:
        remote rerankers, models at a path or not on this machine yet, caches at a path, plugins without a
        declaration.

        Raises:
            UntrustedConfigError: the stored configuration needs `trust`; names every part, and why.
            ConfigError: an option is wrong or has to be given; or an arm's vectors are another embedder's.
            StorageError: there is no collection, it is damaged, or a newer version of hybridrank wrote it.
        """
        settings, collection = open_collection(path, trust=trust, progress=progress, options=options)
        return cls(settings, collection)

    def replace(self, **options: Unpack[ReplaceOptions]) -> Self:
        """Create a pipeline over the same documents and indexes with another fusion, reranker, adjusters or
        depth.

        `options` are fields of `PipelineConfig`, except those that affect the indexes. Usage is counted from
        zero.

        Raises:
            ConfigError: an option is unknown or wrong.
            AuthenticationError: a part needs an API key, and its environment variable is not set.
        """
        settings = self._replaced(options)
        admission = AdmissionLimit(settings.max_searches)
        shared = replace(self._shared, usage=Usage(), admission=admission)
        layout = self._setup.layout
        return type(self)(settings, self.collection, shared=shared, scope=self._scope.filters, layout=layout)

    def scoped(self, filters: Filter | Mapping[str, Any]) -> Self:
        """Create a pipeline over only the documents that match `filters`: those of one tenant, for example.

        No argument of its methods widens the scope: the filters of a search, of a `delete` and of a further
        `scoped` narrow it. `get` finds nothing outside it, `len` counts the documents inside, and `add` accepts
        only documents that match. `max_searches` counts the searches of both pipelines together. `collection` is
        the whole collection, for trusted callers.

        Raises:
            InputError: `filters` are wrong; the message has the path.
        """
        scope = self._scope.narrowed(Filter.of(filters))
        return type(self)(
            self.config, self.collection, shared=self._shared, scope=scope, layout=self._setup.layout
        )

    def _replaced(self, options: Mapping[str, Any]) -> PipelineConfig:
        for fixed in ("retrievers", *BUILT_IN):
            if fixed in options:
                raise ConfigError(
                    "that needs other indexes: use reindex(), or Pipeline.build()", path=f"$.{fixed}"
                )
        config = self.config
        kept = {name: getattr(config, name) for name in PipelineConfig.model_fields}
        settings = PipelineConfig(**{**kept, **options})
        check_setup(settings)
        return settings

    # Search.

    def search(
        self,
        query: str | Query,
        *,
        k: int = 10,
        filters: Filter | Mapping[str, Any] | None = None,
        per_document: bool = False,
        min_score: float | None = None,
        deadline: float | None = None,
        **overrides: Unpack[SearchOverrides],
    ) -> SearchResult:
        """Find the best `k` documents, or passages if documents are split; fewer if fewer were found.

        For pages of results, take the tail of a larger `k`. With `k` beyond `fetch_k`, the arms fetch deeper and
        the order may change, so that pages repeat and skip documents: set `fetch_k` to the end of the last page,
        and keep it for every page.

        `filters` select documents by their metadata, before the top-k cut of each arm; `hybridrank.filters` has
        the language. `per_document` keeps only each document's best passage, so that `k` documents are found.

        `min_score` leaves out documents that the reranker scored lower, did not receive, or did not reach before
        the deadline. If it scored nothing at all, because it failed or had no time, nothing is left out: results
        are in fused order, and `degraded` says that `min_score` was not applied. It is on the reranker's own
        scale, independent of the blend and the adjusters. `min_relevance`, an override, is the same for
        `hit.relevance`, on which a threshold has the same meaning for every calibrated reranker.

        `deadline` is in seconds, for the whole search: as many candidates are reranked, best first, as the time
        allows, and a late arm or reranker is abandoned. The result's `degraded` reports it; being late does not
        raise.

        `overrides` are options of `replace`, for this search only.

        Raises:
            InputError: the query is blank, `k` < 1, the deadline is not positive, a filter is wrong, or there is a
                `min_score` and no reranker.
            ConfigError: an override is unknown or wrong.
            SearchError: every arm failed.
            BackendError: the reranker failed, and `on_rerank_error` is ``"raise"``.
            OverloadedError: `max_searches` are running already. Nothing was done.
            StorageError: a durable collection cannot be read.
        """
        asked, seconds = self._plan(
            [query],
            k=k,
            filters=filters,
            per_document=per_document,
            min_score=min_score,
            deadline=deadline,
            **overrides,
        )
        with self._shared.admission.one(), limited(seconds):
            return shielded(partial(drive, asked))[0]

    async def asearch(self, query: str | Query, **arguments: Unpack[SearchArguments]) -> SearchResult:
        """Like `search`, without blocking the event loop. Cancelling it cancels pending network calls."""
        asked, seconds = self._plan([query], **arguments)
        with self._shared.admission.one(), limited(seconds):
            return (await adrive(asked))[0]

    def search_many(
        self, queries: Iterable[str | Query], **arguments: Unpack[SearchArguments]
    ) -> list[SearchResult]:
        """Search for several queries, batched through every stage; results in the order of `queries`.

        The arguments are those of `search`. `deadline` applies to all queries together, and `max_searches` counts
        them as one search.
        """
        asked, seconds = self._plan(_several(queries, "search_many"), **arguments)
        with self._shared.admission.one(), limited(seconds):
            return shielded(partial(drive, asked))

    async def asearch_many(
        self, queries: Iterable[str | Query], **arguments: Unpack[SearchArguments]
    ) -> list[SearchResult]:
        """Like `search_many`, without blocking the event loop."""
        asked, seconds = self._plan(_several(queries, "asearch_many"), **arguments)
        with self._shared.admission.one(), limited(seconds):
            return await adrive(asked)

    def stream(self, query: str | Query, **arguments: Unpack[SearchArguments]) -> Iterator[SearchResult]:
        """Like `search`, yielding results as they improve: first the fused order, then each refinement.

        The last result is the one that `search` returns. `min_score` has no effect until the reranker has scored.
        """
        return self._stream(*self._plan([query], streaming=True, **arguments))

    def _stream(self, asked: Plan[list[SearchResult]], seconds: float | None) -> Iterator[SearchResult]:
        with self._shared.admission.one(), closing(stream(asked, seconds=seconds)) as results:
            for result in results:
                yield result[0]

    def astream(self, query: str | Query, **arguments: Unpack[SearchArguments]) -> AsyncIterator[SearchResult]:
        """Like `stream`, without blocking the event loop."""
        return self._astream(*self._plan([query], streaming=True, **arguments))

    async def _astream(
        self, asked: Plan[list[SearchResult]], seconds: float | None
    ) -> AsyncIterator[SearchResult]:
        with self._shared.admission.one():
            async with aclosing(astream(asked, seconds=seconds)) as results:
                async for result in results:
                    yield result[0]

    def _plan(
        self, queries: Iterable[str | Query], *, streaming: bool = False, **arguments: Unpack[SearchArguments]
    ) -> tuple[Plan[list[SearchResult]], float | None]:
        """The plan of a search, and its deadline in seconds."""
        started = perf_counter()
        k = whole_number(arguments.pop("k", 10), "k", least=1)
        filters, min_score = arguments.pop("filters", None), arguments.pop("min_score", None)
        per_document = true_or_false(arguments.pop("per_document", False), "per_document")
        seconds = _seconds(arguments.pop("deadline", None))
        setup = self._followed()
        if arguments:  # what is left overrides the configuration
            if "max_searches" in arguments:
                raise ConfigError("it is for a whole pipeline: use replace()", path="$.max_searches")
            setup = Setup(self._replaced(arguments), self.collection, self._shared, setup.layout)
        narrowed = None if filters is None else Filter.of(filters)
        asked = self._scope.queries([Query.of(query).narrowed(narrowed) for query in queries])
        if min_score is not None:
            min_score = real_number(min_score, "min_score")
            if setup.config.reranker is None:
                raise InputError("min_score is about a reranker's scores, and this pipeline has no reranker")
        options = SearchOptions(k, max(setup.config.fetch_k, k), started, per_document, min_score, streaming)
        return plan(setup, options, asked), seconds

    def warm_up(self) -> None:
        """Load what the first search would load, and learn the speed of reranking on this machine.

        It searches three times. `usage` counts these searches, since a service bills them too.
        """
        for depth in (self.config.rerank_k, 2, self.config.rerank_k):
            self.search("what is this about?", rerank_k=depth)

    async def awarm_up(self) -> None:
        """Like `warm_up`, without blocking the event loop."""
        for depth in (self.config.rerank_k, 2, self.config.rerank_k):
            await self.asearch("what is this about?", rerank_k=depth)

    def observe(self, observer: Observer) -> None:
        """Call an observer for every stage and search from now on.

        It also observes all pipelines derived from this one.

        Raises:
            InputError: it has none of the methods of `Observer`.
        """
        self._shared.observers.add(observer)

    def usage(self, prices: Mapping[str, float] | None = None) -> dict[str, float]:
        """The reranker's usage since this pipeline was created.

        Searches, documents, seconds, failures, and the sum of everything that the reranker counts (``requests``,
        ``search_units``, ``tokens_read``, …).

        A search that a deadline cut short is not a failure: it is counted as ``shortened``.

        `prices` are per unit, as in ``{"search_units": 0.002}``; with them, the total is ``cost``.

        Raises:
            InputError: there is a price for what was never counted.
        """
        return self._shared.usage.to_dict(prices)

    # Documents.

    @property
    def retrievers(self) -> Mapping[str, Retriever]:
        """The arms, by name: an index for a local one, else the configured retriever itself.

        Methods of an index run on one state of the collection, like a search.

        Raises:
            InputError: the pipeline is scoped. Arms know no scope.
        """
        if self._scope.filters is not None:
            raise InputError("a scoped pipeline does not give its arms away: they would answer beyond the scope")
        setup = self._followed()
        local = {name: LiveIndex(self.collection.reading, name) for name in setup.local}
        return {**setup.remote, **local}

    def snippets(self, result: SearchResult, *, max_chars: int = 300) -> list[Snippet]:
        """The best sentences of each hit, with the query's terms in them: `hybridrank.context.snippet`.

        Terms are matched as the first arm with a `language` does; in a pipeline without one, as English.

        Raises:
            InputError: `max_chars` is not a positive whole number.
        """
        from hybridrank.context.snippets import snippets

        arms = [each for each in self.config.retrievers.values() if hasattr(each, "language")]
        how = {name: getattr(arms[0], name, None) for name in ("language", "fold_accents")} if arms else {}
        return snippets(result, result.trace.query, max_chars=max_chars, **how)

    def __len__(self) -> int:
        return self._scope.count()

    def get(self, ids: Sized[str]) -> Mapping[str, Document]:
        """The documents with these ids; unknown ids are left out."""
        return self._scope.get(ids)

    def add(
        self,
        documents: Iterable[Document],
        *,
        vectors: Mapping[str, NDArray[np.float32]] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Add documents to every local index, replacing documents with the same ids. Returns how many.

        `Collection.add` has the details of a durable one.

        Raises:
            InputError: something is not a `Document`, two share an id, or one is outside the pipeline's scope.
        """
        return self.collection.add(self._scope.check(documents), vectors=vectors, progress=progress)

    def sync(self, paths: Iterable[str | Path] | str | Path, **options: Unpack[SyncOptions]) -> SyncReport:
        """Store the documents of files and of directories with all below them; see `Collection.sync`.

        Raises:
            InputError: as for `Collection.sync`; or the pipeline is in memory or scoped.
        """
        if self._scope.filters is not None:
            raise InputError(
                "a scoped pipeline cannot sync: it would see only some of the files' documents; sync the pipeline "
                "that it was made from, and give metadata= what the scope asks for"
            )
        if "sources" not in self.collection.capabilities:
            raise InputError(
                "a pipeline in memory cannot sync: nothing keeps track of its files; build it with path=…, or add "
                "what hybridrank.ingest.load_documents reads"
            )
        return cast("Collection", self.collection).sync(paths, **options)

    def reindex(
        self,
        *,
        gate: Callable[[Pipeline, Pipeline], Any] | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        **options: Unpack[ReindexOptions],
    ) -> ReindexReport:
        """Change the splitter, the retrievers with their embedders, or other options of a durable pipeline.

        `options` are fields of `PipelineConfig`, to be changed and stored; declared `fields` are changed by
        `collection.declare_fields`. The rest is as for `Collection.reindex`: the other layout is built next to the
        current one, searches and writes go on, and nothing is embedded twice. Open pipelines, here and in other
        processes, follow with their next search, unless they were opened with retrievers of their own; their
        other options stay as they are.

        `gate` is called with this pipeline and with the new one, which can be searched; where what it returns is
        false, nothing is switched. `hybridrank.evaluation.Gate` compares the two on judged queries.

        `rollback` goes back, `finish_reindex` removes the layout of before.

        Raises:
            ConfigError: an option is unknown or wrong.
            InputError: the pipeline is in memory or scoped, or the layout of before the last `reindex` is still
                there.
            StorageError: the collection is read-only, or the database failed. Nothing was switched.
        """
        self._reindexed()

        def ask(config: PipelineConfig, other: SearchableCollection) -> Any:
            return None if gate is None else gate(self, type(self)(config, other))

        report, self._setup = reindex(
            self._followed(), options, gate=gate and ask, dry_run=dry_run, progress=progress
        )
        return report

    def rollback(
        self,
        *,
        retrievers: Mapping[str, IndexedRetriever] | None = None,
        trust: bool = False,
        progress: Progress | None = None,
    ) -> ReindexReport:
        """Go back to the layout of before the last `reindex`, or remove the one that is being built.

        As `Collection.rollback`. Options of this pipeline that the collection does not need (fusion, reranker,
        depths) stay as they are; a pipeline that is opened later has those of before.

        Raises:
            InputError: the pipeline is in memory or scoped, or the collection has one layout.
            UntrustedConfigError: the stored retrievers take `trust`, and none are given.
        """
        report = self._reindexed().rollback(retrievers=retrievers, trust=trust, progress=progress)
        self._followed()
        return report

    def finish_reindex(self) -> None:
        """Remove the layout of before the last `reindex` with its vectors, and compact the collection.

        Raises:
            InputError: the pipeline is in memory or scoped, or there is no such layout.
        """
        self._reindexed().finish_reindex()

    def _reindexed(self) -> Collection:
        """The collection, if this pipeline may reindex it."""
        if self._scope.filters is not None:
            raise InputError("a scoped pipeline cannot be reindexed: it is one collection for all scopes")
        return reindexable(self.collection)

    async def aadd(
        self,
        documents: Iterable[Document],
        *,
        vectors: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> int:
        """Like `add`, without blocking the event loop. If cancelled, it may still add the documents."""
        run = partial(self.add, documents, vectors=vectors)
        return await in_thread(run, None, backend=None, purpose="call")

    def delete(self, ids: Iterable[str] = (), *, filters: Filter | Mapping[str, Any] | None = None) -> int:
        """Delete documents by id, and those that match, from every local index. Returns how many there were."""
        return self._scope.delete(ids, filters)

    async def adelete(self, ids: Iterable[str] = (), *, filters: Filter | Mapping[str, Any] | None = None) -> int:
        """Like `delete`, without blocking the event loop. If cancelled, it may still delete the documents."""
        return await in_thread(partial(self.delete, ids, filters=filters), None, backend=None, purpose="call")

    def close(self) -> None:
        """Close the files of a durable collection. Nothing is lost without it."""
        if self.collection.writable:
            self._shared.latency_models.save()
        self.collection.close()

    async def aclose(self) -> None:
        """Like `close`, without blocking the event loop."""
        await in_thread(self.close, None, backend=None, purpose="call")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _name(part: object) -> str:
    return str(getattr(part, "use", type(part).__name__))


def _several(queries: Iterable[str | Query], method: str) -> Iterable[str | Query]:
    if isinstance(queries, (str, Query)):
        raise InputError(f"{method} takes several queries; use {method.removesuffix('_many')}() for one")
    if isinstance(queries, Mapping) or not isinstance(queries, Iterable):
        raise InputError(f"queries must be several queries in their order, not one {type(queries).__name__}")
    return queries


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
