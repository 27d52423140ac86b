"""Validation and copies of a collection's input, and copies of its output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from typing import Any, TypeVar

from hybridrank.errors import InputError
from hybridrank.filters.fields import FieldTypes
from hybridrank.types import Document, Passage
from hybridrank.values.arguments import document_ids
from hybridrank.values.json_values import copied, json_object

__all__ = ["checked", "checked_changes", "checked_ids", "detached", "normal_metadata", "patched", "with_metadata"]

_Document = TypeVar("_Document", bound=Document)


def checked(documents: Iterable[Document], types: FieldTypes) -> Iterator[Document]:
    """The documents, one by one, as a collection stores them: plain ones, with copies of their metadata.

    The values of declared fields have the form that `FieldTypes.normalize` gives them.

    Raises:
        InputError: something is not a `Document`, two share an id, metadata has no JSON form, or a value is not
            of its field's type.
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
        metadata = normal_metadata(document.id, document.metadata, types)
        yield Document(document.id, document.text, document.title, metadata)


def checked_ids(ids: Iterable[str]) -> list[str]:
    """The ids, without duplicates.

    Raises:
        InputError: `ids` is no collection of str.
    """
    return document_ids(ids, "ids")


def normal_metadata(doc_id: str, metadata: Mapping[str, Any], types: FieldTypes) -> dict[str, Any]:
    """A copy of a document's metadata in JSON values, those of declared fields in their normal form.

    Raises:
        InputError: a value has no JSON form, or is not of its field's type.
    """
    what = f"document {doc_id!r}: metadata"
    plain = json_object(metadata, what=what)
    return types.normalize(plain, what=what) if types else plain


def checked_changes(changes: Mapping[str, Mapping[str, Any]], types: FieldTypes) -> dict[str, dict[str, Any]]:
    """Copies of metadata fields, by document id, in JSON values.

    Raises:
        InputError: they are not given by document id, a value has no JSON form, or is not of its field's type.
    """
    if not isinstance(changes, Mapping) or not all(isinstance(fields, Mapping) for fields in changes.values()):
        raise InputError('changes must map document ids to metadata fields: {"<id>": {"<field>": value}}')
    ids = document_ids(changes, "the keys of changes")
    return {
        doc_id: normal_metadata(doc_id, fields, types)
        for doc_id, fields in zip(ids, changes.values(), strict=True)
    }


def with_metadata(document: _Document, metadata: dict[str, Any]) -> _Document:
    """The document with other metadata, which is not validated again."""
    kind = type(document)
    if kind is Document or kind is Passage:  # copy() takes four times as long
        other = object.__new__(kind)
        for name in kind.__dataclass_fields__:
            object.__setattr__(other, name, getattr(document, name))
    else:
        other = copy(document)
    object.__setattr__(other, "metadata", metadata)
    return other


def detached(document: Document) -> Document:
    """The document with a copy of its metadata, so that changes of it do not affect the stored one."""
    return with_metadata(document, copied(document.metadata))


def patched(metadata: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata with these fields set, and those that are None removed (RFC 7396, one level)."""
    merged = {**metadata, **changes}
    return {name: value for name, value in merged.items() if value is not None or name not in changes}
