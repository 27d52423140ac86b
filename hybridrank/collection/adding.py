"""Adding documents in batches: the slow part runs concurrently with searches and other writers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from hybridrank.collection.documents import checked, normal_metadata, patched, with_metadata
from hybridrank.collection.exporting import ExportedDocument, known_rows
from hybridrank.collection.indexes.arms import check_fingerprint, fingerprint, identities_of
from hybridrank.collection.indexes.indexes import Added, Indexes
from hybridrank.collection.indexes.layout import Layout
from hybridrank.collection.indexes.live import LiveIndexes
from hybridrank.collection.sqlite.filter_sql import dump_metadata
from hybridrank.collection.sqlite.store import Store
from hybridrank.collection.sqlite.writer import Writer
from hybridrank.collection.units import split
from hybridrank.collection.unread import UnreadWarning, unread_tokens
from hybridrank.collection.vectors import given_vectors, naming_the_arm, require_whole, unit_vectors
from hybridrank.component.protocols import VectorIndex
from hybridrank.errors import ConfigError, InputError
from hybridrank.filters.fields import FieldTypes
from hybridrank.runtime.shielding import Shielded, shielded
from hybridrank.types import Document, Passage, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BATCH_TO_EMBED", "Adder", "Edits", "Embedded", "digests_of", "embedded", "units_of"]

Edits: TypeAlias = Callable[[str], Mapping[str, Any]]
"""Metadata fields to set, by document id."""

_BATCH = 4096  # documents in a transaction
BATCH_TO_EMBED = 512  # embedding is slow: a killed process loses little
_BATCH_CHARACTERS = 1 << 26
_CHARACTERS_TO_EMBED = 1 << 17  # some seconds of a small model on a CPU
_CHARACTERS_KEPT = 1 << 18  # of a larger batch, vectors are stored whenever those of so many are made


class Adder:
    """Splits, tokenizes and embeds documents, and stores them. The next batch is prepared while one is being
    stored.
    """

    def __init__(self, store: Store, live: LiveIndexes) -> None:
        self._store = store
        self._live = live

    def add(
        self,
        documents: Iterable[Document],
        *,
        vectors: Mapping[str, NDArray[np.float32]] | None = None,
        source: str | None = None,
        edits: Edits | None = None,
        exports: MutableMapping[str, ExportedDocument] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Store documents, for a source if one is named; see `Collection.add`. Returns how many.

        `edits` are further changes of the metadata of a source's documents, as by `Collection.update_metadata`.
        `exports` are those documents, by id, whose vectors are known. It may grow as they are read; what has been
        used is removed.
        """
        self._store.require_writable()  # before anything is embedded
        total = len(documents) if isinstance(documents, Sized) else None
        if isinstance(vectors, Mapping) and vectors and not isinstance(documents, Sequence):
            documents = list(documents)  # rows have to be counted
        count = len(documents) if isinstance(documents, Sized) else 0
        layout = self._live.indexes.layout
        given = given_vectors(vectors, self._live.indexes.arms, count=count)
        all_given = {layout.embedders[name] for name in given} == set(layout.embedders.values())
        with self._store.reading() as reader:
            types = reader.field_types()
        valid: Iterable[Document] = checked(documents, types)
        if given or isinstance(documents, (list, tuple)):  # checked first: an invalid document stores nothing
            valid = list(valid)
        if given:
            require_whole(valid, layout.splitter)
        done = 0
        exports = {} if exports is None else exports
        warning = UnreadWarning()
        with _Behind() as behind:
            for batch, report in self._batched(valid, total, progress, all_given=all_given):
                rows = slice(done, done + len(batch))
                some = {arm: unit_vectors(arm, matrix[rows]) for arm, matrix in given.items()}
                with_vectors = {each.id: exports.pop(each.id) for each in batch if each.id in exports}
                prepared = shielded(partial(self._prepared, batch, some, with_vectors), progress=report)
                for arm, used in prepared.used.items():
                    warning.add(arm, prepared.unread.get(used.number, ()))
                behind.call(partial(self._put, prepared, some, with_vectors, source, edits, types))
                done += len(batch)
        warning.log()
        return done

    def _batched(
        self, documents: Iterable[Document], total: int | None, progress: Progress | None, *, all_given: bool
    ) -> Iterator[tuple[list[Document], Progress]]:
        """Batches to be stored one by one, each with its progress callback."""
        done = 0
        size, characters = (_BATCH, _BATCH_CHARACTERS) if all_given else (BATCH_TO_EMBED, _CHARACTERS_TO_EMBED)
        for batch in _batches(documents, size, characters):

            def report(encoded: int, of: int, before: int = done, size: int = len(batch)) -> None:
                if progress is not None:
                    now = before + (size * encoded // of if of else size)
                    progress(now, now if total is None else total)

            yield batch, report
            done += len(batch)

    def _prepared(
        self,
        documents: Sequence[Document],
        given: Mapping[str, NDArray[np.float32]],
        exports: Mapping[str, ExportedDocument],
        *,
        progress: Progress,
    ) -> _Batch:
        """The slow part of adding a batch, which changes nothing."""
        indexes = self._live.indexes
        layout = indexes.layout
        if layout.lacking:  # documents without vectors: no arm of that embedder could ever be opened again
            raise ConfigError(
                f"the collection holds vectors of {layout.lacking[0]}, and was opened without a retriever with "
                "this embedder: nothing can be added; open it with the retrievers that it was built with",
                path="$.retrievers",
            )
        metadata = [dump_metadata(dict(document.metadata)) for document in documents]
        passages = [split(layout.splitter, document) for document in documents]
        units = units_of(documents, passages)
        vectors = {layout.embedders[name]: rows for name, rows in given.items()}
        digests: Sequence[bytes] = ()
        encoded: dict[str, Any] = {}
        used: dict[str, _Used] = {}
        unread: dict[int, Sequence[int]] = {}
        kept: list[tuple[int, range]] = []
        for name, index in indexes.arms.items():
            if isinstance(index, VectorIndex):
                embedder = layout.embedders[name]
                if embedder not in vectors:
                    digests = digests or digests_of(units)
                    with naming_the_arm(name):
                        known = _known(exports, documents, passages, index, digests) if exports else {}
                        keep = partial(self._keep, name, index, embedder, layout, kept)
                        found = embedded(
                            self._store, index, embedder, units, digests, progress, known=known, keep=keep
                        )
                        vectors[embedder], unread[embedder] = found.vectors, found.unread
                    used[name] = _Used(embedder, index.embedder, fingerprint(index.embedder))
                encoded[name] = vectors[embedder]
            else:
                encoded[name] = index.encode(units)
        progress(len(units), len(units))
        ids = [unit.id for unit in units]
        made = dict.fromkeys(vectors, digests)
        made |= {layout.embedders[name]: [b""] * len(units) for name in given}  # only what was embedded is cached
        return _Batch(documents, metadata, passages, made, vectors, used, unread, kept, indexes, (ids, encoded))

    def _keep(
        self,
        arm: str,
        index: VectorIndex,
        embedder: int,
        layout: Layout,
        kept: list[tuple[int, range]],
        digests: Sequence[bytes],
        vectors: NDArray[np.float32],
    ) -> None:
        """Store vectors of a batch that is not complete: if the process is killed, they are not made again."""
        used = _Used(embedder, index.embedder, fingerprint(index.embedder))
        with self._live.changing("storing vectors") as change:
            if change.indexes.layout is layout:
                _check_embedders(change.writer, {arm: used})
                kept.append((embedder, change.writer.keep_vectors(embedder, digests, vectors)))

    def _put(
        self,
        batch: _Batch,
        given: Mapping[str, NDArray[np.float32]],
        exports: Mapping[str, ExportedDocument],
        source: str | None,
        edits: Edits | None,
        types: FieldTypes,
    ) -> None:
        """Store a batch. If the collection was reindexed since it was prepared, prepare it again."""
        while not self._is_put(batch, source, edits, types):
            layout, count = self._live.indexes.layout, len(batch.documents)
            given_vectors(given or None, self._live.indexes.arms, count=count)
            if given:
                require_whole(batch.documents, layout.splitter)
            batch = self._prepared(batch.documents, given, exports, progress=_unseen)

    def _is_put(self, batch: _Batch, source: str | None, given: Edits | None, types: FieldTypes) -> bool:
        with self._live.changing("adding documents") as change:
            if change.indexes.layout is not batch.indexes.layout:
                return False
            number = None
            if source is not None:
                number = change.writer.source(source)
                if (other := change.writer.other_source([d.id for d in batch.documents], number)) is not None:
                    raise InputError(
                        f"the id {other[0]!r} of {source} is held by a document of {other[1]}; ids must differ: "
                        "name a field with distinct ids (--id-field), index a directory that holds both files, or "
                        "say that the one takes the place of the other (--moved-from, or rename_sources in Python)"
                    )
            _check_embedders(change.writer, batch.used)
            documents, metadata = batch.documents, batch.metadata
            edits = {} if source is None else change.writer.edits([document.id for document in documents])
            declared = change.writer.field_types()
            if given is not None:
                for document in documents:
                    if fields := normal_metadata(document.id, given(document.id), declared):
                        edits[document.id] = {**edits.get(document.id, {}), **fields}
            if edits or declared != types:  # edits by users override the source; fields may be declared meanwhile
                documents = [
                    with_metadata(
                        each, normal_metadata(each.id, patched(each.metadata, edits.get(each.id, {})), declared)
                    )
                    for each in documents
                ]
                metadata = [dump_metadata(dict(each.metadata)) for each in documents]
            numbers, removed = change.writer.put(documents, metadata, batch.passages, source=number, edits=edits)
            for embedder, rows in batch.vectors.items():
                unread = batch.unread.get(embedder, ())
                change.writer.put_vectors(embedder, numbers, batch.digests[embedder], rows, unread)
            for embedder, in_advance in batch.kept:
                change.writer.drop_vectors(embedder, in_advance)
            change.removed += removed
            change.added.append(batch.added)
            change.indexes = batch.indexes
        return True


def _check_embedders(writer: Writer, used: Mapping[str, _Used]) -> None:
    """Refuse vectors of an embedder that has changed; `used` are the embedders by the names of the arms."""
    known = writer.fingerprints() if used else {}
    for arm, each in used.items():
        check_fingerprint(each.embedder, known.get(each.number), arm=arm)
        if each.fingerprint is not None and each.number not in known:
            writer.put_fingerprint(each.number, each.fingerprint)


def _known(
    exports: Mapping[str, ExportedDocument],
    documents: Sequence[Document],
    passages: Sequence[Sequence[Passage]],
    index: VectorIndex,
    digests: Sequence[bytes],
) -> dict[bytes, bytes]:
    """Exported vectors of an index's embedder, by the digests of their contents."""
    known: dict[bytes, bytes] = {}
    (identity,) = identities_of([index.embedder])
    at = 0
    for document, some in zip(documents, passages, strict=True):
        spans = [(each.start, each.end) for each in some] or [(0, len(document.text))]
        if (found := exports.get(document.id)) is not None:
            rows = known_rows(found, some, identity, dim=index.dim)
            known.update((digests[at + n], rows[span]) for n, span in enumerate(spans) if span in rows)
        at += len(spans)
    return known


def units_of(documents: Sequence[Document], passages: Sequence[Sequence[Passage]]) -> list[Document]:
    """The units of documents: each one's passages; without any, the document itself."""
    units: list[Document] = []
    for document, some in zip(documents, passages, strict=True):
        units += some or [document]
    return units


def embedded(
    store: Store,
    index: VectorIndex,
    embedder: int,
    units: Sequence[Document],
    digests: Sequence[bytes],
    progress: Progress,
    *,
    known: Mapping[bytes, bytes] | None = None,
    keep: Callable[[Sequence[bytes], NDArray[np.float32]], None] | None = None,
) -> Embedded:
    """Vectors of units: those of contents that were embedded before are reused.

    `known` are further vectors, by the contents' digests. Of contents that are too many for one part, `keep` is
    called with each part's digests and vectors, but for the last.
    """
    import numpy as np

    with store.reading() as reader:
        known = {**(known or {}), **reader.known_vectors(embedder, set(digests), dim=index.dim)}
    missing = {digest: unit for digest, unit in zip(digests, units, strict=True) if digest not in known}
    done, contents = 0, list(missing)
    for part in _batches(missing.values(), len(missing), _CHARACTERS_KEPT):
        some = contents[done : done + len(part)]
        fresh = np.asarray(
            index.encode(part, progress=partial(_part_of, progress, done, len(missing))), np.float32
        )
        known.update(zip(some, (row.tobytes() for row in fresh), strict=True))
        done += len(part)
        if keep is not None and done < len(missing):
            keep(some, fresh)
    matrix = np.frombuffer(b"".join(map(known.__getitem__, digests)), np.float32).reshape(len(units), -1)
    return Embedded(matrix, len(missing), unread_tokens(index.embedder, units))


def _part_of(progress: Progress, before: int, total: int, done: int, _of: int) -> None:
    progress(before + done, total)


def digests_of(units: Sequence[Document]) -> list[bytes]:
    """Digests of the units' contents."""
    return [hashlib.blake2b(unit.content.encode(), digest_size=16).digest() for unit in units]


def _unseen(_done: int, _total: int) -> None: ...


class Embedded(NamedTuple):
    """Vectors of units, shape (n, dim); how many texts were embedded; the tokens not read of each unit."""

    vectors: NDArray[np.float32]
    fresh: int
    unread: Sequence[int]


class _Used(NamedTuple):
    """An embedder that produced vectors: its number, and its fingerprint."""

    number: int
    embedder: Any
    fingerprint: str | None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Documents ready to be stored; the encoded form is valid only for `indexes`."""

    documents: Sequence[Document]
    metadata: Sequence[str]
    passages: Sequence[Sequence[Passage]]
    digests: Mapping[int, Sequence[bytes]]
    vectors: Mapping[int, NDArray[np.float32]]
    used: Mapping[str, _Used]
    unread: Mapping[int, Sequence[int]]
    kept: Sequence[tuple[int, range]]
    """Vectors that were stored in advance, by embedder."""
    indexes: Indexes
    added: Added


class _Behind:
    """Runs one call at a time in another thread, while its caller prepares the next."""

    def __init__(self) -> None:
        self._last: Shielded[None] | None = None

    def __enter__(self) -> Self:
        return self

    def call(self, run: Callable[[], None]) -> None:
        """Run this after the previous call, whose failure is raised."""
        self._finish()
        self._last = Shielded(run)

    def _finish(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.wait()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._finish()
        elif issubclass(kind, Exception):
            with suppress(Exception):  # the first failure is reported
                self._finish()
        elif self._last is not None:
            self._last.cancel()


def _batches(documents: Iterable[Document], size: int, most: int) -> Iterator[list[Document]]:
    """Documents in batches of at most `size`, which end when they have more than `most` characters."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) == size or characters > most:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
