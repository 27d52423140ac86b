"""Templates of a context: each source in a block that its text cannot close.

Texts, titles and paths are untrusted. Control and invisible characters are written as escapes, and a citation
mark in a document, ``[2]``, becomes ``(2)``. In plain text and Markdown each line of a source is
prefixed; in XML its
markup is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Literal, TypeAlias

from hybridrank.context.citations import MARK
from hybridrank.values.printable import markdown_text, printable

__all__ = ["Template", "block", "block_body", "block_label", "join"]

Template: TypeAlias = Literal["text", "markdown", "xml"]
"""How a context is written."""

_LONGEST = 200  # characters of a title, a path, a heading path
_SHORT = {"page": "p. {}", "slide": "slide {}", "sheet": "sheet {}"}


def block(template: Template, number: int, label: str, body: str) -> str:
    """One source as the template writes it, of its `block_label` and its `block_body`."""
    if template == "xml":
        return f'<source number="{number}"{label}>\n{body}\n</source>'
    if template == "markdown":
        return f"**[{number}]** {label}".strip() + f"\n\n{body}"
    return f"[{number}] {label}".strip() + f"\n{body}"


def block_label(
    template: Template, *, title: str | None, path: str | None, place: Mapping[str, Any], headings: Sequence[str]
) -> str:
    """The title and the place of a source as the template writes them: attributes in XML."""
    labels = {
        "title": title or "",
        "path": path or "",
        **{kind: _division(place, kind) for kind in _SHORT},
        "headings": " > ".join(headings),
    }
    labels = {name: _unmarked(printable(value)[:_LONGEST]) for name, value in labels.items() if value}
    if template == "xml":
        return "".join(f' {name}="{escape(value)}"' for name, value in labels.items())
    shown = [_SHORT[name].format(value) if name in _SHORT else value for name, value in labels.items()]
    if template == "markdown":
        return ", ".join(map(markdown_text, shown))
    return _unmarked(", ".join(shown))


def block_body(template: Template, text: str) -> str:
    """The text of a source as the template writes it."""
    body = _unmarked(printable(text, lines=True))
    if template == "xml":
        return escape(body, quote=False)
    prefix = "> " if template == "markdown" else "    "
    return prefix + body.replace("\n", f"\n{prefix}")


def join(template: Template, blocks: Sequence[str]) -> str:
    """The whole context."""
    if template == "xml":
        return "\n".join(["<sources>", *blocks, "</sources>"]) if blocks else ""
    return "\n\n".join(blocks)


def _unmarked(text: str) -> str:
    return MARK.sub(r"(\g<1>)", text) if "[" in text else text


def _division(place: Mapping[str, Any], kind: str) -> str:
    first, last = place.get(kind), place.get(f"{kind}_end")
    if first is None:
        return ""
    return f"{first}" if last is None or last == first else f"{first}-{last}"
