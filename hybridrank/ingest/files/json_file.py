"""JSON files: an array of records, one record, or any other value as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.reading import Note, OnBad, ReadOptions
from hybridrank.ingest.files.text import read_plain

__all__ = ["json_values"]

_MOST_BYTES = 256 << 20


def json_values(
    path: Path, label: str, reading: ReadOptions, on_bad: OnBad, note: Note
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The records of an array of objects, or the one that an object with the text field is, with their position,
    ``label:number``. Any other value is one record, whose text is the file, and whose id and position are `label`.

    Raises:
        InputError: the file cannot be read, or is not JSON.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{label} is larger than the {_MOST_BYTES:,} bytes of JSON that are read; use JSONL")
    except OSError as error:
        raise unreadable(path, error) from error
    text = read_plain(path, reading, note).text
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{label} is not valid JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{label} is nested too deeply") from None
    if isinstance(value, dict) and reading.text_field in value:
        value = [value]
    records = value if isinstance(value, list) else []
    if not any(isinstance(each, dict) and reading.text_field in each for each in records):
        yield label, {(reading.text_field): text, (reading.id_field or "id"): label}
        return
    for number, record in enumerate(records, start=1):
        if isinstance(record, dict):
            yield f"{label}:{number}", record
        else:
            on_bad(InputError(f"{label}:{number} is a {type(record).__name__}, not a JSON object"))
