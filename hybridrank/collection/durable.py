"""A collection on disk: documents in SQLite, and indexes that follow every change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Collection as SizedIterable
from contextlib import AbstractContextManager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from hybridrank.collection.adding import Adder
from hybridrank.collection.documents import checked_ids
from hybridrank.collection.editing import Editor
from hybridrank.collection.exporting import ExportedDocument, exported
from hybridrank.collection.folder import (
    copy_database,
    database_size,
    locate,
    make_database,
    missing_folders,
    open_store,
    remove_database,
)
from hybridrank.collection.indexes.arms import configured, default_retrievers, identities, named
from hybridrank.collection.indexes.layout import Layout, Layouts
from hybridrank.collection.indexes.live import LiveIndexes
from hybridrank.collection.indexes.stored_splitter import to_stored
from hybridrank.collection.indexes.view import View
from hybridrank.collection.protocol import Capability
from hybridrank.collection.reindexing import Reindexer, ReindexReport
from hybridrank.collection.sqlite.schema import FORMAT
from hybridrank.collection.sqlite.store import Store
from hybridrank.collection.units import passage_of
from hybridrank.collection.unread import not_read
from hybridrank.component.protocols import DocumentSplitter, ImprovingIndex, IndexedRetriever
from hybridrank.errors import InputError
from hybridrank.filters.fields import FieldTypes
from hybridrank.filters.language import Filter
from hybridrank.ingest.splitting.auto import SplitterOption, chosen_splitter
from hybridrank.relevance.settings import Relevance
from hybridrank.runtime.shielding import shield, shielded
from hybridrank.types import Document, Progress
from hybridrank.values.arguments import document_ids, text

if TYPE_CHECKING:
    from threading import Event

    import numpy as np
    from numpy.typing import NDArray

    from hybridrank.ingest.sync import SyncOptions, SyncReport

__all__ = ["Collection"]


class LayoutOptions(TypedDict, total=False):
    """The options of `Collection.reindex`: those that are given are changed."""

    retrievers: Mapping[str, IndexedRetriever]
    splitter: SplitterOption
    indexed_fields: SizedIterable[str]


_UNITS = 512  # read in one transaction


class Collection:
    """Documents stored on disk, with the local indexes over them.

    SQLite is the single source of truth: everything that `add`, `delete` and `update_metadata` have acknowledged
    is on disk. The indexes are in memory, follow the database by sequence number, and are saved from time to time
    so that opening is fast; missing or damaged files are rebuilt from the database, without embedding.

    Threads may share a collection, and processes may open the same directory: any number of them read, one at a
    time writes. A search sees every change that any process committed before it began, and no later one. The
    directory must be on a local file system (SQLite's write-ahead log uses shared memory).
    """

    capabilities: frozenset[Capability] = frozenset({"durable", "sources", "snapshot", "reindex"})

    def __init__(self, path: Path, store: Store, layouts: Layouts, live: LiveIndexes | None = None) -> None:
        self.path = path
        self._store = store
        self._layouts = layouts
        self._made: Sequence[Path] = ()  # directories, by `create`
        self._live = LiveIndexes(path, store, layouts) if live is None else live
        self._editor = Editor(self._live)
        self._adder = Adder(store, self._live)
        self._reindexer = Reindexer(path, store, self._live, layouts)

    # ── creating, opening, closing ───────────────────────────────────────────────────────────────────────────

    @classmethod
    def create(
        cls,
        path: str | PathLike[str],
        retrievers: Mapping[str, IndexedRetriever] | None = None,
        *,
        splitter: SplitterOption = "auto",
        indexed_fields: SizedIterable[str] = (),
        fields: Mapping[str, Any] | FieldTypes | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> Self:
        """Create an empty collection in a directory that does not exist yet, or is empty.

        `retrievers` are BM25 (``bm25``) and FAISS (``dense``) by default. `splitter` splits documents into
        passages; by default it leaves those whole that the arms' embedders read at once. `indexed_fields` are
        metadata fields that are often filtered by: an index makes these filters fast, and adding a little slower.
        `fields` declares types of metadata fields, by name (`hybridrank.filters.fields`). `config` is stored for a
        pipeline.

        Raises:
            InputError: a field's name is none that a filter can have, or there is no such type.
            StorageError: the directory is in use, or cannot be written.
        """
        types = FieldTypes.of(fields)
        make = partial(cls._create, path, retrievers, splitter, indexed_fields, types, config)
        return shielded(make, undo=cls.discard)

    @classmethod
    def _create(
        cls,
        path: str | PathLike[str],
        retrievers: Mapping[str, IndexedRetriever] | None,
        splitter: SplitterOption,
        indexed_fields: SizedIterable[str],
        types: FieldTypes,
        config: Mapping[str, Any] | None,
    ) -> Self:
        folder = locate(path)
        arms = default_retrievers() if retrievers is None else dict(retrievers)
        if isinstance(indexed_fields, str):
            raise InputError(f'indexed_fields must be names, not one str; write ["{indexed_fields}"]')
        for name in indexed_fields:
            Filter.of({name: {"$exists": True}})  # no filter could name it
        chosen = chosen_splitter(splitter, arms.values())
        settings = {
            "fields": types.to_dict(),
            "config": {
                **{name: value for name, value in (config or {}).items() if name != "fields"},
                "retrievers": (config or {}).get("retrievers", {name: named(arm) for name, arm in arms.items()}),
                "splitter": to_stored(chosen),
                "indexed_fields": list(dict.fromkeys(indexed_fields)),
            },
        }
        made = missing_folders(folder)
        make_database(folder, settings, identities(arms.values()))
        stored = settings["config"]["retrievers"] or {}
        given = any(stored.get(name) is None for name in arms)
        collection = cls._open(folder, arms, given=given, trust=True)
        collection._layouts.trust = False  # of what another process may store later
        collection._made = made
        return collection

    @classmethod
    @shield
    def open(
        cls,
        path: str | PathLike[str],
        retrievers: Mapping[str, IndexedRetriever] | None = None,
        *,
        trust: bool = False,
        progress: Progress | None = None,
    ) -> Self:
        """Open a collection. `retrievers` override the stored ones: same vectors, other options.

        With none (``{}``), there is no search and no embedding; documents can be read, deleted and exported.
        Adding requires every embedder whose vectors the collection holds.

        `trust` is as for `Pipeline.open`: without it, stored retrievers that could do harm are not built.
        `progress` is called with (units, total) while indexes are rebuilt.

        Raises:
            UntrustedConfigError: the stored retrievers take `trust`, and none are given.
            StorageError: there is none, it is damaged, or a newer version of hybridrank wrote it.
            ConfigError: an arm's vectors were made by another embedder.
        """
        return cls._open(locate(path), retrievers, given=retrievers is not None, trust=trust, progress=progress)

    @classmethod
    def _open(
        cls,
        folder: Path,
        retrievers: Mapping[str, IndexedRetriever] | None,
        *,
        given: bool,
        trust: bool,
        progress: Progress | None = None,
    ) -> Self:
        """Open a collection; `given` says that the retrievers stay the same when it is reindexed."""
        store = open_store(folder)
        try:
            source = f"the collection at {folder}"
            with store.reading() as reader:
                config = reader.settings()["config"]
                arms = configured(config, source=source, trust=trust) if retrievers is None else dict(retrievers)
                layout = Layout.of(reader, arms, trust=trust)
            collection = cls(folder, store, Layouts(layout, given=given, trust=trust, source=source))
            collection._live.load(progress)
        except BaseException:
            store.close()
            raise
        return collection

    @staticmethod
    @shield
    def stored_config(path: str | PathLike[str]) -> dict[str, Any]:
        """The configuration that the collection at `path` was created with; for a pipeline, its whole
        configuration.

        Raises:
            StorageError: as for `open`.
        """
        store = open_store(locate(path))
        try:
            with store.reading() as reader:
                config: dict[str, Any] = reader.settings()["config"]
                return config
        finally:
            store.close()

    @shield
    def close(self) -> None:
        """Save the indexes if much has changed, and close the files. Nothing is lost without it."""
        try:
            self._live.finish()
        finally:
            self._store.close()
            self._live.settle()

    @shield
    def discard(self) -> bool:
        """Close and remove a collection that could not be filled; False if it stays because others have written
        to it.

        Only hybridrank's own files are removed, and the directory if `create` made it and it is then empty.
        """
        with self._live.removing() as alone:
            self._store.close()
            self._live.settle()
            if alone:
                self._live.generations.sweep()
                remove_database(self.path, self._made)
        return alone

    @property
    def read_only(self) -> bool:
        """Whether the collection is read-only: then nothing is written to its directory."""
        return self._store.read_only

    @property
    def writable(self) -> bool:
        """Whether its directory may be written to: it is not read-only, and has not been replaced."""
        return not self._store.read_only and self._store.same()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def layout(self) -> Layout:
        """The layout that this process knows: another object after it has noticed a `reindex`."""
        return self._layouts.current

    @property
    def _newest(self) -> Layout:
        """The layout of now; of a closed collection, the last one."""
        if self._store.closed:
            return self.layout
        with self._store.reading() as reader:
            return self._layouts.at(reader)

    @property
    def config(self) -> dict[str, Any]:
        """The stored configuration: of a pipeline, if one built the collection."""
        return dict(self._newest.config)

    @property
    def retrievers(self) -> dict[str, IndexedRetriever]:
        """The local arms, by name."""
        return dict(self._newest.retrievers)

    @property
    def splitter(self) -> DocumentSplitter | None:
        """The splitter of documents into passages; None if documents are indexed whole."""
        return self._newest.splitter

    @property
    def indexed_fields(self) -> tuple[str, ...]:
        """The metadata fields by which filters are fast."""
        return tuple(self._newest.config.get("indexed_fields", ()))

    @property
    def fields(self) -> FieldTypes:
        """The current types of metadata fields."""
        with self._store.reading() as reader:
            return reader.field_types()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def reading(self) -> AbstractContextManager[View]:
        """Hold one state, the newest: inside, the documents and every index belong together."""
        return self._live.reading()

    @shield
    def refresh(self) -> bool:
        """Bring the indexes up to date now instead of in the next search. True if anything had changed."""
        before = self._live.indexes.sequence
        with self.reading():
            return self._live.indexes.sequence != before

    @shield
    def get(self, ids: SizedIterable[str]) -> dict[str, Document]:
        """The documents with these ids that exist, not split; and passages, by ids such as ``"report.pdf#3"``."""
        wanted = checked_ids(ids)
        with self._store.reading() as reader:
            found = reader.documents(wanted)
            if passages := [each for each in wanted if each not in found and passage_of(each) is not None]:
                found.update(reader.units(passages))
        return {doc_id: found[doc_id] for doc_id in wanted if doc_id in found}

    @shield
    def count(self, filters: Filter | Mapping[str, Any] | None = None) -> int:
        """The number of documents, or of those that match."""
        with self._store.reading() as reader:
            return reader.state().documents if filters is None else reader.count(Filter.of(filters))

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, doc_id: object, /) -> bool:
        try:
            return isinstance(doc_id, str) and bool(self.get([doc_id]))
        except InputError:  # a lone surrogate: no text, and no id
            return False

    def __iter__(self) -> Iterator[str]:
        with self._store.reading() as reader:
            yield from reader.ids()

    def documents(self, filters: Filter | Mapping[str, Any] | None = None) -> Iterator[Document]:
        """All documents, or those that match, the last added or replaced last; one consistent state throughout."""
        chosen = None if filters is None else Filter.of(filters)
        with self._store.reading() as reader:
            yield from reader.each_document(chosen)

    def units(self) -> Iterator[Document]:
        """The units of retrieval, without metadata: all documents, or all passages if documents are split.

        Units that are added or replaced meanwhile come last. No state is held, however long it takes.
        """
        last = -1
        while True:
            with self._store.reading() as reader:
                numbers, units = next(reader.units_after(last, size=_UNITS), ([], []))
            if not units:
                return
            yield from units
            last = numbers[-1]

    @shield
    def sources(self) -> dict[str, str]:
        """The sources that were put, by name, with their digests."""
        with self._store.reading() as reader:
            return reader.sources()

    @shield
    def holders(self, ids: SizedIterable[str]) -> dict[str, str]:
        """The names of the sources that some documents belong to, by the documents' ids."""
        wanted = checked_ids(ids)
        with self._store.reading() as reader:
            return reader.holders(wanted)

    @shield
    def statistics(self) -> dict[str, Any]:
        """JSON values: the number of documents, the size on disk, and the structure of each arm."""
        with self.reading() as view, self._store.reading() as reader:
            state, embedders = reader.state(), self._layouts.at(reader).embedders
            arms = {
                name: {
                    "documents" if self.splitter is None else "passages": len(index),
                    **(index.statistics() if isinstance(index, ImprovingIndex) else {}),
                    **(not_read(*reader.unread(embedders[name])) if name in embedders else {}),
                }
                for name, index in view.indexes.items()
            }
            return {
                "path": str(self.path),
                "format": FORMAT,
                "read_only": self.read_only,
                "documents": state.documents,
                **({} if self.splitter is None else {"passages": state.units}),
                "sequence": state.version.sequence,
                "indexed_fields": list(self.indexed_fields),
                "fields": reader.field_types().to_dict(),
                "sources": len(reader.sources()),
                "embedders": list(reader.embedders()),
                "bytes": {
                    "database": database_size(self.path),
                    "indexes": self._live.generations.size(),
                },
                "unsaved_changes": self._live.indexes.unsaved,
                **self._reindexer.statistics(reader),
                "arms": arms,
            }

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────

    def add(
        self,
        documents: Iterable[Document],
        *,
        vectors: Mapping[str, NDArray[np.float32]] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Store documents, replacing documents with the same ids; returns how many.

        They are stored in batches of 512 or some 130,000 characters, or of 4,096 if nothing is to be embedded.
        Each batch is atomic, and survives if the process is killed in a later one. `progress` counts documents as
        they are embedded and stored; its total is the number known so far, if `documents` has no length.

        `vectors` maps an arm to the vectors that its embedder would produce: float32, shape (len(documents),
        dim), any length except zero.

        Raises:
            ConfigError: the collection was opened without an embedder whose vectors it holds.
            InputError: something is not a `Document`, two share an id, or metadata has no JSON form. Of a list or
                a tuple nothing was stored; of what is read one by one, the batches before it were.
            LockedError: another writer was at work for too long.
            StorageError: the disk is full, or the database failed. Nothing of the batch was stored.
        """
        done = self._adder.add(documents, vectors=vectors, progress=progress)
        shielded(self._live.maintain)
        return done

    def export(self, filters: Filter | Mapping[str, Any] | None = None) -> Iterator[ExportedDocument]:
        """All documents, or those that match, with the vectors of their units; one consistent state throughout."""
        chosen = None if filters is None else Filter.of(filters)
        with self._store.reading() as reader:
            yield from exported(reader, chosen)

    def add_exported(self, documents: Iterable[ExportedDocument], *, progress: Progress | None = None) -> int:
        """Like `add`, for documents that another collection exported: their vectors are stored as they are.

        A vector is taken where an arm here has the same embedder, by its identity, and the splitter here makes the
        same passage. All other units are embedded.

        Raises:
            InputError: as for `add`; or vectors have another dimension than those of the collection, are zero, or
                not finite.
        """
        exports: dict[str, ExportedDocument] = {}

        def each() -> Iterator[Document]:
            for found in documents:
                exports[found.document.id] = found
                yield found.document

        done = self._adder.add(each(), exports=exports, progress=progress)
        shielded(self._live.maintain)
        return done

    def put_source(
        self,
        name: str,
        digest: str,
        documents: Iterable[Document],
        *,
        edits: Callable[[str], Mapping[str, Any]] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Replace the documents of a source (for example a file) by these; returns how many.

        An existing document, by its id, keeps the changes of `update_metadata`. `edits` gives further ones, by the
        document's id. `digest` is stored after all of
        them, so that the caller can detect unchanged sources.

        Raises:
            InputError: as for `add`; or an id belongs to a document of another source.
        """
        text(name, "a source's name")
        text(digest, "a source's digest")
        before = self._next_number()
        done = self._adder.add(documents, source=name, edits=edits, progress=progress)
        shielded(partial(self._editor.finish_source, name, digest, before))
        return done

    def sync(self, paths: Iterable[str | Path] | str | Path, **options: Unpack[SyncOptions]) -> SyncReport:
        """Store the documents of files, and of directories with all below them; returns the outcome for each file.

        Only new and changed files are read. A file that has moved keeps its documents. A file that cannot be read
        is reported, keeps its documents of before, and does not end the run. The documents of files under `paths`
        that no longer exist are removed with `prune`, and reported otherwise. `moved_from` is the directory that
        `paths` were moved from. `progress` receives a `SyncProgress`. The other options are those of
        `hybridrank.ingest.load_documents`.

        `metadata` are fields for the documents of all files, or a function of a file's absolute path;
        `metadata_csv` is a table of them, with the files' paths (column ``path``) or the documents' ids (``id``).
        They are set as `update_metadata` sets them: they override those of the files, and are kept later on.

        An interrupted run keeps every batch that was stored; the next one skips the files that were completed,
        and does not embed again what was stored of the others.

        Raises:
            InputError: a path does not exist, no file under them can be read, or an option has no meaning.
            LockedError, StorageError: as for `add`.
        """
        from hybridrank.ingest.sync import sync

        return sync(self, paths, **options)

    def watch(
        self,
        paths: Iterable[str | Path] | str | Path,
        *,
        stop: Event | None = None,
        **options: Unpack[SyncOptions],
    ) -> Iterator[SyncReport]:
        """As `sync`, now and after every change of the files: yields a report of each time that something is new.

        Changes within a fifth of a second are taken together. A file that is incomplete or cannot be read is
        reported, and read again when it changes. It ends, at the latest half a second later, when `stop` is set.
        It needs the extra ``watch``.

        Raises:
            MissingDependencyError: watchfiles is not installed.
            InputError: as for `sync`, at first; later on, paths that cannot be read are waited for.
            LockedError, StorageError: as for `add`.
        """
        from hybridrank.ingest.watching import watch

        return watch(self, paths, stop=stop, **options)

    @shield
    def update_source(self, name: str, edits: Callable[[str], Mapping[str, Any]]) -> int:
        """As `update_metadata`, for all documents of a source: `edits` gives the fields to set, by document id.

        Documents that have been edited so already stay as they are. Returns how many were changed.

        Raises:
            InputError: a value has no JSON form, or is not of its field's type. Nothing was changed.
        """
        return self._editor.update_source(name, edits)

    @shield
    def _next_number(self) -> int:
        with self._store.reading() as reader:
            return reader.state().version.sequence + 1

    @shield
    def rename_sources(self, names: Mapping[str, str]) -> None:
        """Rename sources, for example after their files were moved; nothing else changes.

        Raises:
            InputError: another source has one of the new names.
        """
        self._editor.rename_sources(names)

    @shield
    def drop_sources(self, names: Iterable[str]) -> int:
        """Delete all documents of these sources, and the sources. Returns how many documents there were."""
        return self._editor.drop_sources(document_ids(names, "names", kind="source names"))

    def delete(self, ids: Iterable[str] = (), *, filters: Filter | Mapping[str, Any] | None = None) -> int:
        """Delete documents by id, and those that match; unknown ids are ignored. Returns how many there were.

        Raises:
            InputError: `ids` is one str, or holds something else than str. Nothing was changed.
        """
        wanted = checked_ids(ids)
        chosen = None if filters is None else Filter.of(filters)
        return shielded(partial(self._editor.delete, wanted, chosen))

    @shield
    def update_metadata(self, changes: Mapping[str, Mapping[str, Any]]) -> int:
        """Set metadata fields of documents, by id: None removes a field. Nothing is indexed or embedded again.

        Changes made here are kept when the document's source is put again (`put_source`), whatever metadata it
        then has. `add` replaces a document including these changes. Returns how many documents were changed.

        Raises:
            InputError: there is no such document, or a value has no JSON form. Nothing was changed.
        """
        return self._editor.update_metadata(changes)

    @shield
    def declare_fields(self, fields: Mapping[str, Any] | FieldTypes) -> None:
        """Declare types of further metadata fields, by name (`hybridrank.filters.fields`).

        The documents' values are converted to the form of their types. Every process sees the types in its next
        call; nothing is indexed or embedded again.

        Raises:
            InputError: there is no such type, a field has another already, or a document's value is not of its
                type: the message names the document. Nothing was changed.
        """
        self._editor.declare_fields(FieldTypes.of(fields))

    def reindex(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        gate: Callable[[Collection], Any] | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        **options: Unpack[LayoutOptions],
    ) -> ReindexReport:
        """Change the splitter, the retrievers with their embedders, or the indexed fields of a live collection.

        `options` are those to change: `retrievers`, `splitter` (None: documents are indexed whole) and
        `indexed_fields`. The other layout is built next to the current one. Searches and writes, here and in
        other processes, go on with the current layout; what they write meanwhile is caught up with. Then the
        collection is switched to the other layout in one transaction, and every process uses it from its next
        search on. The layout of before is kept until `finish_reindex`, and `rollback` goes back to it.

        Texts whose vectors the collection has are not embedded again. After a failure or a kill, the same call
        goes on where it stopped.

        `gate` is called with the collection in its other layout, which can be searched and not changed; where
        what it returns is false, nothing is switched, and the layout is kept for another attempt. With `dry_run`
        nothing is changed: the report says what would be. `config` are further options to store, of a pipeline.
        `progress` counts documents.

        Raises:
            ConfigError: a retriever's embedder has other files than those that made its vectors.
            InputError: an option is wrong, or the layout of before the last `reindex` is still there.
            StorageError: the collection is read-only, or the database failed. The current layout stays in use.
        """
        target = shielded(partial(self._reindexer.target, options, config or {}))
        if dry_run:
            return self._reindexer.preview(target, progress)
        if gate is None:
            return self._reindexer.run(target, None, progress)

        def ask(store: Store, layouts: Layouts, live: LiveIndexes) -> Any:
            return gate(type(self)(self.path, store, layouts, live))

        return self._reindexer.run(target, ask, progress)

    def rollback(
        self,
        *,
        retrievers: Mapping[str, IndexedRetriever] | None = None,
        trust: bool = False,
        progress: Progress | None = None,
    ) -> ReindexReport:
        """Go back to the layout of before the last `reindex`, or remove the one that is being built.

        Documents that were written since the switch are split and embedded for the layout of before first.
        `retrievers` and `trust` are as for `open`. A second call goes back again.

        Raises:
            InputError: the collection has one layout.
            UntrustedConfigError: the stored retrievers take `trust`, and none are given.
        """
        return self._reindexer.rollback(retrievers, trust=trust, progress=progress)

    @shield
    def finish_reindex(self) -> None:
        """Remove the layout of before the last `reindex` with its vectors, and compact the collection.

        Raises:
            InputError: there is none, or the collection was not switched to the one that is being built.
        """
        self._reindexer.finish()

    @shield
    def store_relevance(self, relevance: Relevance | None) -> None:
        """Store what `Pipeline.open` makes of the reranker's scores, as `hybridrank.evaluation.calibrate` fits it.

        None removes it. Documents and indexes stay as they are, and open pipelines keep what they have.
        """
        value = None if relevance is None else relevance.to_config()
        self._layouts.reconfigure(self._editor.store_option("relevance", value))

    @shield
    def compact(self) -> None:
        """Reorganize the indexes, delete data that is no longer used, and save the indexes.

        Vectors of deleted texts are deleted too: if the texts are added again, they are embedded again. Searches
        continue meanwhile; other writers wait.
        """
        self._live.compact()

    @shield
    def snapshot(self, path: str | PathLike[str]) -> None:
        """Copy the collection in its current state to a new or empty directory; open that to restore it.

        Others may read and write meanwhile. The copy rebuilds its indexes when it is first opened.

        Raises:
            StorageError: there is something at `path`, or it cannot be written.
        """
        folder = locate(path)
        with self._store.connection() as source:
            copy_database(source, folder)
