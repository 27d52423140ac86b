"""A write transaction of a collection."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from hybridrank.collection.sqlite.filter_sql import dump_metadata, field_rows
from hybridrank.collection.sqlite.reader import FIRST, MANY, Reader
from hybridrank.collection.sqlite.rows import MAX_NUMBER, State, Version, damaged, stored_fields
from hybridrank.collection.sqlite.schema import create_vectors
from hybridrank.collection.units import check_distinct, passage_of, unit_ids
from hybridrank.errors import InputError
from hybridrank.filters.fields import FieldTypes
from hybridrank.types import Document, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Writer"]

_ROWS = 128  # rows inserted by one statement


class Writer(Reader):
    """A write transaction: all of it is stored, or nothing."""

    def state(self) -> State:
        """The state that this transaction has reached so far."""
        return self._read_state()

    def _next(self, count: int) -> int:
        """Reserve the next `count` numbers; returns the first of them."""
        first = self.state().version.sequence + 1
        self._rows("UPDATE state SET sequence = sequence + ?", [count])
        return first

    def seal(self, before: Version) -> Version:
        """Give the version that this transaction leads to its token, if that is another than `before`."""
        sequence = self.state().version.sequence
        if sequence == before.sequence:
            return before
        now = Version(sequence, os.urandom(8))
        self._rows("UPDATE state SET token = ?", [now.token])
        self._rows("INSERT INTO history VALUES (?, ?)", now)
        return now

    def create(self, settings: Mapping[str, Any], embedders: Mapping[str, str | None]) -> None:
        """Store the settings of the collection's creation, and create a table for each embedder's vectors.

        `embedders` are their names, with their fingerprints if known.
        """
        self._connection.executemany(
            "INSERT INTO settings VALUES (?, ?)",
            [(name, json.dumps(value, ensure_ascii=False)) for name, value in settings.items()],
        )
        for identity, fingerprint in embedders.items():
            self.create_embedder(identity, fingerprint, current=True)

    def create_embedder(self, identity: str, fingerprint: str | None, *, current: bool) -> int:
        """Create the table of an embedder's vectors; returns its number. It may be of the `current` layout."""
        (number,) = self._rows("SELECT coalesce(max(number) + 1, 0) FROM embedders").fetchone()
        self._rows("INSERT INTO embedders VALUES (?, ?, ?)", [number, identity, current])
        create_vectors(self._connection, number)
        if fingerprint is not None:
            self.put_fingerprint(number, fingerprint)
        return int(number)

    def put_field_types(self, types: FieldTypes) -> None:
        """Store the declared types of metadata fields; the caller converts the documents."""
        self._next(1)
        self._rows(
            "INSERT OR REPLACE INTO settings VALUES ('fields', ?)",
            [json.dumps(types.to_dict(), ensure_ascii=False)],
        )

    def put_config(self, config: Mapping[str, Any]) -> None:
        """Store the pipeline's configuration; documents and indexes stay as they are."""
        self._rows(
            "INSERT OR REPLACE INTO settings VALUES ('config', ?)", [json.dumps(config, ensure_ascii=False)]
        )

    def put_fingerprint(self, embedder: int, fingerprint: str) -> None:
        """Store an embedder's fingerprint."""
        known = {**self.fingerprints(), embedder: fingerprint}
        self._rows(
            "INSERT OR REPLACE INTO settings VALUES ('fingerprints', ?)",
            [json.dumps({str(number): told for number, told in known.items()})],
        )

    def forget_fingerprint(self, embedder: int) -> None:
        """Delete an embedder's fingerprint."""
        known = {str(number): told for number, told in self.fingerprints().items() if number != embedder}
        self._rows("UPDATE settings SET value = ? WHERE name = 'fingerprints'", [json.dumps(known)])

    def put(
        self,
        documents: Sequence[Document],
        metadata: Sequence[str],
        passages: Sequence[Sequence[Passage]],
        *,
        source: int | None = None,
        edits: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> tuple[list[int], list[str]]:
        """Store documents, replacing documents with the same ids: their units' numbers, and ids of removed units.

        `metadata` is each one's JSON, `passages` are each one's (none: it is a unit itself), and `edits` are what
        has been edited in the metadata of some, by id.
        """
        edited = {doc_id: dump_metadata(dict(fields)) for doc_id, fields in (edits or {}).items()}
        removed = self.remove([number for number, _, _ in self._by_id([d.id for d in documents])])
        sizes = [max(1, len(some)) for some in passages]
        first = self._next(sum(sizes))
        numbers = []
        for size in sizes:
            numbers.append(first)
            first += size
        self._insert(
            "documents (number, id, passages, metadata, source, edits)",
            (
                (number, document.id, len(some), text, source, edited.get(document.id))
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
            rows = [
                (*row, document.id, len(some))
                for number, document, some in zip(numbers, documents, passages, strict=True)
                for row in field_rows(number, document.metadata, self._indexed)
            ]
            self._insert("fields", sorted(rows))  # in the table's order: neighbors are on one page
        self._rows("UPDATE state SET documents = documents + ?, units = units + ?", [len(documents), sum(sizes)])
        if self._splits:
            check_distinct(
                self._taken({each.id: len(some) for each, some in zip(documents, passages, strict=True)})
            )
        units = [n + place for n, size in zip(numbers, sizes, strict=True) for place in range(size)]
        return units, removed

    def _taken(self, added: Mapping[str, int]) -> Iterator[tuple[str, str]]:
        """Units of added documents, by their numbers of passages, that have the ids of others'.

        Yields the document that is split, and the id.
        """
        yield from self.taken_by_passages(doc_id for doc_id, n in added.items() if not n)
        for parent, n in added.items():
            for _, doc_id, own in self._by_id(unit_ids(parent, n) if n else ()):
                if not own:
                    yield parent, doc_id

    def taken_by_passages(self, whole: Iterable[str] | None = None) -> Iterator[tuple[str, str]]:
        """Those of some whole documents (None: of all) whose ids are those of passages.

        Yields the document that is split, and the id.
        """
        ids = self.lookalikes() if whole is None else whole
        places = {doc_id: place for doc_id in ids if (place := passage_of(doc_id)) is not None}
        passages = {doc_id: n for _, doc_id, n in self._by_id({parent for parent, _ in places.values()})}
        for doc_id, (parent, at) in places.items():
            if at < passages.get(parent, 0):
                yield parent, doc_id

    def _insert(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        """Insert rows, many with one statement: it runs without Python's lock, concurrently with other threads."""
        waiting = iter(rows)
        while some := list(islice(waiting, _ROWS)):
            marks = ", ".join(["(" + ", ".join("?" * len(some[0])) + ")"] * len(some))
            self._rows(f"INSERT INTO {table} VALUES {marks}", list(chain.from_iterable(some)))

    def put_vectors(
        self,
        embedder: int,
        numbers: Sequence[int],
        digests: Sequence[bytes],
        vectors: NDArray[np.float32],
        unread: Sequence[int] = (),
    ) -> None:
        """Store units' vectors, float32 (len(numbers), dim), with the digests of the embedded contents.

        An empty digest means unknown: such a vector is not reused. `unread` are the numbers of tokens that the
        embedder did not read, empty if they are not known.

        Raises:
            InputError: the vectors stored before have another dimension.
        """
        held = self._rows(f"SELECT length(vector) FROM vectors_{embedder:d} LIMIT 1").fetchone()
        if held is not None and held[0] != vectors.shape[1] * 4:
            raise InputError(f"the collection holds vectors of {held[0] // 4} dimensions, not {vectors.shape[1]}")
        rows = (row.data for row in vectors)
        self._insert(f"vectors_{embedder:d}", zip(numbers, digests, rows, strict=True))
        cut = [(unit, embedder, tokens) for unit, tokens in zip(numbers, unread, strict=False) if tokens]
        self._insert("unread", cut)

    def keep_vectors(self, embedder: int, digests: Sequence[bytes], vectors: NDArray[np.float32]) -> range:
        """Store vectors of contents that belong to no unit yet, with the digests of the contents; returns their
        numbers.
        """
        first = self._next(len(digests))
        numbers = range(first, first + len(digests))
        self.put_vectors(embedder, numbers, digests, vectors)
        return numbers

    def drop_vectors(self, embedder: int, numbers: range) -> None:
        """Delete vectors that `keep_vectors` stored."""
        self._rows(
            f"DELETE FROM vectors_{embedder:d} WHERE unit BETWEEN ? AND ?", [numbers.start, numbers.stop - 1]
        )

    def remove(self, numbers: Collection[int]) -> list[str]:
        """Remove documents by number, leaving tombstones and vectors; returns the ids of their units."""
        if not numbers:
            return []
        chosen = [json.dumps(list(numbers))]
        among = "IN (SELECT value FROM json_each(?))"
        rows = self._rows(f"SELECT number, id, passages FROM documents WHERE number {among}", chosen)
        gone = list(self._sound(rows))
        units = [unit for _, doc_id, passages in gone for unit in unit_ids(doc_id, passages)]
        first = self._next(len(gone))
        others = self._remove_others(chosen, among)
        self._insert(
            "tombstones",
            (
                (first + at, doc_id, passages, others.get(number))
                for at, (number, doc_id, passages) in enumerate(gone)
            ),
        )
        self._rows(
            "DELETE FROM passages WHERE number IN (SELECT p.number FROM documents AS d JOIN passages AS p "
            "ON p.number BETWEEN coalesce(d.first, d.number) AND coalesce(d.first, d.number) + d.passages - 1 "
            f"WHERE d.number {among} AND d.passages > 0)",
            chosen,
        )
        if self._indexed:
            self._rows(f"DELETE FROM fields WHERE document {among}", chosen)
        self._rows(f"DELETE FROM texts WHERE document {among}", chosen)
        self._rows(f"DELETE FROM documents WHERE number {among}", chosen)
        self._rows("UPDATE state SET documents = documents - ?, units = units - ?", [len(gone), len(units)])
        return units

    def _remove_others(self, chosen: Sequence[Any], among: str) -> dict[int, int]:
        """Remove the documents' units of the other layout; returns the numbers of their passages, by document."""
        found = self._rows(f"SELECT document, first, passages FROM other_units WHERE document {among}", chosen)
        rows = found.fetchall()
        if not all(type(each) is int and 0 <= each < MAX_NUMBER for row in rows for each in row):
            raise damaged("a row of its table other_units is not one that hybridrank writes")
        if rows:
            self._connection.executemany(
                "DELETE FROM passages WHERE number BETWEEN ? AND ?",
                ((first, first + passages - 1) for _, first, passages in rows if passages),
            )
            self._rows(f"DELETE FROM other_units WHERE document {among}", chosen)
            units = sum(max(1, passages) for _, _, passages in rows)
            self._rows("UPDATE layouts SET documents = documents - ?, units = units - ?", [len(rows), units])
        return {document: passages for document, _, passages in rows}

    def edits(self, ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """The edits of these documents' metadata, by id: only documents with edits."""
        found: dict[str, dict[str, Any]] = {}
        wanted = list(ids)
        for start in range(0, len(wanted), MANY):
            some = wanted[start : start + MANY]
            marks = ", ".join("?" * len(some))
            rows = self._rows(f"SELECT id, edits FROM documents WHERE edits IS NOT NULL AND id IN ({marks})", some)
            for doc_id, text in rows:
                found[doc_id] = stored_fields(text, f"what was edited in the metadata of document {doc_id!r}")
        return found

    def put_metadata(self, number: int, metadata: Mapping[str, Any], edits: Mapping[str, Any]) -> None:
        """Give a document other metadata; `edits` are all that has been edited in them."""
        self._next(1)
        self._rows(
            "UPDATE documents SET metadata = ?, edits = ? WHERE number = ?",
            [dump_metadata(dict(metadata)), dump_metadata(dict(edits)) if edits else None, number],
        )
        if self._indexed:
            self._rows("DELETE FROM fields WHERE document = ?", [number])
            of = self._rows("SELECT id, passages FROM documents WHERE number = ?", [number]).fetchone()
            self._insert("fields", ((*row, *of) for row in field_rows(number, metadata, self._indexed)))

    def source(self, name: str) -> int:
        """The number of a source, whose digest is unknown until `finish_source`."""
        self._rows("INSERT INTO sources (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET digest = NULL", [name])
        (number,) = self._rows("SELECT number FROM sources WHERE name = ?", [name]).fetchone()
        return int(number)

    def finish_source(self, source: int, digest: str) -> None:
        """Record that all documents of a source are stored."""
        self._next(1)
        self._rows("UPDATE sources SET digest = ? WHERE number = ?", [digest, source])

    def drop_source(self, name: str) -> None:
        """Delete a source."""
        self._next(1)
        self._rows("DELETE FROM sources WHERE name = ?", [name])

    def rename_source(self, name: str, new: str) -> None:
        """Rename a source; no other may have the new name."""
        self._next(1)
        self._rows("UPDATE sources SET name = ? WHERE name = ?", [new, name])

    def of_source(self, name: str, *, before: int | None = None) -> list[int]:
        """Numbers of a source's documents, only those lower than `before`, if given."""
        rows = self._rows(
            "SELECT d.number FROM documents AS d JOIN sources AS s ON s.number = d.source "
            "WHERE s.name = ? AND d.number < ? ORDER BY d.number",
            [name, 2**62 if before is None else before],
        )
        return [number for (number,) in rows]

    def ids_of_source(self, name: str) -> dict[str, int]:
        """The numbers of a source's documents, by id."""
        rows = self._rows(
            "SELECT d.id, d.number FROM documents AS d JOIN sources AS s ON s.number = d.source WHERE s.name = ?",
            [name],
        )
        return dict(rows.fetchall())

    def other_source(self, ids: Collection[str], source: int) -> tuple[str, str] | None:
        """One of the ids that is held for another source, and that source's name."""
        wanted = list(ids)
        for start in range(0, len(wanted), MANY):
            some = wanted[start : start + MANY]
            row: tuple[str, str] | None = self._rows(
                "SELECT d.id, s.name FROM documents AS d JOIN sources AS s ON s.number = d.source "
                f"WHERE d.source != ? AND d.id IN ({', '.join('?' * len(some))}) LIMIT 1",
                [source, *some],
            ).fetchone()
            if row is not None:
                return row
        return None

    def put_generation(self, name: str, sequence: int, digest: str) -> None:
        """Record the saved generation of indexes to open from now on."""
        self._rows("DELETE FROM history WHERE sequence < (SELECT min(sequence) FROM generations)")
        self._rows("DELETE FROM generations")
        self._rows("INSERT INTO generations VALUES (?, ?, ?)", [name, sequence, digest])

    def purge(self, upto: int) -> None:
        """Delete the tombstones up to a sequence number, and the vectors of deleted units."""
        self._rows("DELETE FROM tombstones WHERE number <= ?", [upto])
        self._rows("UPDATE state SET floor = max(floor, ?)", [upto])
        self._rows("DELETE FROM history WHERE sequence < (SELECT floor FROM state)")
        units = (
            f"SELECT number FROM passages UNION ALL SELECT {FIRST} FROM documents WHERE passages = 0 "
            "UNION ALL SELECT first FROM other_units WHERE passages = 0"
        )
        for (number,) in self._rows("SELECT number FROM embedders").fetchall():
            self._rows(f"DELETE FROM vectors_{number:d} WHERE unit NOT IN ({units})")
        self._rows(f"DELETE FROM unread WHERE unit NOT IN ({units})")
