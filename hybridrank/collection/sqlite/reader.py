"""A read transaction of a collection: documents, passages, vectors, tombstones."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from typing import TYPE_CHECKING, Any, NamedTuple

from hybridrank.collection.sqlite.filter_sql import compile_choice, compile_filter
from hybridrank.collection.sqlite.rows import (
    MAX_NUMBER,
    State,
    Version,
    ascending,
    checked_id,
    damaged,
    json_value,
    to_document,
    to_passage,
)
from hybridrank.collection.units import passage_of, unit_ids
from hybridrank.component.stored_names import current_names
from hybridrank.errors import InputError
from hybridrank.filters.fields import FieldTypes
from hybridrank.filters.language import Filter
from hybridrank.types import Document, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FIRST", "MANY", "UNKNOWN", "Form", "Reader"]

MANY = 500
"""Ids looked up by one statement."""

FIRST = "coalesce(first, number)"
"""Of a row of `documents`: the number of its first unit."""

FIRST_OF = "coalesce(d.first, d.number)"
"""The same of a row of ``documents AS d``."""

_NEAR = 0.01  # of unit length, squared: what float32 loses is far less


class Form(NamedTuple):
    """What a layout determines of the tables: the numbers of the indexed fields, and whether it splits."""

    layout: int | None
    indexed: Mapping[str, int]
    splits: bool


UNKNOWN = Form(None, {}, True)
"""Before the settings are read."""


class Reader:
    """A read transaction: everything in it sees the same state."""

    def __init__(self, connection: sqlite3.Connection, form: Form = UNKNOWN) -> None:
        self._connection = connection
        self._state: State | None = None
        self.form = form

    @property
    def form(self) -> Form:
        """How the current layout stores documents."""
        return self._form

    @form.setter
    def form(self, form: Form) -> None:
        self._form, self._indexed, self._splits = form, form.indexed, form.splits

    def sees(self, layout: int) -> bool:
        """Whether the other layout is the one of this number."""
        return self._rows("SELECT 1 FROM layouts WHERE number = ?", [layout]).fetchone() is not None

    def read_form(self) -> Form:
        """The form of the layout that this transaction sees."""
        config = self.settings()["config"]
        indexed = {name: number for number, name in enumerate(config.get("indexed_fields", ()))}
        return Form(self.state().layout, indexed, config.get("splitter") is not None)

    def _rows(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, parameters)

    def state(self) -> State:
        """The state that this transaction sees."""
        if self._state is None:
            self._state = self._read_state()
        return self._state

    def _read_state(self) -> State:
        rows = self._rows(
            "SELECT sequence, token, floor, documents, units, identity, layout FROM state LIMIT 2"
        ).fetchall()
        if len(rows) == 1:
            sequence, token, floor, documents, units, identity, layout = rows[0]
            if (
                all(type(each) is int for each in (sequence, floor, documents, units, layout))
                and 0 <= floor <= sequence < MAX_NUMBER
                and 0 <= documents <= units <= sequence
                and isinstance(token, bytes)
                and isinstance(identity, str)
            ):
                return State(Version(sequence, token), floor, documents, units, identity, layout)
        raise damaged("the row of its table state is not one that hybridrank writes")

    def check_counts(self) -> None:
        """Check the number of documents against `state`, which takes a while for large collections."""
        # without a condition, SQLite counts in one step, which nobody can interrupt
        (documents,) = self._rows("SELECT count(*) FROM documents WHERE number > 0").fetchone()
        if documents != self.state().documents:
            raise damaged(f"it holds {documents} documents, and its table state counts others")

    def follows(self, version: Version) -> bool:
        """Whether the database is at this version, or a later one derived from it."""
        row = self._rows("SELECT token FROM history WHERE sequence = ?", [version.sequence]).fetchone()
        return bool(row == (version.token,))

    def settings(self) -> dict[str, Any]:
        """The settings of the collection's creation."""
        rows = self._rows("SELECT name, value FROM settings").fetchall()
        settings = {name: json_value(value, dict, f"the setting {name!r}") for name, value in rows}
        try:
            settings["config"] = config = current_names(settings.get("config", {}))
        except RecursionError as error:
            raise damaged(f"its configuration is nested too deeply ({error})") from error
        retrievers, fields = config.get("retrievers", ""), config.get("indexed_fields", ())
        if (
            not isinstance(retrievers, dict | None)
            or not isinstance(fields, list | tuple)
            or not all(isinstance(field, str) for field in fields)
            or not isinstance(config.get("splitter"), dict | None)
        ):
            raise damaged("the setting 'config' is not one that hybridrank writes")
        if types := self.field_types():
            config["fields"] = types.to_dict()
        return settings

    def field_types(self) -> FieldTypes:
        """The declared types of metadata fields; a collection of an older version has none."""
        row = self._rows("SELECT value FROM settings WHERE name = 'fields'").fetchone()
        if row is None:
            return FieldTypes()
        try:
            return FieldTypes.of(json_value(row[0], dict, "the setting 'fields'"))
        except InputError as error:
            raise damaged(f"the setting 'fields' is not one that hybridrank writes: {error}") from None

    def _condition(self, filters: Filter) -> tuple[str, list[Any]]:
        return compile_filter(self.field_types().bind(filters), indexed=self._indexed)

    def embedders(self) -> dict[str, int]:
        """Numbers of the embedders whose vectors are stored, by identity."""
        rows = self._rows("SELECT identity, number FROM embedders WHERE current").fetchall()
        tables = {name for (name,) in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for identity, number in rows:
            if not isinstance(identity, str) or f"vectors_{number}" not in tables:
                raise damaged(f"embedder {number} of its table embedders has no vectors")
        return dict(rows)

    def every_embedder(self) -> dict[str, int]:
        """Numbers of the embedders of all layouts, by identity."""
        return dict(self._rows("SELECT identity, number FROM embedders").fetchall())

    def fingerprints(self) -> dict[int, str]:
        """The fingerprints of the embedders, by number, as far as known."""
        row = self._rows("SELECT value FROM settings WHERE name = 'fingerprints'").fetchone()
        stored = {} if row is None else json_value(row[0], dict, "the setting 'fingerprints'")
        if not all(number.isdecimal() and isinstance(told, str) for number, told in stored.items()):
            raise damaged("the setting 'fingerprints' is not one that hybridrank writes")
        return {int(number): told for number, told in stored.items()}

    def generation(self) -> tuple[str, int, str] | None:
        """Name, sequence number and digest of the last saved generation of indexes."""
        found = self._rows("SELECT name, sequence, digest FROM generations ORDER BY sequence DESC LIMIT 1")
        row: tuple[str, int, str] | None = found.fetchone()
        return row

    def sources(self) -> dict[str, str]:
        """Digest of each source that was put completely, by name."""
        rows = self._rows("SELECT name, digest FROM sources WHERE digest IS NOT NULL ORDER BY name").fetchall()
        if not all(isinstance(each, str) for row in rows for each in row):
            raise damaged("a name or digest in its table sources is no text")
        return dict(rows)

    def holders(self, ids: Collection[str]) -> dict[str, str]:
        """The names of the sources that some documents belong to, by the documents' ids."""
        wanted = list(ids)
        found: dict[str, str] = {}
        for start in range(0, len(wanted), MANY):
            some = wanted[start : start + MANY]
            rows = self._rows(
                "SELECT d.id, s.name FROM documents AS d JOIN sources AS s ON s.number = d.source "
                f"WHERE d.id IN ({', '.join('?' * len(some))})",
                some,
            )
            found.update(rows.fetchall())
        return found

    def ids(self) -> Iterator[str]:
        """Ids of all documents, the longest unchanged first."""
        last = 0
        for number, doc_id in self._rows("SELECT number, id FROM documents ORDER BY number"):
            last = ascending(number, last, "documents")
            yield checked_id(doc_id, number)

    def count(self, filters: Filter) -> int:
        """The number of documents that match."""
        where, values = self._condition(filters)
        (count,) = self._rows(f"SELECT count(*) FROM documents AS d WHERE {where}", values).fetchone()
        return int(count)

    def numbers(self, *, ids: Collection[str] = (), filters: Filter | None = None) -> list[int]:
        """Numbers of the documents with these ids, and of those that match."""
        found = {number for number, _, _ in self._by_id(ids)}
        if filters is not None:
            where, values = self._condition(filters)
            found.update(n for (n,) in self._rows(f"SELECT d.number FROM documents AS d WHERE {where}", values))
        return sorted(found)

    def _by_id(self, ids: Collection[str], number: str = "number") -> Iterator[tuple[int, str, int]]:
        wanted = list(ids)
        for start in range(0, len(wanted), MANY):
            some = wanted[start : start + MANY]
            marks = ", ".join("?" * len(some))
            rows = self._rows(f"SELECT {number}, id, passages FROM documents WHERE id IN ({marks})", some)
            yield from self._sound(rows)

    def _sound(self, rows: Iterable[tuple[int, str, int]]) -> Iterator[tuple[int, str, int]]:
        """Rows of `documents`: number, id, passages, validated."""
        claimed, units = 0, -1
        for number, doc_id, passages in rows:
            checked_id(doc_id, number)
            if type(number) is not int or not 0 < number < MAX_NUMBER or type(passages) is not int or passages < 0:
                raise damaged(f"document {doc_id!r} has the number {number} and {passages!r} passages")
            claimed += passages
            if claimed > units:  # before anybody counts to what is claimed
                units = units if units >= 0 else self.state().units
                if claimed > units:
                    raise damaged(f"document {doc_id!r} claims to have {passages} passages")
            yield number, doc_id, passages

    def choose(self, ids: frozenset[str] | None, filters: Filter | None) -> frozenset[str]:
        """Unit ids of the documents that have one of the ids, where they are given, and match the filter."""
        if filters is None:
            return frozenset(unit for _, doc_id, n in self._by_id(ids or ()) for unit in unit_ids(doc_id, n))
        if not self._splits:
            (every,) = self._chosen(("id",), filters)
            return frozenset(every) if ids is None else ids.intersection(every)
        found = dict(zip(*self._chosen(("id", "passages"), filters), strict=True))
        if not all(type(passages) is int for passages in found.values()) or (
            sum(max(1, abs(passages)) for passages in found.values()) > self.state().units
        ):
            raise damaged("documents claim more passages than there are")
        return frozenset(
            unit
            for doc_id, passages in found.items()
            if ids is None or doc_id in ids
            for unit in unit_ids(doc_id, passages)
        )

    def _chosen(self, columns: Sequence[str], filters: Filter) -> list[list[Any]]:
        """Columns of the documents that match, each as one JSON array: four times as fast as row after row."""
        query, values = compile_choice(self.field_types().bind(filters), indexed=self._indexed)
        arrays = ", ".join(f"json_group_array({column})" for column in columns)
        found = [json.loads(array) for array in self._rows(f"SELECT {arrays} FROM ({query})", values).fetchone()]
        if not set(map(type, found[0])) <= {str}:
            raise damaged("an id is no text")
        return found

    def documents(self, ids: Collection[str]) -> dict[str, Document]:
        """Whole documents, by id."""
        wanted, found = list(ids), {}
        for start in range(0, len(wanted), MANY):
            some = wanted[start : start + MANY]
            rows = self._rows(
                "SELECT d.number, d.id, t.text, t.title, d.metadata FROM documents AS d "
                f"LEFT JOIN texts AS t ON t.document = d.number WHERE d.id IN ({', '.join('?' * len(some))})",
                some,
            )
            for row in rows:
                document = to_document(*row)
                found[document.id] = document
        return found

    def each_document(self, filters: Filter | None) -> Iterator[Document]:
        """Whole documents that match, in the order of `ids`."""
        where, values = ("1", []) if filters is None else self._condition(filters)
        rows = self._rows(
            "SELECT d.number, d.id, t.text, t.title, d.metadata FROM documents AS d "
            f"LEFT JOIN texts AS t ON t.document = d.number WHERE {where} ORDER BY d.number",
            values,
        )
        last = 0
        for number, *row in rows:
            last = ascending(number, last, "documents")
            yield to_document(number, *row)

    def documents_after(self, number: int, *, size: int) -> list[tuple[int, Document]]:
        """So many of the documents with higher numbers, with their numbers."""
        rows = self._rows(
            "SELECT d.number, d.id, t.text, t.title, d.metadata FROM documents AS d "
            "LEFT JOIN texts AS t ON t.document = d.number WHERE d.number > ? ORDER BY d.number LIMIT ?",
            [number, size],
        )
        return [(found, to_document(found, *row)) for found, *row in rows]

    def units(self, ids: Collection[str]) -> dict[str, Document]:
        """Whole documents and passages, by unit id."""
        if not self._splits:
            return self.documents(ids)
        whole = [doc_id for _, doc_id, passages in self._by_id(ids) if not passages]
        found = self.documents(whole)
        places: dict[str, list[int]] = {}
        for unit in ids:
            if unit not in found and (place := passage_of(unit)) is not None:
                places.setdefault(place[0], []).append(place[1])
        parents = self.documents(places)
        for number, doc_id, passages in list(self._by_id(parents, FIRST)):
            wanted = [number + place for place in places[doc_id] if place < passages]
            for start in range(0, len(wanted), MANY):
                some = wanted[start : start + MANY]
                rows = self._rows(
                    "SELECT number, start, stop, headings FROM passages "
                    f"WHERE number IN ({', '.join('?' * len(some))})",
                    some,
                )
                for unit_number, *span in rows:
                    passage = to_passage(parents[doc_id], unit_number - number, *span)
                    found[passage.id] = passage
        return found

    def unread(self, embedder: int) -> tuple[int, int]:
        """The number of units of which an embedder did not read all, and of the tokens that it did not read."""
        rows = self._rows(
            "SELECT tokens FROM unread AS u WHERE embedder = ? AND ("
            "EXISTS (SELECT 1 FROM documents WHERE number = u.unit AND first IS NULL AND passages = 0) OR "
            "EXISTS (SELECT 1 FROM documents WHERE first = u.unit AND passages = 0) OR "
            "EXISTS (SELECT 1 FROM passages AS p JOIN documents AS d ON d.number = p.document "
            f"WHERE p.number = u.unit AND p.number BETWEEN {FIRST_OF} AND {FIRST_OF} + d.passages - 1))",
            [embedder],
        ).fetchall()
        if not all(type(tokens) is int and 0 < tokens < MAX_NUMBER for (tokens,) in rows):
            raise damaged("its table unread counts what is no number of tokens")
        return len(rows), sum(tokens for (tokens,) in rows)

    def lookalikes(self) -> frozenset[str]:
        """The whole documents whose ids have the form of a passage's."""
        if not self._splits:
            return frozenset()
        rows = self._rows("SELECT id FROM documents WHERE passages = 0 AND id GLOB '*#[0-9]*'")
        return frozenset(
            doc_id for (doc_id,) in rows if isinstance(doc_id, str) and passage_of(doc_id) is not None
        )

    def unit_spans(self, documents: Sequence[Document]) -> dict[str, list[tuple[int, int, int]]]:
        """The units of documents, by document id: their numbers, and the start and end of each in the text."""
        lengths = {document.id: len(document.text) for document in documents}
        found: dict[str, list[tuple[int, int, int]]] = {}
        for first, doc_id, passages in list(self._by_id(lengths, FIRST)):
            if not passages:
                found[doc_id] = [(first, 0, lengths[doc_id])]
                continue
            rows = self._rows(
                "SELECT number, start, stop FROM passages WHERE number BETWEEN ? AND ? ORDER BY number",
                [first, first + passages - 1],
            ).fetchall()
            if len(rows) != passages or not all(
                type(start) is int and type(stop) is int and 0 <= start <= stop <= lengths[doc_id]
                for _, start, stop in rows
            ):
                raise damaged(f"passages of document {doc_id!r} are missing, or none of its text")
            found[doc_id] = rows
        return found

    def units_after(self, number: int, *, size: int) -> Iterator[tuple[list[int], list[Document]]]:
        """Numbers and contents of the units added after a number, in batches, in order."""
        rows: Iterator[tuple[int, Document]] = self._documents_after(number)
        if self._splits:
            rows = merge(rows, self._passages_after(number), key=lambda row: row[0])
        numbers: list[int] = []
        units: list[Document] = []
        last = number
        for unit_number, unit in rows:
            last = ascending(unit_number, last, "documents or passages")
            numbers.append(unit_number)
            units.append(unit)
            if len(units) == size:
                yield numbers, units
                numbers, units = [], []
        if units:
            yield numbers, units

    def _documents_after(self, number: int) -> Iterator[tuple[int, Document]]:
        rows = self._rows(
            "SELECT d.unit, d.id, t.text, t.title FROM ("
            "SELECT number AS unit, number, id FROM documents "
            "WHERE first IS NULL AND passages = 0 AND number > ? UNION ALL "
            "SELECT first, number, id FROM documents WHERE passages = 0 AND first > ? ORDER BY unit"
            ") AS d LEFT JOIN texts AS t ON t.document = d.number ORDER BY d.unit",
            [number, number],
        )
        for unit_number, *row in rows:
            yield unit_number, to_document(unit_number, *row)

    def _passages_after(self, number: int) -> Iterator[tuple[int, Passage]]:
        rows = self._rows(
            "SELECT p.number, p.start, p.stop, p.headings, p.document, d.id, "
            "coalesce(d.first, d.number), d.passages FROM passages AS p "
            "LEFT JOIN documents AS d ON d.number = p.document WHERE p.number > ? ORDER BY p.number",
            [number],
        )
        at, parent = -1, None
        for unit_number, start, stop, headings, document, doc_id, first, passages in rows:
            if doc_id is not None:
                if type(first) is not int or type(passages) is not int:
                    raise damaged(f"document {doc_id!r} has {passages!r} passages from number {first!r} on")
                if not 0 <= unit_number - first < passages:
                    continue  # of the other layout
            if document != at or parent is None:
                at = document
                row = self._rows("SELECT text, title FROM texts WHERE document = ?", [at]).fetchone()
                parent = to_document(at, doc_id, *(row or (None, None)))
            yield unit_number, to_passage(parent, unit_number - first, start, stop, headings)

    def removed_after(self, number: int, *, most: int) -> list[str] | None:
        """Ids of the units removed after a number; some of them may have been added again.

        None where they are more than `most`.
        """
        units: list[str] = []
        rows = self._rows("SELECT number, id, passages FROM tombstones WHERE number > ? ORDER BY number", [number])
        for tombstone, doc_id, passages in rows:
            checked_id(doc_id, tombstone)
            if type(passages) is not int or not 0 <= passages < MAX_NUMBER:
                raise damaged(f"the tombstone of document {doc_id!r} has {passages!r} passages")
            if len(units) + passages > most:
                return None
            units += unit_ids(doc_id, passages)
        return units

    def vectors(self, embedder: int, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Vectors of units with ascending numbers: shape (len(numbers), dim).

        Raises:
            sqlite3.DatabaseError: one is missing, or is no vector of unit length.
        """
        import numpy as np

        rows = self._rows(
            f"SELECT unit, vector FROM vectors_{embedder:d} WHERE unit BETWEEN ? AND ? ORDER BY unit",
            [numbers[0], numbers[-1]],
        )
        wanted = set(numbers)
        found = [vector for unit, vector in rows if unit in wanted]
        if len(found) != len(numbers):
            raise damaged(f"{len(numbers) - len(found)} vectors are missing from its table vectors_{embedder}")
        try:
            matrix = np.frombuffer(b"".join(found), np.float32).reshape(len(numbers), -1)
            lengths = np.einsum("ij,ij->i", matrix, matrix)
        except (TypeError, ValueError):
            lengths = np.zeros(len(numbers))
        wrong = np.flatnonzero(~(np.abs(lengths - 1) < _NEAR))
        if len(wrong) or len(set(map(len, found))) > 1:
            first = numbers[wrong[0] if len(wrong) else 0]
            raise damaged(f"in its table vectors_{embedder}, the vector of unit {first} or a later one is none")
        return matrix

    def known_vectors(self, embedder: int, digests: Collection[bytes], *, dim: int | None) -> dict[bytes, bytes]:
        """Vectors of contents that were embedded before, by the contents' digests."""
        wanted = list(digests)
        known: dict[bytes, bytes] = {}
        for start in range(0, len(wanted), MANY):
            some = wanted[start : start + MANY]
            marks = ", ".join("?" * len(some))
            known.update(
                self._rows(
                    f"SELECT digest, vector FROM vectors_{embedder:d} WHERE digest IN ({marks}) AND digest != x''",
                    some,
                )
            )
        sizes = {len(vector) if isinstance(vector, bytes) else -1 for vector in known.values()}
        if len(sizes) > 1 or any(size % 4 or (dim is not None and size != 4 * dim) for size in sizes):
            raise damaged(f"vectors in its table vectors_{embedder} have different dimensions, or are none")
        return known
