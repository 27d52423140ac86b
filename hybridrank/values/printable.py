"""Text that is safe to show: no control characters in a terminal, no markup in a page or a Markdown file.

Ids, titles, texts, metadata, file names and error messages are untrusted. Printed unchanged, they could clear the
screen, set a window's title, overwrite a line, or reverse the direction of the following text.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["html_text", "json_text", "markdown_text", "printable", "shown", "suggestion"]

_INVISIBLE = (
    "\x00-\x1f\x7f-\x9f"  # control characters, C0 and C1: escape sequences begin with one
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks, embeddings, overrides and isolates
    "\u2028\u2029"  # separators of lines and paragraphs
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible characters
    "\ud800-\udfff"  # lone surrogates, as in file names of unknown encoding: they cannot be encoded
)
_UNSAFE = re.compile(f"[{_INVISIBLE}]")
_UNSAFE_IN_LINES = re.compile(rf"(?![\n\t])[{_INVISIBLE}]")
_MARKDOWN = re.compile(r"[\\`*_\[\]{}|#~$]")
_MARKDOWN_START = re.compile(r"^\d*(?=(?:[-+]|(?<=\d)[.)])(?: |$)|[-=]+$)")  # a list, a rule, an underline


def printable(text: str, *, lines: bool = False) -> str:
    r"""`text` on one line, with escapes for control and invisible characters.

    With `lines`, line breaks and tabs are kept. So are the zero-width joiner and non-joiner, which emoji, Persian
    and the scripts of India need.

    >>> print(printable("report\x1b[2J.txt\nforged: a second line"))
    report\x1b[2J.txt\nforged: a second line
    """
    if (text.replace("\n", "").replace("\t", "") if lines else text).isprintable():
        return text  # true of most texts, and found out ten times faster
    if lines:
        return _UNSAFE_IN_LINES.sub(_escape, text.replace("\r\n", "\n"))
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def json_text(value: Any, *, indent: int | None = None) -> str:
    """`value` as readable JSON without such characters, which are written as JSON escapes."""
    return _UNSAFE_IN_LINES.sub(_json_escape, json.dumps(value, ensure_ascii=False, indent=indent))


def _json_escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1] if match[0] != "\x7f" else "\\u007f"


def html_text(text: str) -> str:
    """`text` escaped as the content or a quoted attribute of an HTML element."""
    return html.escape(printable(text))


def markdown_text(text: str) -> str:
    r"""`text` escaped on one line, for a paragraph, a heading or a table cell of a Markdown document.

    >>> print(markdown_text("<b>1 * 2</b> | `x`"))
    &lt;b&gt;1 \* 2&lt;/b&gt; \| \`x\`
    """
    line = _MARKDOWN.sub(r"\\\g<0>", " ".join(printable(text, lines=True).split()))
    line = _MARKDOWN_START.sub(r"\g<0>\\", line)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shown(value: Any) -> str:
    """`value` as Python writes it, at most 80 characters of it."""
    try:
        return f"{value!r:.80}"
    except Exception:  # an int of thousands of digits, or an object whose repr fails
        return f"{type(value).__name__}(…)"


def suggestion(name: object, known: Iterable[str]) -> str:
    """The part of a message that suggests the nearest of the known names; empty if none is near.

    >>> suggestion("rrff", ["rrf", "score"])
    '; did you mean "rrf"?'
    """
    from difflib import get_close_matches

    near = get_close_matches(str(name)[:80], list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""
