"""Validation of the passages that a splitter returns, before they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybridrank.errors import BackendResponseError
from hybridrank.ingest.splitting.splitter import passage_at
from hybridrank.types import Document, Passage

__all__ = ["validate_passages"]


def validate_passages(passages: Any, document: Document, *, source: str) -> list[Passage]:
    """The passages of a document, in their order, with its title and metadata.

    A splitter chooses `start`, `end` and `headings`. Everything else follows from the document, so that passages
    are the same in memory and on disk.

    Raises:
        BackendResponseError: something is no passage, an id or a parent is another one, the text is none of the
            document's, or a passage starts before the previous one.
    """
    if isinstance(passages, str) or not isinstance(passages, Sequence):
        raise BackendResponseError(f"{source} returned {type(passages).__name__}, not a list of passages")
    checked: list[Passage] = []
    for place, passage in enumerate(passages):
        where = f"{source}, passage {place} of document {document.id!r}"
        if not isinstance(passage, Passage):
            raise BackendResponseError(f"{where}: {type(passage).__name__} is no Passage")
        if (passage.id, passage.parent) != (f"{document.id}#{place}", document.id):
            raise BackendResponseError(
                f"{where} has the id {passage.id!r} and the parent {passage.parent!r}; expected "
                f"{f'{document.id}#{place}'!r} and {document.id!r}"
            )
        start, end = passage.start, passage.end
        if not (type(start) is int and type(end) is int and 0 <= start <= end <= len(document.text)):
            raise BackendResponseError(f"{where} is from {start!r} to {end!r}; the text has {len(document.text)}")
        if passage.text != document.text[start:end]:
            raise BackendResponseError(f"{where}: its text is not document.text[{start}:{end}]")
        if checked and start < checked[-1].start:
            raise BackendResponseError(f"{where} starts at {start}, before the previous one")
        checked.append(passage_at(document, place, start, end, tuple(passage.headings)))
    return checked
