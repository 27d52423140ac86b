"""Tables in text files: CSV, of which the header tells the delimiter, and TSV.

In CSV (RFC 4180), quotation marks around a field may hold delimiters and line ends. TSV (IANA's
text/tab-separated-values) has no quoting: a mark is a character like any other.

A row that cannot be used costs no other: one with a quotation mark that is never closed is given up with its first
line, and reading goes on with the next.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError
from hybridrank.ingest.files.columns import Inference, converted
from hybridrank.ingest.files.encodings import MOST_LINE, bounded_lines, open_text, undecodable
from hybridrank.ingest.files.reading import ColumnType, Note, OnBad, ReadOptions, refuse

__all__ = ["comma_separated", "require_distinct", "tab_separated", "typed_rows"]

_DELIMITERS = ",;\t|"  # of CSV; the earlier of those that are as frequent
_TOO_LONG = f"it has a line of more than {MOST_LINE:,} characters"
_MOST_REPORTED = 40  # characters of a value

_AS_IT_IS = ReadOptions()

_Row = tuple[int, list[str]]


def comma_separated(
    path: Path, label: str, reading: ReadOptions = _AS_IT_IS, on_bad: OnBad = refuse
) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row by the header's names, and its place, ``label:line`` of its first line.

    The delimiter is the most frequent in the header outside quotation marks, of comma, semicolon, tab and bar;
    or what a line ``sep=`` before it says. A column without a name is called ``column_<place>``, and its empty
    fields are left out.

    Raises:
        InputError: the file cannot be read, or two columns have one name.
    """
    return _table(path, label, None, reading, on_bad)


def tab_separated(
    path: Path, label: str, reading: ReadOptions = _AS_IT_IS, on_bad: OnBad = refuse
) -> Iterator[tuple[str, dict[str, str]]]:
    """As `comma_separated`, with tabs, and no quoting unless `reading` asks for it."""
    return _table(path, label, "\t", reading, on_bad)


