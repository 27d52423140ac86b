"""Records: JSON Lines, and what document a record is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError
from hybridrank.ingest.files.encodings import MOST_LINE, bounded_lines, open_text, undecodable
from hybridrank.ingest.files.reading import OnBad, refuse
from hybridrank.types import Document

__all__ = ["json_lines", "json_records", "to_document"]


def to_document(
    record: Mapping[str, Any],
    where: str,
    place: Mapping[str, Any],
    *,
    text_field: str,
    id_field: str | None,
) -> Document:
    """The document of a record. `where` is its position for errors, and its id if it has none.

    Fields of the record override those of `place`, which are metadata as well.
    """
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
            metadata={**place, **metadata, **fields},
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def json_lines(
    path: Path, label: str, *, encoding: str | None = None, on_bad: OnBad = refuse, bounded: bool = False
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each line's JSON object and its position, ``label:line``. A NaN, which is not JSON, is read as null.

    Where it is `bounded`, a line may have no more than `MOST_LINE` characters.

    Raises:
        InputError: the file cannot be read; of a line that is no JSON object, `on_bad` receives.
    """
    with open_text(path, encoding=encoding, lines=True) as file:
        lines = bounded_lines(file) if bounded else file
        yield from json_records(lines, label, on_bad=on_bad, bounded=bounded)


def json_records(
    lines: Iterable[str | bytes], label: str, *, on_bad: OnBad = refuse, bounded: bool = False
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """As `json_lines`, of lines that are there; bytes are UTF-8."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{label}:{number}"
        try:
            if bounded and len(line) > MOST_LINE:
                raise InputError(f"is a line of more than {MOST_LINE:,} characters")
            record = _record(line)
        except InputError as error:
            on_bad(InputError(f"{where} {error}"))
        else:
            yield where, record


def _record(line: str | bytes) -> Mapping[str, Any]:
    if isinstance(line, str) and undecodable(line):
        raise InputError("is not UTF-8 text")
    try:
        record = json.loads(line, parse_constant=_constant)
    except ValueError as error:
        raise InputError(f"is not valid JSON: {error}") from None
    except RecursionError:
        raise InputError("is nested too deeply") from None
    if not isinstance(record, dict):
        raise InputError(f"is a {type(record).__name__}, not a JSON object")
    return record


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"{name} is no JSON number")
