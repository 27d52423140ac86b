"""Hits in the terminal: what was found, where, and why."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hybridrank.cli.output import err, say, say_text
from hybridrank.values.printable import printable

if TYPE_CHECKING:
    from rich.text import Text

    from hybridrank.context import Snippet
    from hybridrank.result.hits import Hit, SearchResult

__all__ = ["hits_as_json", "show"]

_WIDEST = 100  # columns: longer lines are hard to read
_LONGEST = 200  # characters of a title, a path, a heading path


def show(result: SearchResult, snippets: Sequence[Snippet], *, explain: bool) -> None:
    """Print the results of a search: on a terminal within its width, matches in bold; otherwise a line each."""
    from rich.console import Console
    from rich.text import Text

    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ  # then a line is as long as what it says
    console = Console(highlight=False, soft_wrap=wide)
    width = min(console.width, _WIDEST)
    for stage, reason in result.degraded.items():
        err(f"degraded: {stage}: {reason}")
    if not result.hits:
        say("nothing found")
    elif result.answered is False:
        say("probably none of these answers the question")
    for hit, snippet in zip(result.hits, snippets, strict=True):
        name, place = _name_and_place(hit, snippet)
        worth = f"{hit.score:.3g} ({hit.scored_by})" if hit.relevance is None else f"relevance {hit.relevance:.2f}"
        head = Text.assemble((name, "bold"), "  ", (worth, "cyan"))
        margin = f"{hit.rank:>3}  "
        for body in [head, *[Text(place, style="dim")] * bool(place), _marked(hit, snippet)]:
            for line in [body] if wide else body.wrap(console, width - len(margin)):
                line.rstrip()
                console.print(Text.assemble(margin, line))
                margin = "     "
    if explain and result.hits:
        say()
        say_text(result.explain(width=100 if wide else max(console.width, 40)))


def hits_as_json(result: SearchResult, snippets: Sequence[Snippet]) -> dict[str, Any]:
    """The result as JSON values, each hit with its ``snippet`` and the ``location`` of the matches in it."""
    from hybridrank.context.places import place_of

    written = result.to_dict()
    for hit, snippet, row in zip(result.hits, snippets, written["hits"], strict=True):
        row["snippet"] = snippet.to_dict()
        row["location"] = place_of(hit.document, *snippet.matched)
    return written


def _name_and_place(hit: Hit, snippet: Snippet) -> tuple[str, str]:
    """The title, file name or id of a hit; and its id, file, page and headings, as far as they say more."""
    from hybridrank.context.places import place_of

    place = place_of(hit.document, *snippet.matched)
    path = place["path"] or ""
    name = _line(hit.title or path.rpartition("/")[2] or hit.id)
    headings = [_line(each) for each in place["headings"] if _line(each) != name]
    parts = [
        "" if path in ("", hit.id) or hit.id.startswith(f"{path}#") else _line(path),  # the id has the path
        "" if _line(hit.id) == name else _line(hit.id),
        _division(place, "page", "p. ", "pp. "),
        _division(place, "slide", "slide ", "slides "),
        _division(place, "sheet", "sheet ", "sheets "),
        _line(" > ".join(headings)),
    ]
    return name, " · ".join(filter(None, parts))


def _division(place: dict[str, Any], kind: str, one: str, several: str) -> str:
    if kind not in place:
        return ""
    last = place.get(f"{kind}_end")
    return _line(f"{one}{place[kind]}" if last is None else f"{several}{place[kind]}-{last}")


def _marked(hit: Hit, snippet: Snippet) -> Text:
    from rich.text import Text

    text = Text("… " if snippet.start > 0 else "")
    for part, is_match in snippet.parts():
        text.append(printable(re.sub(r"\s+", " ", part)), "bold" if is_match else "")
    return text.append(" …" if snippet.end < len(hit.text.rstrip()) else "")


def _line(text: str) -> str:
    line = printable(" ".join(text[: 2 * _LONGEST].split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
