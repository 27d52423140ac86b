"""Divisions of a text that its file has: pages, slides, sheets.

A reader stores them in the metadata of a document, under ``divisions``: for each kind, where each division starts,
in characters of the document's text, and its label, in order: ``{"page": [[0, 1], [1834, 2]]}``, or
``{"sheet": [[0, "Sales"], [310, "Costs"]]}``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

__all__ = ["DIVISIONS", "divisions_at", "metadata_at"]

DIVISIONS = "divisions"
"""The metadata field."""


def divisions_at(metadata: Mapping[str, Any], start: int, end: int) -> dict[str, Any]:
    """The labels of the divisions that a part of the text lies in, by kind.

    A part that ends in a later division than it starts in has that one's label too, under ``<kind>_end``. What is
    stored under ``divisions`` but has another form is ignored: metadata are the user's.

    >>> divided = {"divisions": {"page": [[0, 1], [1834, 2]]}, "author": "Ada"}
    >>> divisions_at(divided, 100, 1900)
    {'page': 1, 'page_end': 2}
    >>> divisions_at(divided, 1834, 1900)
    {'page': 2}
    """
    found: dict[str, Any] = {}
    stored = metadata.get(DIVISIONS)
    for kind, starts in stored.items() if isinstance(stored, Mapping) else ():
        if not _is_sound(starts):
            continue
        first, last = (
            bisect_right(starts, at, key=lambda each: each[0]) - 1 for at in (start, max(start, end - 1))
        )
        if last >= 0:
            first = max(first, 0)
            found[kind] = starts[first][1]
            if last > first:
                found[f"{kind}_end"] = starts[last][1]
    return found


def metadata_at(metadata: Mapping[str, Any], start: int, end: int) -> Mapping[str, Any]:
    """The metadata of a part of a document: the document's, with `divisions_at` the part instead of all divisions.

    >>> metadata_at({"divisions": {"page": [[0, 1], [1834, 2]]}, "author": "Ada"}, 1834, 1900)
    {'author': 'Ada', 'page': 2}
    """
    if DIVISIONS not in metadata:
        return metadata
    others = {name: value for name, value in metadata.items() if name != DIVISIONS}
    return {**others, **divisions_at(metadata, start, end)}


def _is_sound(starts: Any) -> bool:
    return isinstance(starts, (list, tuple)) and all(
        isinstance(each, (list, tuple)) and len(each) == 2 and type(each[0]) is int for each in starts
    )
