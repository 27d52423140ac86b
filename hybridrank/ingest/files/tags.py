"""HTML's tags within limits that keep a parser's time in proportion to the page's length.

By the standard, a parser looks through all open elements, or all of an element's attributes, at many a tag: the
time grows with the square of the nesting. Browsers limit it, and so does this: deeper elements become
siblings. Formatting that is never closed is repeated in each paragraph that follows, with all that was before it,
so there is a lower limit to it; it says nothing anyway.
"""

from __future__ import annotations

import re

__all__ = ["limit_tags"]

_MOST_NESTED = 512  # as Chromium
_MOST_FORMATTING = 16
_MOST_ATTRIBUTES = 500
_LONG_TAG = 4096  # characters: no shorter one has many attributes
_NEXT = re.compile(r"<(?:(!--)|([!?])|(/?)([a-zA-Z][^\s/>]*+))")
_ATTRIBUTE = r"""[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+|(?=>)))?+"""
_ATTRIBUTES = re.compile(_ATTRIBUTE)
_REST_OF_TAG = re.compile(rf"(?:[\s/]++|{_ATTRIBUTE})*+>")
_TAG_END = re.compile(">")
_COMMENT_END = re.compile("--!?>")
_NEVER_NESTED = frozenset(  # void, or ended by the next of their kind
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "source",
        "track",
        "wbr",
        "param",
        "keygen",
        "frame",
        "basefont",
        "bgsound",
        "html",
        "head",
        "body",
        "p",
        "li",
        "dt",
        "dd",
        "option",
        "tr",
        "td",
        "th",
        "thead",
        "tbody",
        "tfoot",
        "colgroup",
    ]
)
_FORMATTING = frozenset(
    ["a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"]
)
_RAW = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
}


def limit_tags(source: str) -> str:
    """The page without the start tags that nest too deeply and the attributes of tags that have too many.

    >>> limit_tags("<p>as it is")
    '<p>as it is'
    """
    kept: list[str] = []
    done = at = 0
    opened: list[str] = []
    counts: dict[str, int] = {}
    formatting = 0
    while (found := _NEXT.search(source, at)) is not None:
        comment, _, closing, tag = found.groups()
        if tag is None:
            end = _COMMENT_END.search(source, found.end() - 2) if comment else _TAG_END.search(source, found.end())
        else:
            end = _REST_OF_TAG.match(source, found.end())
        if end is None:
            break  # it is never closed: to a parser, the rest of the page is in it
        at = end.end()
        name = (tag or "").lower()
        keeps = True
        if not name or name in _NEVER_NESTED:
            pass
        elif name in _FORMATTING:
            if not closing:
                keeps = formatting < _MOST_FORMATTING
                formatting += keeps
                counts[name] = counts.get(name, 0) + keeps
            elif counts.get(name):
                counts[name] -= 1
                formatting -= 1
        elif closing:
            if counts.get(name):
                _close(opened, counts, name)
        elif raw := _RAW.get(name):
            content = raw.search(source, at)
            at = len(source) if content is None else content.start()
        elif keeps := len(opened) < _MOST_NESTED:
            opened.append(name)
            counts[name] = counts.get(name, 0) + 1
        if not keeps:
            kept += (source[done : found.start()], " ")
            done = end.end()
        elif tag and end.end() - end.start() > _LONG_TAG and _attributes(end) > _MOST_ATTRIBUTES:
            kept += (source[done : found.end()], ">")
            done = end.end()
    return "".join([*kept, source[done:]]) if kept else source


def _attributes(tag: re.Match[str]) -> int:
    return sum(1 for _ in _ATTRIBUTES.finditer(tag.string, tag.start(), tag.end()))


def _close(opened: list[str], counts: dict[str, int], name: str) -> None:
    while True:
        last = opened.pop()
        counts[last] -= 1
        if last == name:
            return
