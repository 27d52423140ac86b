"""A collection in memory: dicts of documents and the local indexes over them, changed atomically."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from hybridrank.collection.documents import (
    checked,
    checked_changes,
    checked_ids,
    detached,
    normal_metadata,
    patched,
    with_metadata,
)
from hybridrank.collection.indexes.view import Chosen, Units, View
from hybridrank.collection.locks import ReadWriteLock
from hybridrank.collection.protocol import Capability
from hybridrank.collection.units import check_distinct, passage_of, split
from hybridrank.collection.unread import UnreadWarning, not_read, unread_tokens
from hybridrank.collection.vectors import given_vectors, naming_the_arm, require_whole, unit_vectors
from hybridrank.component.protocols import DocumentSplitter, ImprovingIndex, Index, VectorIndex
from hybridrank.errors import InputError, LockedError
from hybridrank.filters.fields import FieldTypes
from hybridrank.filters.language import Filter
from hybridrank.runtime import fork
from hybridrank.runtime.cancellation import check_cancelled, committing
from hybridrank.runtime.shielding import shield
from hybridrank.types import Document, Passage, Progress
from hybridrank.values.divisions import metadata_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MemoryCollection"]

_PATIENCE = 60.0  # seconds, with other writers, and with searches that are still at work
_LOOKS = 0.05  # seconds


class MemoryCollection:
    """Documents by id, and the named indexes over them.

    `add` and `delete` reach every index in one step that no search sees half done; the slow part of adding
    (splitting, tokenizing, embedding) runs concurrently with searches. One writer at a time: a second one waits.
    """

    capabilities: frozenset[Capability] = frozenset()
    path: None = None
    writable = True

    def __init__(
        self,
        indexes: Mapping[str, Index],
        *,
        splitter: DocumentSplitter | None = None,
        fields: Mapping[str, Any] | FieldTypes | None = None,
    ) -> None:
        self.indexes = dict(indexes)
        self.splitter = splitter
        self.layout = None
        self.fields = FieldTypes.of(fields)
        self._documents: dict[str, Document] = {}
        self._passages: dict[str, Sequence[Passage]] = {}  # of the documents that are split
        self._units: dict[str, Document] = self._documents if splitter is None else {}
        self._lock = ReadWriteLock()
        self._writer = fork.new_lock()
        self._unread: dict[str, dict[str, int]] = {}  # tokens that embedders did not read, by arm and unit
        self._chosen = Chosen()

    def with_arms(self, arms: Mapping[str, str]) -> MemoryCollection:
        """The same documents with some of the indexes: new name -> name in this collection.

        For comparisons: nothing is indexed again. Neither collection may be changed afterwards.
        """
        indexes = {name: self.indexes[own] for name, own in arms.items()}
        other = MemoryCollection(indexes, splitter=self.splitter, fields=self.fields)
        other._documents, other._passages, other._units = self._documents, self._passages, self._units
        return other

    @contextmanager
    def reading(self) -> Iterator[View]:
        """Exclude writers: inside, the documents and every index belong to one state."""
        with self._lock.reading() as hold:
            yield View(
                self.indexes,
                splits=self.splitter is not None,
                chosen=self._chosen,
                choose=self._choose,
                units=partial(_detached_units, self._units),
                hold=hold,
                keep=self._kept,
                lookalikes=self._find_lookalikes,
            )

    def _kept(self, ids: Collection[str]) -> Units:
        """What knows these units as they are now; they are copied when they are asked for."""
        units = self._units
        return partial(_detached_units, {unit: units[unit] for unit in ids if unit in units})

    def _choose(self, ids: frozenset[str] | None, filters: Filter | None) -> frozenset[str]:
        found = self._matching(filters) if ids is None else self._held(ids)
        if ids is not None and filters is not None:
            filters = self.fields.bind(filters)
            found = [document for document in found if filters.matches(document.metadata)]
        if self.splitter is None:
            return frozenset(document.id for document in found)
        return frozenset(unit.id for document in found for unit in self._units_of(document))

    def _find_lookalikes(self) -> frozenset[str]:
        return frozenset(
            each for each in self._documents if each not in self._passages and passage_of(each) is not None
        )

    def _taken(
        self, added: Sequence[Document], passages: Mapping[str, Sequence[Passage]]
    ) -> Iterator[tuple[str, str]]:
        """Units of added documents that have the ids of others': the document that is split, and the id."""
        held = {**self._passages, **{each.id: passages.get(each.id, ()) for each in added}}
        names = {each.id for each in added}
        for doc_id in names:
            if (
                not held[doc_id]
                and (place := passage_of(doc_id)) is not None
                and place[1] < len(held.get(place[0], ()))
            ):
                yield place[0], doc_id
            for passage in held[doc_id]:
                if (passage.id in self._documents or passage.id in names) and not held.get(passage.id):
                    yield doc_id, passage.id

    def _units_of(self, document: Document) -> Sequence[Document]:
        return self._passages.get(document.id) or (document,)

    def _matching(self, filters: Filter | None) -> Collection[Document]:
        documents = tuple(self._documents.values())
        if filters is None:
            return documents
        filters = self.fields.bind(filters)
        return [each for each in documents if filters.matches(each.metadata)]

    def get(self, ids: Collection[str]) -> dict[str, Document]:
        """The documents with these ids that exist, not split; and passages, by ids such as ``"report.pdf#3"``."""
        documents, units = self._documents, self._units
        found = {each: documents.get(each) or units.get(each) for each in checked_ids(ids)}
        return {each: detached(document) for each, document in found.items() if document is not None}

    def _held(self, ids: Iterable[str]) -> list[Document]:
        documents = self._documents
        return [found for doc_id in ids if (found := documents.get(doc_id)) is not None]

    def count(self, filters: Filter | Mapping[str, Any] | None = None) -> int:
        """The number of documents, or of those that match."""
        return len(self._documents) if filters is None else len(self._matching(Filter.of(filters)))

    def documents(self, filters: Filter | Mapping[str, Any] | None = None) -> Iterator[Document]:
        """All documents, or those that match, the last added or replaced last; one consistent state throughout."""
        yield from map(detached, self._matching(None if filters is None else Filter.of(filters)))

    def units(self) -> Iterator[Document]:
        """The units of retrieval, without metadata: all documents, or all passages if documents are split."""
        for unit in tuple(self._units.values()):
            yield with_metadata(unit, {})

    def statistics(self) -> dict[str, Any]:
        """JSON values: the number of documents, and the structure of each arm."""
        with self.reading() as view:
            arms = {
                name: {
                    "documents" if self.splitter is None else "passages": len(index),
                    **(index.statistics() if isinstance(index, ImprovingIndex) else {}),
                    **(self._not_read(name) if isinstance(index, VectorIndex) else {}),
                }
                for name, index in view.indexes.items()
            }
            passages = {} if self.splitter is None else {"passages": len(self._units)}
            return {"documents": len(self._documents), **passages, "fields": self.fields.to_dict(), "arms": arms}

    def _not_read(self, arm: str) -> dict[str, int]:
        held = [tokens for unit, tokens in self._unread.get(arm, {}).items() if unit in self._units]
        return not_read(len(held), sum(held))

    def close(self) -> None:
        """Do nothing: there are no files to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._documents)

    def __contains__(self, doc_id: object, /) -> bool:
        return isinstance(doc_id, str) and doc_id in self._documents

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._documents))

    def add(
        self,
        documents: Iterable[Document],
        *,
        vectors: Mapping[str, NDArray[np.float32]] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Add copies of these documents, replacing documents with the same ids. Returns how many.

        All of them are added, or none. `vectors` maps an arm to the vectors that its embedder would produce:
        float32, shape (len(documents), dim), any length except zero. `progress` counts documents.

        Raises:
            InputError: something is not a `Document`, two share an id, metadata has no JSON form, or the vectors
                do not fit. Nothing was changed.
        """
        types = self.fields
        return self._add(tuple(checked(documents, types)), types, vectors, progress=progress)

    @shield
    def _add(
        self,
        batch: Sequence[Document],
        types: FieldTypes,
        vectors: Mapping[str, NDArray[np.float32]] | None,
        *,
        progress: Progress | None = None,
    ) -> int:
        matrices = given_vectors(vectors, self.indexes, count=len(batch))
        if matrices:
            require_whole(batch, self.splitter)
        given = {arm: unit_vectors(arm, rows) for arm, rows in matrices.items()}
        if not batch:
            return 0
        passages = {each.id: some for each in batch if (some := split(self.splitter, each))}
        units: Sequence[Document] = [unit for each in batch for unit in passages.get(each.id) or (each,)]
        ids = [unit.id for unit in units]
        encoded = []
        unread: dict[str, dict[str, int]] = {}
        for number, (name, index) in enumerate(self.indexes.items()):
            report = None
            if progress is not None:

                def report(done: int, of: int, before: int = number) -> None:
                    share = (before + (done / of if of else 1.0)) / len(self.indexes)
                    progress(int(len(batch) * share), len(batch))

            with naming_the_arm(name):
                encoded.append(given[name] if name in given else index.encode(units, progress=report))
            if isinstance(index, VectorIndex) and name not in given:
                unread[name] = dict(zip(ids, unread_tokens(index.embedder, units), strict=True))
        if progress is not None:
            progress(len(batch), len(batch))
        with self._its_turn():
            if self.fields != types:
                raise LockedError(
                    "fields were declared while documents were being added, and nothing was added: add them again",
                    holder="another thread of this process",
                )
            if self.splitter is not None:
                check_distinct(self._taken(batch, passages))
            with self._changing():
                old = self._held(each.id for each in batch)
                new = set(ids)  # an index replaces units of the same id
                replaced = [unit.id for each in old for unit in self._units_of(each) if unit.id not in new]
                for index, prepared in zip(self.indexes.values(), encoded, strict=True):
                    if replaced:
                        index.delete(replaced)
                    index.add(ids, prepared)
                self._forget(old)
                self._documents.update({each.id: each for each in batch})  # what is replaced comes last
                self._passages.update(passages)
                self._units.update(zip(ids, units, strict=True))
                for name in self.indexes:
                    counted = {**self._unread.get(name, {}), **dict.fromkeys(ids, 0), **unread.get(name, {})}
                    self._unread[name] = {
                        u: tokens for u, tokens in counted.items() if tokens and u in self._units
                    }
                self._chosen = Chosen()
            self._improve()
        warning = UnreadWarning()
        for name, counted in unread.items():
            warning.add(name, list(counted.values()))
        warning.log()
        return len(batch)

    @contextmanager
    def _its_turn(self) -> Iterator[None]:
        """One writer at a time."""
        until = monotonic() + _PATIENCE
        while not self._writer.acquire(timeout=_LOOKS):
            check_cancelled()
            if monotonic() >= until:
                raise LockedError(
                    f"the collection is being changed by another thread; waited {_PATIENCE:g} s, and nothing was "
                    "changed: try again when that is done",
                    holder="another thread of this process",
                )
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Exclude searches: a change inside is atomic, and is skipped if its caller has abandoned it."""
        with self._lock.writing(_PATIENCE), committing():
            yield

    def delete(self, ids: Iterable[str] = (), *, filters: Filter | Mapping[str, Any] | None = None) -> int:
        """Delete documents by id, and those that match; unknown ids are ignored. Returns how many.

        Raises:
            InputError: `ids` is one str, or holds something else than str. Nothing was changed.
        """
        wanted = checked_ids(ids)
        return self._delete(wanted, None if filters is None else Filter.of(filters))

    @shield
    def _delete(self, wanted: Collection[str], chosen: Filter | None) -> int:
        with self._its_turn():
            with self._changing():
                gone = {document.id: document for document in self._held(wanted)}
                if chosen is not None:
                    gone.update({document.id: document for document in self._matching(chosen)})
                units = {unit.id for document in gone.values() for unit in self._units_of(document)}
                for index in self.indexes.values():
                    index.delete(units)
                self._forget(gone.values())
                self._chosen = Chosen()
            self._improve()
        return len(gone)

    def _forget(self, documents: Iterable[Document]) -> None:
        """Remove documents with their units; the indexes are the caller's."""
        for document in documents:
            for unit in self._units_of(document):
                del self._units[unit.id]
            self._documents.pop(document.id, None)
            self._passages.pop(document.id, None)

    @shield
    def update_metadata(self, changes: Mapping[str, Mapping[str, Any]]) -> int:
        """Set metadata fields of documents, by id: None removes a field. Nothing is indexed again.

        Returns how many documents were changed.

        Raises:
            InputError: there is no such document, or a value has no JSON form. Nothing was changed.
        """
        wanted = checked_changes(changes, self.fields)
        with self._its_turn(), self._changing():
            for doc_id in wanted:
                if doc_id not in self._documents:
                    raise InputError(f"there is no document {doc_id!r}; nothing was changed")
            for doc_id, fields in wanted.items():
                held = self._documents[doc_id]
                metadata = patched(held.metadata, fields)
                self._set_metadata(held, metadata)
            self._chosen = Chosen()
        return len(wanted)

    def _set_metadata(self, held: Document, metadata: dict[str, Any]) -> None:
        self._documents[held.id] = document = with_metadata(held, metadata)
        if held.id in self._passages:
            self._passages[held.id] = [
                with_metadata(each, dict(metadata_at(metadata, each.start, each.end)))
                for each in self._passages[held.id]
            ]
        self._units.update({unit.id: unit for unit in self._units_of(document)})

    @shield
    def declare_fields(self, fields: Mapping[str, Any] | FieldTypes) -> None:
        """Declare types of further metadata fields, like `Collection.declare_fields`.

        Raises:
            InputError: there is no such type, or a document's value is not of it. Nothing was changed.
        """
        declared = FieldTypes.of(fields)
        with self._its_turn(), self._changing():
            types = self.fields.with_types(declared)
            normal = {
                each.id: normal_metadata(each.id, each.metadata, declared) for each in self._documents.values()
            }
            for doc_id, metadata in normal.items():
                self._set_metadata(self._documents[doc_id], metadata)
            self.fields = types
            self._chosen = Chosen()

    @shield
    def compact(self) -> None:
        """Reorganize the indexes if it pays. Searches continue meanwhile; other writers wait."""
        with self._its_turn():
            self._improve()

    def _improve(self) -> None:
        for index in self.indexes.values():
            if isinstance(index, ImprovingIndex) and (swap := index.improve()) is not None:
                with suppress(LockedError), self._lock.writing(_PATIENCE):  # the next change comes to it
                    swap()


def _detached_units(units: Mapping[str, Document], ids: Collection[str]) -> dict[str, Document]:
    return {unit: detached(found) for unit in ids if (found := units.get(unit)) is not None}