def typed_rows(
    path: Path, label: str, reading: ReadOptions, on_bad: OnBad, note: Note
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A table's rows with typed values, for documents; the file is read twice.

    `note` receives the types of the columns that are no text.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else None
    types, odd = _types(path, label, delimiter, reading)
    if typed := ", ".join(f"{name}: {kind}" for name, kind in types.items() if kind != "str"):
        note(f"types of columns: {typed}")
    for name, value in odd.items():
        note(f"column {name!r} is text, as {_short(value)} is of no type that the values before it have")
    if isinstance(reading.types, Mapping) and types and (absent := [n for n in reading.types if n not in types]):
        note(f"types were given for columns that it does not have: {', '.join(map(repr, absent))}")
    for where, row in _table(path, label, delimiter, reading, on_bad):
        try:
            yield where, {name: _value(value, types.get(name, "str"), name) for name, value in row.items()}
        except ValueError as error:
            on_bad(InputError(f"{where}: {error}"))


def _value(value: str, kind: ColumnType, name: str) -> Any:
    try:
        return converted(value, kind)
    except ValueError:
        raise ValueError(f"field {name!r} is no {kind}: {_short(value)}") from None


def _short(value: str) -> str:
    return repr(value if len(value) <= _MOST_REPORTED else value[:_MOST_REPORTED] + "…")


def _types(
    path: Path, label: str, delimiter: str | None, reading: ReadOptions
) -> tuple[dict[str, ColumnType], dict[str, str]]:
    """The types of all columns, those of the text, the id and the title left as they are; and the values that keep
    columns from the type that the values before them have.
    """
    kept = {reading.text_field, "title", "metadata", *([reading.id_field] if reading.id_field else ("id", "_id"))}
    types: dict[str, ColumnType] = {}
    inferences: dict[str, Inference] = {}
    odd: dict[str, str] = {}
    for _, row in _table(path, label, delimiter, reading, _ignore):
        if not types:
            given = {"": reading.types} if isinstance(reading.types, str) else reading.types
            for name in row:
                types[name] = "str" if name in kept else given.get(name, given.get("", "str"))
                if name not in kept and name not in given and "" not in given:
                    inferences[name] = Inference(name)
        if not inferences:
            break
        for name in [*inferences]:
            if name in row:
                inferences[name].add(row[name])
                if not inferences[name].open:
                    value = inferences.pop(name).odd
                    odd |= {} if value is None else {name: value}
    types |= {name: inference.kind for name, inference in inferences.items()}
    return types, odd


def _ignore(error: InputError) -> None:
    """It is reported when the rows are read for use."""


def _table(
    path: Path, label: str, delimiter: str | None, reading: ReadOptions, on_bad: OnBad
) -> Iterator[tuple[str, dict[str, str]]]:
    quotes = delimiter is None if reading.quotes is None else reading.quotes
    with open_text(path, newline="", encoding=reading.encoding, lines=True) as file:
        lines = enumerate(bounded_lines(file), start=1)
        first = next(lines, (1, ""))
        if delimiter is None and (said := first[1].rstrip("\r\n").lower()).startswith("sep=") and len(said) == 5:
            delimiter, first = said[4], next(lines, (2, ""))
        rows = _Rows(_chained(first, lines), first[1], delimiter, quotes=quotes)
        try:
            number, header = next(rows, (1, []))
        except csv.Error as error:
            raise InputError(f"{label}: its header cannot be read: {error}") from None
        names = _names(header, label)
        unnamed = {name for name, given in zip(names, header, strict=True) if not given.strip()}
        while True:
            try:
                number, row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                on_bad(InputError(f"{label}:{rows.number} cannot be read: {error}"))
                continue
            if not row or row == [""]:
                continue
            if problem := _problem(row, names):
                on_bad(InputError(f"{label}:{number} {problem}"))
                continue
            fields = dict(zip(names, row, strict=True))
            if unnamed:
                fields = {name: value for name, value in fields.items() if value or name not in unnamed}
            yield f"{label}:{number}", fields


def _chained(first: tuple[int, str], others: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    if first[1]:
        yield first
    yield from others


def _names(header: Sequence[str], label: str) -> list[str]:
    names = [name.strip() or f"column_{place}" for place, name in enumerate(header, start=1)]
    if any("\0" in name or undecodable(name) for name in names):
        raise InputError(f"{label} is not text: its header holds NUL characters or bytes of another encoding")
    require_distinct(names, label)
    return names


def _problem(row: Sequence[str], names: Sequence[str]) -> str | None:
    if len(row) != len(names):
        return f"has {len(row)} fields, the header has {len(names)}"
    if any("\0" in value for value in row):
        return "holds a NUL character"
    if any(map(undecodable, row)):
        return "is not UTF-8 text"
    return None


class _Rows:
    """Rows with the numbers of their first lines; on a `csv.Error`, `number` is that of the row given up."""

    def __init__(
        self, lines: Iterator[tuple[int, str]], header: str, delimiter: str | None, *, quotes: bool
    ) -> None:
        self.number = 0
        self._lines = lines
        self._again: deque[tuple[int, str]] = deque()  # lines of a row that was given up, but its first
        self._row: list[tuple[int, str]] = []
        self._delimiter = delimiter or _delimiter(header, quotes=quotes)
        self._reader: Any = None
        if quotes:
            csv.field_size_limit(sys.maxsize)
            self._reader = csv.reader(self._texts(), delimiter=self._delimiter, strict=True)

    def __iter__(self) -> _Rows:
        return self

    def __next__(self) -> _Row:
        self._row.clear()
        if self._reader is None:
            self.number, line = next(self._lines)
            if len(line) > MOST_LINE:
                raise csv.Error(_TOO_LONG)
            return self.number, line.rstrip("\r\n").split(self._delimiter)
        try:
            row = next(self._reader)
        except csv.Error:
            self.number = self._row[0][0]
            self._again.extendleft(reversed(self._row[1:]))
            self._reader = csv.reader(self._texts(), delimiter=self._delimiter, strict=True)
            raise
        self.number = self._row[0][0]
        return self.number, row

    def _texts(self) -> Iterator[str]:
        while True:
            line = self._again.popleft() if self._again else next(self._lines, None)
            if line is None:
                return
            self._row.append(line)
            if len(line[1]) > MOST_LINE:
                raise csv.Error(_TOO_LONG)
            yield line[1]


def _delimiter(header: str, *, quotes: bool) -> str:
    """The most frequent delimiter in a table's first line, outside quotation marks."""
    outside = "".join(header.split('"')[::2]) if quotes else header
    return max(_DELIMITERS, key=outside.count) if any(map(outside.count, _DELIMITERS)) else ","


def require_distinct(names: Sequence[str], label: str) -> None:
    """Refuse a table in which one column would hide another."""
    if twice := sorted(name for name, number in Counter(names).items() if number > 1):
        raise InputError(f"{label} has more than one column named {', '.join(map(repr, twice))}")
