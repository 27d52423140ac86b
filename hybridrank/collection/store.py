"""Documents, passages, vectors and tombstones in SQLite: what a transaction reads, and what one writes."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridrank.collection.schema import connect, told
from hybridrank.collection.sql_filter import compile_filter, field_rows, load_metadata
from hybridrank.errors import InputError, StorageError
from hybridrank.filters import Filter
from hybridrank.types import Document, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Reader", "Store", "Writer", "unit_ids"]

_MANY = 500  # ids looked up by one statement
_ROWS = 128  # rows inserted by one statement


def unit_ids(doc_id: str, passages: int) -> list[str]:
    """What the indexes know a document by: its id, or those of its passages."""
    return [f"{doc_id}#{place}" for place in range(passages)] if passages else [doc_id]


class Reader:
    """One transaction that reads: all of it sees the same state."""

    def __init__(self, connection: sqlite3.Connection, *, indexed: Mapping[str, int], splits: bool) -> None:
        self._connection = connection
        self._indexed = indexed
        self._splits = splits

    def _rows(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, parameters)

    def require_text(self, *values: str) -> None:
        """Have values refused that cannot be stored."""
        self._rows(f"SELECT {', '.join('?' * len(values))}", values)

    def sequence(self) -> int:
        """The number of the last change."""
        (sequence,) = self._rows("SELECT sequence FROM state").fetchone()
        return int(sequence)

    def floor(self) -> int:
        """The number up to which tombstones are gone: who knows less must begin anew."""
        (floor,) = self._rows("SELECT floor FROM state").fetchone()
        return int(floor)

    def counts(self) -> tuple[int, int]:
        """How many documents and how many units there are."""
        documents, units = self._rows("SELECT documents, units FROM state").fetchone()
        return int(documents), int(units)

    def settings(self) -> dict[str, Any]:
        """What the collection was created with."""
        return {name: json.loads(value) for name, value in self._rows("SELECT name, value FROM settings")}

    def embedders(self) -> dict[str, int]:
        """Numbers of the embedders whose vectors are stored, by identity."""
        return dict(self._rows("SELECT identity, number FROM embedders"))

    def generation(self) -> tuple[str, int, str] | None:
        """Name, sequence number and digest of the last saved generation of indexes."""
        found = self._rows("SELECT name, sequence, digest FROM generations ORDER BY sequence DESC LIMIT 1")
        row: tuple[str, int, str] | None = found.fetchone()
        return row

    def sources(self) -> dict[str, str]:
        """Digest of each source that was put completely, by name."""
        return dict(self._rows("SELECT name, digest FROM sources WHERE digest IS NOT NULL ORDER BY name"))

    def ids(self) -> Iterator[str]:
        """Ids of all documents, the longest unchanged first."""
        for (doc_id,) in self._rows("SELECT id FROM documents ORDER BY number"):
            yield doc_id

    def count(self, filters: Filter) -> int:
        """How many documents match."""
        where, values = compile_filter(filters, indexed=self._indexed)
        (count,) = self._rows(f"SELECT count(*) FROM documents AS d WHERE {where}", values).fetchone()
        return int(count)

    def numbers(self, *, ids: Collection[str] = (), filters: Filter | None = None) -> list[int]:
        """Numbers of the documents with these ids, and of those that match."""
        found = {number for number, _, _ in self._by_id(ids)}
        if filters is not None:
            where, values = compile_filter(filters, indexed=self._indexed)
            found.update(n for (n,) in self._rows(f"SELECT d.number FROM documents AS d WHERE {where}", values))
        return sorted(found)

    def _by_id(self, ids: Collection[str]) -> Iterator[tuple[int, str, int]]:
        wanted = list(ids)
        for start in range(0, len(wanted), _MANY):
            some = wanted[start : start + _MANY]
            marks = ", ".join("?" * len(some))
            yield from self._rows(f"SELECT number, id, passages FROM documents WHERE id IN ({marks})", some)

    def choose(self, ids: frozenset[str] | None, filters: Filter | None) -> frozenset[str]:
        """Unit ids of the documents that have one of the ids, where they are given, and match the filter."""
        if filters is None:
            found: Iterable[tuple[str, int]] = ((doc_id, n) for _, doc_id, n in self._by_id(ids or ()))
        else:
            where, values = compile_filter(filters, indexed=self._indexed)
            found = self._rows(f"SELECT d.id, d.passages FROM documents AS d WHERE {where}", values)
            if ids is not None:
                found = ((doc_id, passages) for doc_id, passages in found if doc_id in ids)
        if self._splits:
            return frozenset(unit for doc_id, passages in found for unit in unit_ids(doc_id, passages))
        return frozenset([doc_id for doc_id, _ in found])

    def documents(self, ids: Collection[str]) -> dict[str, Document]:
        """Whole documents, by id."""
        wanted, found = list(ids), {}
        for start in range(0, len(wanted), _MANY):
            some = wanted[start : start + _MANY]
            rows = self._rows(
                "SELECT d.id, t.text, t.title, d.metadata FROM documents AS d "
                f"JOIN texts AS t ON t.document = d.number WHERE d.id IN ({', '.join('?' * len(some))})",
                some,
            )
            for doc_id, text, title, metadata in rows:
                found[doc_id] = Document(doc_id, text, title, load_metadata(metadata))
        return found

    def each_document(self, filters: Filter | None) -> Iterator[Document]:
        """Whole documents that match, in the order of `ids`."""
        where, values = ("1", []) if filters is None else compile_filter(filters, indexed=self._indexed)
        rows = self._rows(
            "SELECT d.id, t.text, t.title, d.metadata FROM documents AS d "
            f"JOIN texts AS t ON t.document = d.number WHERE {where} ORDER BY d.number",
            values,
        )
        for doc_id, text, title, metadata in rows:
            yield Document(doc_id, text, title, load_metadata(metadata))

    def units(self, ids: Collection[str]) -> dict[str, Document]:
        """Documents, or passages where the collection splits, by unit id."""
        if not self._splits:
            return self.documents(ids)
        places: dict[str, list[int]] = {}
        for unit in ids:
            doc_id, _, place = unit.rpartition("#")
            places.setdefault(doc_id, []).append(int(place))
        parents = self.documents(places)
        found: dict[str, Document] = {}
        for number, doc_id, passages in list(self._by_id(parents)):
            wanted = [number + place for place in places[doc_id] if place < passages]
            for start in range(0, len(wanted), _MANY):
                some = wanted[start : start + _MANY]
                rows = self._rows(
                    "SELECT number, start, stop, headings FROM passages "
                    f"WHERE number IN ({', '.join('?' * len(some))})",
                    some,
                )
                for unit_number, *span in rows:
                    passage = _passage(parents[doc_id], unit_number - number, *span)
                    found[passage.id] = passage
        return found

    def units_after(self, number: int, *, size: int) -> Iterator[tuple[list[int], list[Document]]]:
        """Numbers and contents of the units that came after a number, in batches, in their order."""
        rows = (self._passages_after if self._splits else self._documents_after)(number)
        numbers: list[int] = []
        units: list[Document] = []
        for unit_number, unit in rows:
            numbers.append(unit_number)
            units.append(unit)
            if len(units) == size:
                yield numbers, units
                numbers, units = [], []
        if units:
            yield numbers, units

    def _documents_after(self, number: int) -> Iterator[tuple[int, Document]]:
        rows = self._rows(
            "SELECT d.number, d.id, t.text, t.title FROM documents AS d "
            "JOIN texts AS t ON t.document = d.number WHERE d.number > ? ORDER BY d.number",
            [number],
        )
        for unit_number, doc_id, text, title in rows:
            yield unit_number, Document(doc_id, text, title)

    def _passages_after(self, number: int) -> Iterator[tuple[int, Passage]]:
        rows = self._rows(
            "SELECT p.number, p.start, p.stop, p.headings, p.document, d.id FROM passages AS p "
            "JOIN documents AS d ON d.number = p.document WHERE p.number > ? ORDER BY p.number",
            [number],
        )
        at, parent = -1, None
        for unit_number, start, stop, headings, document, doc_id in rows:
            if document != at or parent is None:
                at = document
                text, title = self._rows("SELECT text, title FROM texts WHERE document = ?", [at]).fetchone()
                parent = Document(doc_id, text, title)
            yield unit_number, _passage(parent, unit_number - at, start, stop, headings)

    def removed_after(self, number: int) -> list[str]:
        """Ids of the units that were removed after a number; some of them may have come again."""
        rows = self._rows("SELECT id, passages FROM tombstones WHERE number > ? ORDER BY number", [number])
        return [unit for doc_id, passages in rows for unit in unit_ids(doc_id, passages)]

    def vectors(self, embedder: int, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Vectors of units, whose numbers ascend: shape (len(numbers), dim).

        Raises:
            StorageError: one is missing.
        """
        import numpy as np

        rows = self._rows(
            f"SELECT unit, vector FROM vectors_{embedder:d} WHERE unit BETWEEN ? AND ? ORDER BY unit",
            [numbers[0], numbers[-1]],
        )
        wanted = set(numbers)
        found = [vector for unit, vector in rows if unit in wanted]
        if len(found) != len(numbers):
            raise StorageError(f"{len(numbers) - len(found)} vectors are missing from the collection's database")
        return np.frombuffer(b"".join(found), np.float32).reshape(len(numbers), -1)

    def known_vectors(self, embedder: int, digests: Collection[bytes]) -> dict[bytes, bytes]:
        """Vectors that were made of the same contents before, by the contents' digests."""
        wanted = list(digests)
        known: dict[bytes, bytes] = {}
        for start in range(0, len(wanted), _MANY):
            some = wanted[start : start + _MANY]
            marks = ", ".join("?" * len(some))
            known.update(
                self._rows(f"SELECT digest, vector FROM vectors_{embedder:d} WHERE digest IN ({marks})", some)
            )
        return known


