"""Types of a table's columns: declared by the caller, or inferred from all of a column's values.

A column is

- ``bool`` if each value is ``true`` or ``false`` (in any case),
- ``int`` or ``float`` if each is a number as JSON writes it, of at most 15 digits; with zeros at the end of
  decimals, only where all values have as many decimals (prices, not versions as 1.9 and 1.10),
- ``date`` if each is a date, or each a time, in ISO 8601 (all with a zone, or none),
- and else, or if its name says that it holds identifiers (``zip``, ``phone``, ``version``, …), ``str``.

Empty values are ignored, and are null in a column that is not ``str``. JSON has no dates: they are ISO 8601
strings, times with a zone in UTC, which sort in order.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

from hybridrank.ingest.files.reading import ColumnType

__all__ = ["Inference", "converted"]

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_MOST_DIGITS = 15  # what a double keeps
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_IDENTIFIER = re.compile(
    r"(?:.*[\W_])?(?:ids?|code|zip|zipcode|postcode|plz|phone|telephone|tel|fax|mobile|isbn|issn|ean|gtin|upc|sku|"
    r"doi|version|release|ip)|.*[a-z](?:Id|ID|Code|Version)",
)


class Inference:
    """The common type of a column's values; `add` takes them, in parts if necessary."""

    def __init__(self, name: str) -> None:
        self._kinds = set() if _is_identifier(name) else {"bool", "int", "float", "date", "time", "zoned"}
        self._decimals: set[int] = set()
        self._trailing = False
        self._any = False
        self.odd: str | None = None
        """The value for which a column is text, when all before it had another type."""

    @property
    def open(self) -> bool:
        """Whether further values can change anything."""
        return bool(self._kinds)

    def add(self, value: str) -> None:
        """Take one value."""
        if value and self._kinds:
            self._kinds &= self._possible(value)
            if self._any and not self._kinds:
                self.odd = value
            self._any = True

    @property
    def kind(self) -> ColumnType:
        """The column's type, for the values so far."""
        if not self._any:
            return "str"
        inferred: ColumnType
        for inferred in ("bool", "int", "float"):
            if inferred in self._kinds:
                return inferred
        return "date" if self._kinds else "str"

    def _possible(self, value: str) -> set[str]:
        if value.lower() in ("true", "false"):
            return {"bool"}
        if number := _NUMBER.fullmatch(value):
            return self._numbers(value, number)
        if _DATE.fullmatch(value):
            return {"date"} if _iso(value) else set()
        if time := _TIME.fullmatch(value):
            return {"zoned" if time[1] else "time"} if _iso(value) else set()
        return set()

    def _numbers(self, value: str, number: re.Match[str]) -> set[str]:
        whole, decimals = number[1], number[2]
        if len(whole) + len(decimals or "") > _MOST_DIGITS or not _finite(value):
            return set()
        if decimals is None and "e" not in value.lower():
            return set() if value == "-0" else {"int", "float"}
        if decimals is not None:
            self._decimals.add(len(decimals))
            self._trailing = self._trailing or decimals.endswith("0")
            if self._trailing and len(self._decimals) > 1:
                return set()
        return {"float"}


def converted(value: str, kind: ColumnType) -> Any:
    """A value in its column's type.

    Raises:
        ValueError: it is none of the type.
    """
    if kind == "str":
        return value
    bare = value.strip()
    if not bare:
        return None
    if kind == "bool":
        if bare.lower() not in ("true", "false"):
            raise ValueError
        return bare.lower() == "true"
    if kind == "date":
        return _iso(bare, strict=True)
    number = _NUMBER.fullmatch(bare)
    if number is None or not _finite(bare):
        raise ValueError
    if kind == "int":
        if number[2] is not None or "e" in bare.lower():
            raise ValueError
        return int(bare)
    return float(bare)


def _is_identifier(name: str) -> bool:
    return _IDENTIFIER.fullmatch(name) is not None or _IDENTIFIER.fullmatch(name.lower()) is not None


def _finite(value: str) -> bool:
    return len(value) < 400 and abs(float(value)) != float("inf")


def _iso(value: str, *, strict: bool = False) -> str | None:
    """A date or time in ISO 8601, in UTC if it has a zone; None, or a ValueError, if it is none."""
    try:
        if _DATE.fullmatch(value):
            return date.fromisoformat(value).isoformat()
        if _TIME.fullmatch(value) is None:
            raise ValueError
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo is None else time.astimezone(UTC)).isoformat()
    except (ValueError, OverflowError):
        if strict:
            raise ValueError from None
        return None
