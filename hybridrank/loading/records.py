"""Records: JSON Lines and tables with a delimiter, and what document a record is."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError
from hybridrank.loading.text import opened
from hybridrank.types import Document

__all__ = ["comma_separated", "json_lines", "json_records", "require_distinct", "tab_separated", "to_document"]


def to_document(record: Mapping[str, Any], where: str, *, text_field: str, id_field: str | None) -> Document:
    """The document that a record is. `where` says in errors where it stands, and is its id if it has none."""
    fields = dict(record)
    if text_field not in fields:
        raise InputError(
            f"{where} has no field {text_field!r} (it has: {', '.join(map(str, fields)) or 'none'}); "
            "say which one holds the text"
        )
    if id_field is not None and id_field not in fields:
        raise InputError(f"{where} has no field {id_field!r} for the id (it has: {', '.join(map(str, fields))})")
    text = fields.pop(text_field)
    names = [id_field] if id_field is not None else [name for name in ("id", "_id") if name in fields]
    given = fields.pop(names[0]) if names else where
    title = fields.pop("title", None)
    metadata = fields.pop("metadata", None)
    if not isinstance(metadata, dict):
        metadata = {} if metadata is None else {"metadata": metadata}
    try:
        return Document(
            id=str(given) if type(given) is int else given,
            text=text,
            title=title or None,
            metadata={**metadata, **fields},
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def json_lines(path: Path, label: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each line's JSON object and its place, ``label:line``. A NaN, which is no JSON, is read as null."""
    with opened(path) as file:
        yield from json_records(file, label)


def json_records(lines: Iterable[str | bytes], label: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """As `json_lines`, of lines that are there; bytes are UTF-8."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{label}:{number}"
        try:
            record = json.loads(line, parse_constant=_constant)
        except ValueError as error:
            raise InputError(f"{where} is not valid JSON: {error}") from None
        except RecursionError:
            raise InputError(f"{where} is nested too deeply") from None
        if not isinstance(record, dict):
            raise InputError(f"{where} is a {type(record).__name__}, not a JSON object")
        yield where, record


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"{name} is no JSON number")


def comma_separated(path: Path, label: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each row by the header's names, and its place, ``label:line`` of its last line."""
    return _table(path, label, ",")


def tab_separated(path: Path, label: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """As `comma_separated`, with tabs."""
    return _table(path, label, "\t")


def _table(path: Path, label: str, delimiter: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    csv.field_size_limit(sys.maxsize)
    with opened(path, newline="") as file:
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = next(rows, [])
            require_distinct(header, label)
            for row in rows:
                where = f"{label}:{rows.line_num}"
                if not row:
                    continue
                if len(row) != len(header):
                    raise InputError(f"{where} has {len(row)} fields, the header has {len(header)}")
                yield where, dict(zip(header, row, strict=True))
        except csv.Error as error:
            raise InputError(f"{label}:{rows.line_num} cannot be read: {error}") from None


def require_distinct(names: list[str], label: str) -> None:
    """Refuse a table in which one column would hide another."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{label} has more than one column named {', '.join(map(repr, twice))}")
