"""Parquet: rows as records with JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.reading import OnBad, refuse
from hybridrank.ingest.files.tables import require_distinct

__all__ = ["rows"]

_BATCH = 256  # rows held as Python objects at a time


def rows(path: Path, label: str, *, on_bad: OnBad = refuse) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row with its place, ``label:row`` from 1; a row group is read at a time, by pieces.

    Times are ISO 8601 strings (those with a zone in UTC, to the microsecond), durations seconds, decimals and
    NaN what they are in JSON: a number, and null. Bytes are text where they are UTF-8, otherwise an error.

    Raises:
        InputError: the file is no Parquet or damaged; `on_bad` receives of a row with a value that has no
            JSON form.
        MissingDependencyError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError('reading Parquet needs pyarrow; pip install "hybridrank[files]"') from error

    failures = (pyarrow.ArrowException, OSError, ValueError, KeyError, OverflowError)
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema = pyarrow.schema([field.with_type(_plain(pyarrow, field.type)) for field in file.schema_arrow])
            require_distinct(schema.names, label)
            for batch in file.iter_batches(batch_size=_BATCH):
                for record in batch.cast(schema, safe=False).to_pylist(maps_as_pydicts="strict"):
                    number += 1
                    where = f"{label}:{number}"
                    try:
                        row = {name: _json(value, where, name) for name, value in record.items()}
                    except InputError as error:
                        on_bad(error)
                    else:
                        yield where, row
    except InputError:
        raise
    except TimeoutError as error:
        raise unreadable(path, error) from error
    except failures as error:
        place = f" after row {number}" if number else ""
        raise InputError(f"{str(path)!r} cannot be read as Parquet{place}: {error}") from error


def _plain(pyarrow: Any, kind: Any) -> Any:
    """The same type with no unit finer than Python's, and no zone but UTC."""
    types = pyarrow.types
    if types.is_timestamp(kind):
        return pyarrow.timestamp("us" if kind.unit == "ns" else kind.unit, tz=kind.tz and "UTC")
    if types.is_time64(kind):
        return pyarrow.time64("us")
    if types.is_duration(kind) and kind.unit == "ns":
        return pyarrow.duration("us")
    if types.is_struct(kind):
        return pyarrow.struct([field.with_type(_plain(pyarrow, field.type)) for field in kind])
    if types.is_list(kind) or types.is_large_list(kind):
        make = pyarrow.list_ if types.is_list(kind) else pyarrow.large_list
        return make(kind.value_field.with_type(_plain(pyarrow, kind.value_type)))
    return kind


def _json(value: Any, where: str, field: str) -> Any:
    """A value of pyarrow's as JSON has it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if math.isinf(value):
                raise InputError(f"{where}: field {field!r} holds {value}, which is no JSON number")
            return None if math.isnan(value) else value
        case list() | tuple():
            return [_json(item, where, field) for item in value]
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise InputError(f"{where}: field {field!r} holds a map whose keys are no strings")
            return {key: _json(item, where, field) for key, item in value.items()}
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case UUID():
            return str(value)
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                raise InputError(f"{where}: field {field!r} holds bytes that are not UTF-8 text") from None
    raise InputError(f"{where}: field {field!r} holds a {type(value).__name__}, which JSON does not know")
