"""Plain markup (reStructuredText, AsciiDoc, Org): the text, with headings and blocks of code as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hybridrank.ingest.files.reading import Content, Note, ReadOptions
from hybridrank.ingest.files.text import read_plain
from hybridrank.ingest.markdown import first_heading

__all__ = ["read_asciidoc", "read_org", "read_rst"]

_RULE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}")
_ORG = re.compile(r"(\*{1,20}) +(\S.*)")
_ADOC = re.compile(r"(={1,6}) +(\S.*)")
_ADOC_FENCE = re.compile(r"(-{4,}|\.{4,})")
_ORG_TITLE = re.compile(r"#\+title:\s*(\S.*)", re.IGNORECASE)
_LONGEST = 300  # characters of a heading


def read_rst(path: Path, reading: ReadOptions, note: Note) -> Content:
    """The text, its section titles behind ``#``, one for each level in the order in which they first appear.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    return _content("\n".join(_rst(read_plain(path, reading, note).text.split("\n"))))


def read_asciidoc(path: Path, reading: ReadOptions, note: Note) -> Content:
    """The text, its section titles behind ``#``, listings between fences.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    return _content("\n".join(_asciidoc(read_plain(path, reading, note).text.split("\n"))))


def read_org(path: Path, reading: ReadOptions, note: Note) -> Content:
    """The text, its headlines behind ``#``, source blocks between fences.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    text = read_plain(path, reading, note).text
    title = _ORG_TITLE.search(text[:4096])
    content = _content("\n".join(_org(text.split("\n"))))
    return content._replace(title=title[1][:_LONGEST].strip()) if title else content


def _content(text: str) -> Content:
    return Content(text, first_heading(text))


def _rst(lines: list[str]) -> Iterator[str]:
    levels: dict[tuple[str, bool], int] = {}
    skip = 0
    for number, line in enumerate(lines):
        if skip:
            skip -= 1
            continue
        below = [each.rstrip() for each in lines[number + 1 : number + 3]]
        bare = line.rstrip()
        over = _RULE.fullmatch(bare)
        if over and len(below) == 2 and below[0].strip() and below[1] == bare and len(below[0]) <= len(bare):
            title, key, skip = below[0].strip(), (over[1], True), 2
        elif (
            not over
            and bare
            and not bare[0].isspace()
            and len(bare) <= _LONGEST
            and below
            and (under := _RULE.fullmatch(below[0])) is not None
            and len(below[0]) >= len(bare)
            and (number == 0 or not lines[number - 1].strip())
        ):
            title, key, skip = bare, (under[1], False), 1
        else:
            yield line
            continue
        yield f"{'#' * min(levels.setdefault(key, len(levels) + 1), 6)} {title}"


def _asciidoc(lines: list[str]) -> Iterator[str]:
    fence: str | None = None
    for line in lines:
        bare = line.rstrip()
        if fence is not None:
            yield "```" if bare == fence else line
            fence = None if bare == fence else fence
        elif _ADOC_FENCE.fullmatch(bare):
            fence = bare
            yield "```"
        elif len(line) <= _LONGEST and (heading := _ADOC.fullmatch(bare)):
            yield f"{'#' * len(heading[1])} {heading[2]}"
        else:
            yield line


def _org(lines: list[str]) -> Iterator[str]:
    inside = False
    for line in lines:
        start = line.lstrip()[:20].lower()
        if start.startswith(("#+begin_src", "#+begin_example")):
            inside = True
            words = line.split(maxsplit=2)
            yield f"```{words[1] if len(words) > 1 and words[1].isalnum() else ''}"
        elif inside and start.startswith(("#+end_src", "#+end_example")):
            inside = False
            yield "```"
        elif not inside and len(line) <= _LONGEST and (heading := _ORG.fullmatch(line.rstrip())):
            yield f"{'#' * min(len(heading[1]), 6)} {heading[2]}"
        else:
            yield line
