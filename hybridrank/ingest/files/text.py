"""Plain text and Markdown."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hybridrank.errors import InputError
from hybridrank.ingest.files.encodings import open_text
from hybridrank.ingest.files.facts import declared_fields
from hybridrank.ingest.files.reading import Content, Note, ReadOptions
from hybridrank.ingest.markdown import first_heading, front_matter, front_matter_fields

__all__ = ["read_markdown", "read_plain"]

_PIECE = 1 << 20  # characters


def read_plain(path: Path, reading: ReadOptions, note: Note) -> Content:  # noqa: ARG001
    """The text; a plain file has no title.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    with open_text(path, encoding=reading.encoding) as file:
        pieces = list(iter(partial(file.read, _PIECE), ""))
    if any("\0" in piece for piece in pieces):
        raise InputError(f"{str(path)!r} is not text: it holds NUL characters")
    return Content("".join(pieces))


def read_markdown(path: Path, reading: ReadOptions, note: Note) -> Content:
    """The text unchanged, the title from its front matter or its first heading, and the front matter's fields.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    text = read_plain(path, reading, note).text
    front = front_matter(text)
    if front.problem is not None:
        note(front.problem)
    fields = declared_fields(front_matter_fields(text), note)
    return Content(text, front.title or first_heading(text[front.end :]), fields)
