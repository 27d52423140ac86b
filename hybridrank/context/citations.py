"""The packed context: its text, and the citations that map its numbers to places in documents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MARK", "Citation", "Cited", "Context", "Dropped"]

MARK = re.compile(r"\[(\s*+\d++(?:\s*+,\s*+\d++)*+\s*+)\]", re.ASCII)
"""A citation mark: ``[2]``, or several in one, ``[2, 3]``."""

_LONGEST = 9  # digits: a longer number is unknown, and int() would be slow on a million of them


@dataclass(frozen=True, slots=True)
class Citation:
    """A numbered source of a context, and its place.

    The source is the part of the document `id` from `start` to `end`, in characters of its text; `text` is that
    part, unescaped. `hits` are the ids of the hits that it holds, best first. `place` has the labels of its pages,
    slides or sheets: ``{"page": 3, "page_end": 4}``. `relevance` is that of the best hit.
    """

    number: int
    id: str
    title: str | None
    path: str | None
    place: Mapping[str, Any]
    headings: tuple[str, ...]
    start: int
    end: int
    text: str
    hits: tuple[str, ...]
    relevance: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The citation as JSON values."""
        return {
            "number": self.number,
            "id": self.id,
            "title": self.title,
            "path": self.path,
            **self.place,
            "headings": list(self.headings),
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "hits": list(self.hits),
            "relevance": self.relevance,
        }


@dataclass(frozen=True, slots=True)
class Dropped:
    """A hit that is not in the context, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Cited:
    """The citations that an answer names, in the order of their first mark, and the numbers that do not exist."""

    citations: tuple[Citation, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """Passages for a prompt: `text` of `tokens` tokens, with numbered `citations`.

    `dropped` are the hits that are not in it. `cut` is true where the first passage alone was too long, and only
    its beginning is in the context. `answered` is that of the search: if it is False, these are probably not the
    sources of an answer.
    """

    text: str
    citations: tuple[Citation, ...]
    tokens: int
    dropped: tuple[Dropped, ...] = ()
    cut: bool = False
    answered: bool | None = None

    def __str__(self) -> str:
        return self.text

    def cited(self, answer: str) -> Cited:
        """The citations that a model's answer names with marks like ``[2]`` or ``[2, 3]``."""
        known = {str(each.number): each for each in self.citations}
        found: dict[str, Citation] = {}
        unknown: dict[str, None] = {}
        for mark in MARK.finditer(answer):
            for digits in mark[1].split(","):
                number = digits.strip().lstrip("0")[:_LONGEST] or "0"
                if number in known:
                    found.setdefault(number, known[number])
                else:
                    unknown.setdefault(number)
        return Cited(tuple(found.values()), tuple(unknown))

    def to_dict(self) -> dict[str, Any]:
        """The context as JSON values."""
        return {
            "text": self.text,
            "tokens": self.tokens,
            "cut": self.cut,
            "answered": self.answered,
            "citations": [each.to_dict() for each in self.citations],
            "dropped": [{"id": each.id, "reason": each.reason} for each in self.dropped],
        }
