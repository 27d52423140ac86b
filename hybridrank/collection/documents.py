"""What a collection is given, checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from hybridrank.collection.sql_filter import dump_metadata
from hybridrank.errors import InputError
from hybridrank.types import Document

__all__ = ["checked", "checked_changes", "checked_ids", "json_metadata", "patched"]


def checked(documents: Iterable[Document]) -> Iterator[Document]:
    """The documents, one by one.

    Raises:
        InputError: something is not a `Document`, or two share an id.
    """
    if not isinstance(documents, Iterable):
        raise InputError(f"documents must be several Documents, not one {type(documents).__name__}")
    seen: set[str] = set()
    for position, document in enumerate(documents):
        if not isinstance(document, Document):
            raise InputError(
                f"documents[{position}] is a {type(document).__name__}, not a Document; "
                'make one with Document(id="…", text="…")'
            )
        if document.id in seen:
            raise InputError(f"documents[{position}] repeats the id {document.id!r}; ids must be distinct")
        seen.add(document.id)
        yield document


def checked_ids(ids: Iterable[str]) -> list[str]:
    """The ids, each once.

    Raises:
        InputError: `ids` is one str, or holds something else than str.
    """
    if isinstance(ids, str):
        raise InputError(f'ids must be a collection of document ids, not one str; write ["{ids}"]')
    wanted = list(ids)
    if wrong := [doc_id for doc_id in wanted if not isinstance(doc_id, str)]:
        raise InputError(f"document ids must be str, not {type(wrong[0]).__name__}")
    return list(dict.fromkeys(wanted))


def checked_changes(changes: Mapping[str, Mapping[str, Any]]) -> None:
    """See that metadata fields are given by document id.

    Raises:
        InputError: they are not.
    """
    if not isinstance(changes, Mapping) or not all(isinstance(fields, Mapping) for fields in changes.values()):
        raise InputError('changes must map document ids to metadata fields: {"<id>": {"<field>": value}}')


def json_metadata(document: Document) -> str:
    """A document's metadata as the database holds it.

    Raises:
        InputError: JSON cannot say it.
    """
    try:
        return dump_metadata(document.metadata)
    except InputError as error:
        raise InputError(f"document {document.id!r}: {error}") from error


def patched(document: Document, changes: Mapping[str, Any]) -> Document:
    """The document with these metadata fields set, and those that are None taken away (RFC 7396, one level)."""
    merged = {**document.metadata, **changes}
    return replace(
        document, metadata={n: value for n, value in merged.items() if value is not None or n not in changes}
    )
