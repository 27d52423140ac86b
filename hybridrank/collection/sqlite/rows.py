"""What the rows of a collection's database stand for, once their values are known to be valid.

Somebody else may have written to the file: whatever is read is checked before it is used.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any, NamedTuple

from hybridrank.collection.sqlite.filter_sql import load_metadata
from hybridrank.errors import InputError
from hybridrank.types import Document, Passage
from hybridrank.values.divisions import metadata_at
from hybridrank.values.json_values import copied

__all__ = [
    "MAX_NUMBER",
    "State",
    "Version",
    "ascending",
    "checked_id",
    "damaged",
    "json_value",
    "stored_fields",
    "to_document",
    "to_passage",
]

MAX_NUMBER = 2**62
"""Numbers of documents and changes are lower."""


class Version(NamedTuple):
    """One state of a collection: the number of its last change, and that change's token."""

    sequence: int
    token: bytes


class State(NamedTuple):
    """What a database says of itself; tombstones up to the number `floor` are gone: a process that knows less
    starts over.
    """

    version: Version
    floor: int
    documents: int
    units: int
    identity: str
    layout: int


def damaged(what: str) -> sqlite3.DatabaseError:
    """The error for values that hybridrank never wrote: `schema.told` reports it."""
    return sqlite3.DatabaseError(f"it is damaged: {what}")


def json_value(text: Any, kind: type[Any], what: str) -> Any:
    """Parse a JSON value of a type."""
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise damaged(f"{what} is no JSON ({error})") from error
    if not isinstance(value, kind):
        raise damaged(f"{what} is a JSON {type(value).__name__}, not a {kind.__name__}")
    return value


def stored_fields(text: Any, what: str) -> dict[str, Any]:
    """Metadata as they were stored.

    Raises:
        StorageError: they are damaged.
    """
    try:
        fields = load_metadata(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise damaged(f"{what} is no JSON object ({error})") from error
    if not isinstance(fields, dict):
        raise damaged(f"{what} is no JSON object")
    return fields


def ascending(number: int, last: int, table: str) -> int:
    """The number, which must be higher than the last: pages that are each other's children have no end."""
    if type(number) is not int or not last < number < MAX_NUMBER:
        raise damaged(f"the rows of its table {table} are out of order at {number}")
    return number


def checked_id(doc_id: Any, number: int) -> str:
    """Return the id of a document, if it is text."""
    if not isinstance(doc_id, str) or not doc_id:
        raise damaged(f"the id of document number {number} is no text")
    return doc_id


def to_document(number: int, doc_id: Any, text: Any, title: Any, metadata: Any = "{}") -> Document:
    """Build a document of its row."""
    checked_id(doc_id, number)
    if not isinstance(text, str) or not isinstance(title, str | None):
        raise damaged(f"the text or title of document {doc_id!r} is missing or no text")
    fields = stored_fields(metadata, f"the metadata of document {doc_id!r}")
    try:
        return Document(doc_id, text, title, fields)
    except InputError as error:
        raise damaged(f"document {doc_id!r} is none ({error})") from error


def to_passage(parent: Document, place: int, start: Any, stop: Any, headings: Any) -> Passage:
    """Build a passage of its row, and of the document that it is a part of."""
    what = f"passage {place} of document {parent.id!r}"
    names = json_value(headings, list, f"the headings of {what}")
    if (
        type(start) is not int
        or type(stop) is not int
        or not 0 <= start <= stop <= len(parent.text)
        or place < 0
        or not all(isinstance(name, str) for name in names)
    ):
        raise damaged(f"{what} is none of its text")
    return Passage(
        id=f"{parent.id}#{place}",
        text=parent.text[start:stop],
        title=parent.title,
        metadata=copied(metadata_at(parent.metadata, start, stop)),
        parent=parent.id,
        start=start,
        end=stop,
        headings=tuple(names),
    )
