"""What a file says of itself, as metadata: facts of the file system, and what the file declares."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.reading import Note
from hybridrank.values.divisions import DIVISIONS
from hybridrank.values.json_values import json_object, sound_text

__all__ = ["declared_fields", "file_facts", "one_line"]

_MOST = 1000  # characters of a declared text
_MEDIA_TYPES = {
    ".txt": "text/plain",
    ".json": "application/json",
    ".rst": "text/x-rst",
    ".adoc": "text/asciidoc",
    ".asciidoc": "text/asciidoc",
    ".org": "text/org",
    ".rtf": "application/rtf",
    ".xml": "application/xml",
    ".ipynb": "application/x-ipynb+json",
    ".eml": "message/rfc822",
    ".epub": "application/epub+zip",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "application/xhtml+xml",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}


def file_facts(path: Path, doc_id: str) -> dict[str, Any]:
    """The path that is the document's id, the file's name, media type, size in bytes and time of change (UTC).

    Raises:
        InputError: the file cannot be read.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    facts = {"path": doc_id, "file_name": path.name, "size": stat.st_size}
    if (media_type := _MEDIA_TYPES.get(path.suffix.lower())) is not None:
        facts["media_type"] = media_type
    with suppress(OverflowError, ValueError):  # a date that no calendar has
        facts["modified"] = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(timespec="seconds")
    return facts


def declared_fields(fields: Mapping[Any, Any], note: Note) -> dict[str, Any]:
    """Fields that a file declares, in JSON values. `note` receives what has no JSON form, which is left out.

    A title is the document's own, and divisions are those of the text that was read: neither is among the fields.
    """
    declared: dict[str, Any] = {}
    for name, value in fields.items():
        if not isinstance(name, str) or not name or name in ("title", DIVISIONS) or value in (None, ""):
            continue
        try:
            declared |= json_object({name: value}, what="a declared field")
        except InputError as error:
            note(f"left out: {error}")
    return declared


def one_line(text: str | None) -> str | None:
    """A declared text in one line, of at most a thousand characters; None if nothing is left of it."""
    return " ".join(sound_text((text or "")[: 8 * _MOST]).split())[:_MOST].rstrip() or None
