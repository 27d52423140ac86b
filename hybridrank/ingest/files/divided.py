"""The text of a file that has slides or sheets, and where each of them starts."""

from __future__ import annotations

from typing import Any

from hybridrank.values.divisions import DIVISIONS

__all__ = ["Divided", "table_row"]

_BETWEEN = "\n\n"


class Divided:
    """Takes the texts of divisions in order; `kind` is ``slide`` or ``sheet``."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._texts: list[str] = []
        self._starts: list[list[Any]] = []
        self._length = 0

    def add(self, label: str | int, text: str) -> None:
        """Add a division's text; an empty one leaves no trace."""
        if text := text.strip():
            self._starts.append([self._length, label])
            self._texts.append(text)
            self._length += len(text) + len(_BETWEEN)

    @property
    def text(self) -> str:
        """The whole text."""
        return _BETWEEN.join(self._texts)

    @property
    def metadata(self) -> dict[str, Any]:
        """The divisions, as `hybridrank.values.divisions` describes them."""
        return {DIVISIONS: {self._kind: self._starts}} if self._starts else {}


def table_row(cells: list[str]) -> str:
    """A row of a table in a line, without the empty cells at its end.

    >>> table_row(["month", "", "sum", ""])
    'month |  | sum'
    """
    lines = [" ".join(cell.split()) for cell in cells]
    while lines and not lines[-1]:
        lines.pop()
    return " | ".join(lines)
