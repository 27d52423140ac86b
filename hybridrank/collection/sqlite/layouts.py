"""The other layout of a collection: the one that is being built, or the one before the last switch.

`schema` describes its tables. On a connection with `create_views`, the tables are those of the other layout: all
that reads the current layout then reads the other one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from hybridrank.collection.sqlite.filter_sql import field_rows
from hybridrank.collection.sqlite.reader import Reader
from hybridrank.collection.sqlite.rows import (
    MAX_NUMBER,
    ascending,
    damaged,
    json_value,
    stored_fields,
    to_document,
)
from hybridrank.collection.sqlite.writer import Writer
from hybridrank.collection.units import check_distinct
from hybridrank.types import Document, Passage

__all__ = [
    "OtherLayout",
    "begin_layout",
    "count_pending",
    "create_views",
    "drop_embedders",
    "drop_layout",
    "other_layout",
    "pending",
    "put_units",
    "switch_layout",
]

_PENDING = "FROM documents AS d WHERE d.number > ? AND d.number NOT IN (SELECT document FROM other_units)"


class OtherLayout(NamedTuple):
    """A row of `layouts`: the embedders by number, and how many documents with how many units are ready.

    `shared` says that it has the units of the current layout.
    """

    number: int
    role: Literal["next", "previous"]
    config: dict[str, Any]
    embedders: tuple[int, ...]
    shared: bool
    documents: int
    units: int


def other_layout(reader: Reader) -> OtherLayout | None:
    """The other layout, if there is one."""
    rows = reader._rows(
        "SELECT number, role, config, embedders, shared, documents, units FROM layouts LIMIT 2"
    ).fetchall()
    if not rows:
        return None
    number, role, config, embedders, shared, documents, units = rows[0]
    numbers = json_value(embedders, list, "the embedders of its other layout")
    if (
        len(rows) > 1
        or role not in ("next", "previous")
        or not all(type(each) is int for each in (number, documents, units, shared, *numbers))
        or not 0 <= documents <= units < MAX_NUMBER
        or not all(0 <= each < MAX_NUMBER for each in (number, *numbers))
    ):
        raise damaged("the row of its table layouts is not one that hybridrank writes")
    told = json_value(config, dict, "the configuration of its other layout")
    return OtherLayout(number, role, told, tuple(numbers), bool(shared), documents, units)


def begin_layout(
    writer: Writer, number: int, config: Mapping[str, Any], embedders: Sequence[int], *, shared: bool
) -> None:
    """Begin to build a layout, in place of an unfinished one."""
    drop_layout(writer)
    chosen = list(dict.fromkeys(embedders))
    values = [number, "next", json.dumps(config, ensure_ascii=False), json.dumps(chosen), shared]
    writer._rows("INSERT INTO layouts VALUES (?, ?, ?, ?, ?, 0, 0)", values)


def count_pending(reader: Reader) -> int:
    """The number of documents that are not ready in the other layout."""
    (count,) = reader._rows(f"SELECT count(*) {_PENDING}", [0]).fetchone()
    return int(count)


def pending(reader: Reader, after: int, upto: int, *, size: int, characters: int) -> list[tuple[int, Document]]:
    """Documents that are not ready in the other layout, with their numbers: higher than `after`, up to `upto`.

    They are at most `size`, and end with the one that makes them longer than so many characters.
    """
    rows = reader._rows(
        f"SELECT d.number, d.id, d.metadata {_PENDING} AND d.number <= ? ORDER BY d.number LIMIT ?",
        [after, upto, size],
    )
    found: list[tuple[int, Document]] = []
    last, read = after, 0
    for number, doc_id, metadata in rows:
        last = ascending(number, last, "documents")
        row = reader._rows("SELECT text, title FROM texts WHERE document = ?", [number]).fetchone()
        text, title = row or (None, None)
        document = to_document(number, doc_id, text, title, metadata)
        found.append((number, document))
        if (read := read + len(document.text)) > characters:
            break
    return found


def put_units(
    writer: Writer, numbers: Sequence[int], passages: Sequence[Sequence[Passage]]
) -> tuple[list[int], list[int]]:
    """Store units of documents in the other layout (no passages: one is a unit itself).

    Returns the places, in `numbers`, of the documents whose units were stored, and the units' numbers: a document
    may have been removed or replaced meanwhile, or made ready by another process.
    """
    left = writer._rows(
        f"SELECT d.number {_PENDING} AND d.number IN (SELECT value FROM json_each(?))",
        [0, json.dumps(list(numbers))],
    )
    held = {number for (number,) in left}
    places = [place for place, number in enumerate(numbers) if number in held]
    sizes = [max(1, len(passages[place])) for place in places]
    units = range(first := writer._next(sum(sizes)), first + sum(sizes))
    firsts, at = [], first
    for size in sizes:
        firsts.append(at)
        at += size
    writer._insert(
        "other_units",
        ((numbers[place], start, len(passages[place])) for place, start in zip(places, firsts, strict=True)),
    )
    writer._insert(
        "passages",
        (
            (start + n, numbers[place], each.start, each.end, json.dumps(each.headings, ensure_ascii=False))
            for place, start in zip(places, firsts, strict=True)
            for n, each in enumerate(passages[place])
        ),
    )
    writer._rows("UPDATE layouts SET documents = documents + ?, units = units + ?", [len(places), len(units)])
    return places, list(units)


def switch_layout(writer: Writer) -> None:
    """Make the other layout the current one, and the current one the other."""
    other, state = other_layout(writer), writer.state()
    if other is None:
        raise damaged("there is no layout to switch to")
    if not other.shared and (count_pending(writer) or other.documents != state.documents):
        raise damaged("its table layouts counts other documents than are ready")
    (config,) = writer._rows("SELECT value FROM settings WHERE name = 'config'").fetchone()
    embedders = list(writer.embedders().values())
    indexed = list(writer.form.indexed)
    if not other.shared:
        writer._rows(
            "CREATE TEMP TABLE before AS SELECT number, coalesce(first, number) AS first, passages FROM documents"
        )
        writer._rows(
            "UPDATE documents SET first = o.first, passages = o.passages "
            "FROM other_units AS o WHERE o.document = documents.number"
        )
        writer._rows("DELETE FROM other_units")
        writer._rows("INSERT INTO other_units SELECT number, first, passages FROM temp.before")
        writer._rows("DROP TABLE temp.before")
    units = state.units if other.shared else other.units
    writer._rows(
        "UPDATE state SET layout = ?, units = ?, floor = sequence, sequence = sequence + 1", [other.number, units]
    )
    now = json.dumps(other.config, ensure_ascii=False)
    writer._rows("UPDATE settings SET value = ? WHERE name = 'config'", [now])
    chosen = json.dumps(other.embedders)
    writer._rows("UPDATE embedders SET current = number IN (SELECT value FROM json_each(?))", [chosen])
    writer._rows("DELETE FROM layouts")
    before = [state.layout, "previous", config, json.dumps(embedders), other.shared]
    counts = [0, 0] if other.shared else [state.documents, state.units]
    writer._rows("INSERT INTO layouts VALUES (?, ?, ?, ?, ?, ?, ?)", [*before, *counts])
    writer.form = writer.read_form()
    if not other.shared:
        check_distinct(writer.taken_by_passages())
    if list(writer.form.indexed) != indexed:
        _index_fields(writer)
    elif not other.shared and indexed:
        writer._rows("UPDATE fields SET passages = (SELECT passages FROM documents WHERE number = document)")


def _index_fields(writer: Writer) -> None:
    """Fill the table `fields` for the fields that are indexed now."""
    writer._rows("DELETE FROM fields")
    indexed = writer.form.indexed
    if not indexed:
        return
    rows = writer._rows("SELECT number, id, passages, metadata FROM documents ORDER BY number")
    writer._insert(
        "fields",
        (
            (*row, doc_id, passages)
            for number, doc_id, passages, metadata in rows
            for row in field_rows(number, stored_fields(metadata, f"the metadata of document {doc_id!r}"), indexed)
        ),
    )


def drop_layout(writer: Writer) -> None:
    """Delete the other layout. Vectors stay until the collection is compacted: nothing is embedded twice."""
    writer._rows(
        "DELETE FROM passages WHERE number IN (SELECT p.number FROM other_units AS o JOIN passages AS p "
        "ON p.number BETWEEN o.first AND o.first + o.passages - 1 WHERE o.passages > 0)"
    )
    writer._rows("DELETE FROM other_units")
    writer._rows("DELETE FROM layouts")


def drop_embedders(writer: Writer) -> None:
    """Delete the embedders of no layout, with their vectors."""
    other = other_layout(writer)
    kept = set(() if other is None else other.embedders)
    for (number,) in writer._rows("SELECT number FROM embedders WHERE NOT current").fetchall():
        if number not in kept:
            writer._rows(f"DROP TABLE vectors_{number:d}")
            writer._rows("DELETE FROM embedders WHERE number = ?", [number])
            writer._rows("DELETE FROM unread WHERE embedder = ?", [number])
            writer.forget_fingerprint(number)


def create_views(connection: sqlite3.Connection, other: OtherLayout) -> None:
    """Have all later statements of a connection read the other layout instead of the current one."""
    of, numbers = f"FROM main.layouts WHERE number = {other.number:d}", ", ".join(map(str, other.embedders))
    views = {
        "settings": "SELECT name, value FROM main.settings WHERE name != 'config' "
        f"UNION ALL SELECT 'config', config {of}",
        "embedders": f"SELECT number, identity, 1 AS current FROM main.embedders WHERE number IN ({numbers})",
        "generations": "SELECT name, sequence, digest FROM main.generations WHERE FALSE",
        "state": "SELECT sequence, token, floor, s.documents, s.units, identity, number AS layout "
        f"FROM main.state AS s JOIN main.layouts AS l WHERE number = {other.number:d}",
    }
    if not other.shared:
        views |= {
            "state": views["state"].replace("s.documents, s.units", "l.documents, l.units"),
            "documents": "SELECT m.number, m.id, o.passages, m.metadata, m.source, m.edits, o.first "
            "FROM main.documents AS m JOIN main.other_units AS o ON o.document = m.number",
            "tombstones": "SELECT number, id, other AS passages FROM main.tombstones WHERE other IS NOT NULL",
        }
    for name, select in views.items():
        connection.execute(f"CREATE TEMP VIEW {name} AS {select}")