def _passage(parent: Document, place: int, start: int, stop: int, headings: str) -> Passage:
    return Passage(
        id=f"{parent.id}#{place}",
        text=parent.text[start:stop],
        title=parent.title,
        metadata=parent.metadata,
        parent=parent.id,
        start=start,
        end=stop,
        headings=tuple(json.loads(headings)),
    )


class Writer(Reader):
    """One transaction that writes: all of it is stored, or nothing."""

    def _next(self, count: int) -> int:
        """Take the next `count` numbers; returns the first of them."""
        first = self.sequence() + 1
        self._rows("UPDATE state SET sequence = sequence + ?", [count])
        return first

    def create(self, settings: Mapping[str, Any], embedders: Iterable[str]) -> None:
        """Remember what the collection is created with, and make a table for each embedder's vectors."""
        self._connection.executemany(
            "INSERT INTO settings VALUES (?, ?)",
            [(name, json.dumps(value, ensure_ascii=False)) for name, value in settings.items()],
        )
        for number, identity in enumerate(embedders):
            self._rows("INSERT INTO embedders VALUES (?, ?)", [number, identity])
            self._rows(
                f"CREATE TABLE vectors_{number:d} "
                "(unit INTEGER PRIMARY KEY, digest BLOB NOT NULL, vector BLOB NOT NULL)"
            )
            self._rows(f"CREATE INDEX vectors_{number:d}_digest ON vectors_{number:d} (digest)")

    def put(
        self,
        documents: Sequence[Document],
        metadata: Sequence[str],
        passages: Sequence[Sequence[Passage]],
        *,
        source: int | None = None,
    ) -> tuple[list[int], list[str]]:
        """Store documents, each in place of the one with its id: their units' numbers, and ids of units removed.

        `metadata` is each one's JSON, `passages` are each one's (none: it is a unit itself).
        """
        removed = self.remove([number for number, _, _ in self._by_id([d.id for d in documents])])
        sizes = [max(1, len(some)) for some in passages]
        first = self._next(sum(sizes))
        numbers = []
        for size in sizes:
            numbers.append(first)
            first += size
        self._insert(
            "documents (number, id, passages, metadata, source)",
            (
                (number, document.id, len(some), text, source)
                for number, document, some, text in zip(numbers, documents, passages, metadata, strict=True)
            ),
        )
        self._insert(
            "texts", ((number, each.title, each.text) for number, each in zip(numbers, documents, strict=True))
        )
        self._insert(
            "passages",
            (
                (number + place, number, each.start, each.end, json.dumps(each.headings, ensure_ascii=False))
                for number, some in zip(numbers, passages, strict=True)
                for place, each in enumerate(some)
            ),
        )
        if self._indexed:
            self._insert(
                "fields",
                (
                    row
                    for number, document in zip(numbers, documents, strict=True)
                    for row in field_rows(number, document.metadata, self._indexed)
                ),
            )
        self._rows("UPDATE state SET documents = documents + ?, units = units + ?", [len(documents), sum(sizes)])
        units = [n + place for n, size in zip(numbers, sizes, strict=True) for place in range(size)]
        return units, removed

    def _insert(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        """Insert rows, many with one statement: it runs without Python's lock, beside what other threads do."""
        waiting = iter(rows)
        while some := list(islice(waiting, _ROWS)):
            marks = ", ".join(["(" + ", ".join("?" * len(some[0])) + ")"] * len(some))
            self._rows(f"INSERT INTO {table} VALUES {marks}", list(chain.from_iterable(some)))

    def put_vectors(
        self, embedder: int, numbers: Sequence[int], digests: Sequence[bytes], vectors: NDArray[np.float32]
    ) -> None:
        """Store units' vectors, float32 (len(numbers), dim), with the digests of what they were made of.

        Raises:
            InputError: the vectors stored before have another dimension.
        """
        held = self._rows(f"SELECT length(vector) FROM vectors_{embedder:d} LIMIT 1").fetchone()
        if held is not None and held[0] != vectors.shape[1] * 4:
            raise InputError(f"the collection holds vectors of {held[0] // 4} dimensions, not {vectors.shape[1]}")
        rows = (row.data for row in vectors)
        self._insert(f"vectors_{embedder:d}", zip(numbers, digests, rows, strict=True))

    def remove(self, numbers: Collection[int]) -> list[str]:
        """Remove documents by number, leaving tombstones and vectors; returns the ids of their units."""
        if not numbers:
            return []
        chosen = [json.dumps(list(numbers))]
        among = "IN (SELECT value FROM json_each(?))"
        gone = self._rows(f"SELECT number, id, passages FROM documents WHERE number {among}", chosen).fetchall()
        units = [unit for _, doc_id, passages in gone for unit in unit_ids(doc_id, passages)]
        first = self._next(len(gone))
        self._insert(
            "tombstones", ((first + at, doc_id, passages) for at, (_, doc_id, passages) in enumerate(gone))
        )
        self._connection.executemany(
            "DELETE FROM passages WHERE number BETWEEN ? AND ?",
            ((number, number + passages - 1) for number, _, passages in gone if passages),
        )
        if self._indexed:
            self._rows(f"DELETE FROM fields WHERE document {among}", chosen)
        self._rows(f"DELETE FROM texts WHERE document {among}", chosen)
        self._rows(f"DELETE FROM documents WHERE number {among}", chosen)
        self._rows("UPDATE state SET documents = documents - ?, units = units - ?", [len(gone), len(units)])
        return units

    def put_metadata(self, number: int, metadata: Mapping[str, Any], text: str) -> None:
        """Give a document other metadata; `text` is its JSON."""
        self._next(1)
        self._rows("UPDATE documents SET metadata = ? WHERE number = ?", [text, number])
        if self._indexed:
            self._rows("DELETE FROM fields WHERE document = ?", [number])
            self._insert("fields", field_rows(number, metadata, self._indexed))

    def source(self, name: str) -> int:
        """The number of a source, whose digest is unknown until `finish_source`."""
        self._rows("INSERT INTO sources (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET digest = NULL", [name])
        (number,) = self._rows("SELECT number FROM sources WHERE name = ?", [name]).fetchone()
        return int(number)

    def finish_source(self, source: int, digest: str) -> None:
        """Say that all documents of a source are stored."""
        self._rows("UPDATE sources SET digest = ? WHERE number = ?", [digest, source])

    def drop_source(self, name: str) -> None:
        """Forget a source."""
        self._rows("DELETE FROM sources WHERE name = ?", [name])

    def of_source(self, name: str, *, before: int | None = None) -> list[int]:
        """Numbers of a source's documents, of those that are lower than `before` where that is given."""
        rows = self._rows(
            "SELECT d.number FROM documents AS d JOIN sources AS s ON s.number = d.source "
            "WHERE s.name = ? AND d.number < ? ORDER BY d.number",
            [name, 2**62 if before is None else before],
        )
        return [number for (number,) in rows]

    def other_source(self, ids: Collection[str], source: int) -> tuple[str, str] | None:
        """One of the ids that is held for another source, and that source's name."""
        wanted = list(ids)
        for start in range(0, len(wanted), _MANY):
            some = wanted[start : start + _MANY]
            row: tuple[str, str] | None = self._rows(
                "SELECT d.id, s.name FROM documents AS d JOIN sources AS s ON s.number = d.source "
                f"WHERE d.source != ? AND d.id IN ({', '.join('?' * len(some))}) LIMIT 1",
                [source, *some],
            ).fetchone()
            if row is not None:
                return row
        return None

    def put_generation(self, name: str, sequence: int, digest: str) -> None:
        """Say which saved generation of indexes is to be opened from now on."""
        self._rows("DELETE FROM generations")
        self._rows("INSERT INTO generations VALUES (?, ?, ?)", [name, sequence, digest])

    def purge(self) -> None:
        """Remove the tombstones, and the vectors of units that are no more."""
        self._rows("DELETE FROM tombstones")
        self._rows("UPDATE state SET floor = sequence")
        units = "SELECT number FROM passages" if self._splits else "SELECT number FROM documents"
        for number in self.embedders().values():
            self._rows(f"DELETE FROM vectors_{number:d} WHERE unit NOT IN ({units})")


class Store:
    """The database of a collection: hands out transactions, each on a connection of its own.

    After a fork the child opens connections of its own; the parent's are left alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.indexed: Mapping[str, int] = {}
        self.splits = False
        self._guard = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._owner = os.getpid()
        self._left: list[list[sqlite3.Connection]] = []  # inherited by a fork: closing them could free its locks
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for the caller alone."""
        if self._owner != os.getpid():
            self._guard, self._owner = threading.Lock(), os.getpid()
            self._left.append(self._idle)
            self._idle = []
        with told(self.path):
            with self._guard:
                if self._closed:
                    raise StorageError(f"the collection at {self.path.parent} has been closed")
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = connect(self.path)
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                with self._guard:
                    if not self._closed:
                        self._idle.append(connection)
                        connection = None
                if connection is not None:
                    connection.close()

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """A transaction that reads."""
        with self.connection() as connection:
            connection.execute("BEGIN")
            yield Reader(connection, indexed=self.indexed, splits=self.splits)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """A transaction that writes, committed at the end unless something is raised."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield Writer(connection, indexed=self.indexed, splits=self.splits)
            connection.execute("COMMIT")

    def shrink(self) -> None:
        """Give room that is no longer needed back to the disk."""
        with self.connection() as connection:
            connection.execute("PRAGMA incremental_vacuum").fetchall()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close every connection that is not at work, and the others when they are done."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
