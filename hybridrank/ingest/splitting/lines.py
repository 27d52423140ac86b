"""The lines of a Markdown text: the kind of each, and what ends before it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hybridrank.ingest.markdown import front_matter, headings

__all__ = ["BLOCK", "CHARACTER", "LINE", "SENTENCE", "WORD", "Line", "read_lines"]

CHARACTER, WORD, LINE, SENTENCE, BLOCK = range(5)
"""What ends where a text may be cut; the more, the better a place."""


@dataclass(slots=True)
class Line:
    """A line: its place, what it is, what ends before it, and, where it opens a heading, its level and name."""

    start: int
    end: int
    kind: str
    before: int
    heading: tuple[int, str] | None = None


_LINES = re.compile(r"(?:[^\S\r\n]*(?:\r\n?|\n))++|[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
_FENCE = re.compile(r"`{3,}(?=[^`]*\Z)|~{3,}")
_ITEM = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s")
_INDENTED = ("    ", "\t", " \t", "  \t", "   \t")  # deeper than what Markdown reads as a heading or a fence


_AFTER = {"blank": BLOCK, "closing": BLOCK, "row": BLOCK, "code": SENTENCE}
"""What ends after a line of a kind, if the next line doesn't say otherwise; else only the line itself."""


def read_lines(text: str) -> Iterator[Line]:
    """Read Markdown, as far as it tells where to cut."""
    front = front_matter(text).end
    found = iter(headings(text[front:]))
    heading = next(found, None)
    number = 0  # of lines behind the front matter
    fence, last = "", "blank"  # what opened the code that we are in; the kind of the line before
    for match in _LINES.finditer(text):
        line, opens = match.group(), None
        bare = line.strip()
        indented = line.startswith(_INDENTED)
        before = _AFTER.get(last, LINE)
        while heading is not None and heading.end <= number:
            heading = next(found, None)
        if match.start() < front:
            kind = "code"
        elif bare and heading is not None and heading.first <= number:
            kind, before, fence = "heading", LINE, ""
            if number == heading.first:
                before, opens = BLOCK, (heading.level, heading.text)
        elif fence:
            kind = "code"
            if not indented and bare.startswith(fence) and not bare.strip(fence[0]):
                kind, before, fence = "closing", LINE, ""
        elif not bare:
            kind = "blank"
        elif _ITEM.match(bare):
            kind, before = "item", BLOCK
        elif bare[0] == "|":
            kind = "row" if bare.strip("|-: \t") else "divider"
            if last == "row":
                before = SENTENCE if kind == "row" else LINE
            elif last != "divider":
                before = BLOCK
        elif indented or bare[0] == ">":
            kind = "other"
        elif (opening := _FENCE.match(bare)) and (bare[0] == "`" or last != "text"):  # ~~~ underlines, in RST
            kind, before, fence = "opening", BLOCK, opening[0]
        else:
            kind = "text"
        yield Line(match.start(), match.end(), kind, before, opens)
        last = "heading" if last == "heading" and kind == "blank" else kind
        if match.start() >= front:
            number += 1 if bare else _line_ends(line)


def _line_ends(blanks: str) -> int:
    return blanks.count("\n") + blanks.count("\r") - blanks.count("\r\n")
