"""Where a part of a document is: its file, page and headings."""

from __future__ import annotations

from typing import Any

from hybridrank.ingest.markdown import front_matter, headings
from hybridrank.types import Document, Passage
from hybridrank.values.divisions import divisions_at

__all__ = ["KINDS", "divisions_of", "path_of", "place_of"]

KINDS = ("page", "slide", "sheet")
_READ = 200_000  # characters that are searched for headings


def path_of(document: Document) -> str | None:
    """The path of its file, from the root that was indexed."""
    path = document.metadata.get("path")
    return path if isinstance(path, str) else None


def divisions_of(document: Document, start: int, end: int) -> dict[str, Any]:
    """The labels of the pages, slides or sheets of a part of its text."""
    found = document.metadata if isinstance(document, Passage) else divisions_at(document.metadata, start, end)
    return {name: found[name] for kind in KINDS for name in (kind, f"{kind}_end") if name in found}


def place_of(document: Document, start: int, end: int) -> dict[str, Any]:
    """The place of a part of a hit's text: ``{"path": …, "page": …, "headings": […]}``.

    The headings of a passage are stored with it; those of a whole document are read from its text, if the part is
    in its first 200,000 characters.
    """
    above = list(document.headings) if isinstance(document, Passage) else _headings_at(document.text, start)
    return {"path": path_of(document), **divisions_of(document, start, end), "headings": above}


def _headings_at(text: str, at: int) -> list[str]:
    if at > _READ:
        return []
    start = front_matter(text).end
    line = text[start:at].replace("\r\n", "\n").replace("\r", "\n").count("\n")
    above: list[tuple[int, str]] = []
    for heading in headings(text[start:_READ]):
        if heading.first > line:
            break
        above = [each for each in above if each[0] < heading.level] + [(heading.level, heading.text)]
    return [text for _, text in above if text]
