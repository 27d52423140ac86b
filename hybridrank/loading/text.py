"""Text files: opened as what they are encoded in; plain text and Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from hybridrank.errors import InputError

__all__ = ["first_heading", "opened", "read_markdown", "read_plain"]

_FENCED = re.compile(r"^ {0,3}(```+|~~~+).*?(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(
    r"^#{1,6}[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$|^([^\s>|*+-].*?)[ \t]*\n(?:={3,}|-{3,})[ \t]*$", re.MULTILINE
)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"^title:[ \t]*([\"']?)(.*\S)\1[ \t]*$", re.MULTILINE)


@contextmanager
def opened(path: Path, *, newline: str | None = None) -> Iterator[TextIO]:
    """Open a file of UTF-8 text, or of UTF-16 where it begins with a byte order mark of that.

    Raises:
        InputError: it cannot be read, or is not such text; also while it is being read.
    """
    encoding = "utf-8-sig"
    try:
        with path.open("rb") as file:
            if file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
                encoding = "utf-16"
            with TextIOWrapper(file, encoding=encoding, newline=newline) as text:
                yield text
    except UnicodeError as error:
        kind = "UTF-16" if encoding == "utf-16" else "UTF-8"
        raise InputError(f"{str(path)!r} is not {kind} text: {error}") from None
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from error


def read_plain(path: Path) -> tuple[str, None]:
    """The text; a plain file has no title."""
    with opened(path) as file:
        return file.read(), None


def read_markdown(path: Path) -> tuple[str, str | None]:
    """The text as it is, and the title that its front matter names, or its first heading."""
    text, _ = read_plain(path)
    front = _FRONT_MATTER.match(text)
    named = _NAMED.search(front[1]) if front else None
    return text, named[2] if named else first_heading(text[front.end() :] if front else text)


def first_heading(markdown: str) -> str | None:
    """The first heading that says something, outside of fenced code: with ``#``, or underlined.

    >>> first_heading("```sh\\n# not this\\n```\\n## But this ##\\n")
    'But this'
    """
    headings = _HEADING.finditer(_FENCED.sub("", markdown))
    titles = (heading[1] or heading[2] for heading in headings)
    return next((title for title in titles if title and title.strip("#")), None)
