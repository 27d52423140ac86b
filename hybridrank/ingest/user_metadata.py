"""Metadata that the caller of a synchronization gives, which override those of the files."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from hybridrank.errors import InputError
from hybridrank.ingest.files.reading import ReadOptions, refuse
from hybridrank.ingest.files.sources import Source
from hybridrank.ingest.files.tables import typed_rows
from hybridrank.values.json_values import json_object

__all__ = ["FileMetadata", "UserMetadata"]

FileMetadata: TypeAlias = Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]
"""Metadata fields of all files, or of each, by its absolute path."""

_KEYS = ("path", "id")
_MOST_SHOWN = 10


class UserMetadata:
    """The fields given for each document: those for its file, and its row of a table, which overrides them.

    `metadata` are fields for all files, or a function of a file's absolute path. `table` is a CSV or TSV file:
    its column ``path`` has the files' paths as the documents have them in their metadata, or its column ``id`` the
    documents' ids; the other columns are fields. An empty cell sets nothing.

    Raises:
        InputError: the table cannot be read, has neither column or both, or has two rows for one key.
    """

    def __init__(self, metadata: FileMetadata | None = None, table: str | Path | None = None) -> None:
        if metadata is not None and not callable(metadata):
            if not isinstance(metadata, Mapping):
                raise InputError(f"metadata must be a mapping or a function, not {type(metadata).__name__}")
            metadata = json_object(metadata, what="metadata")
        self._metadata = metadata
        self.table = None if table is None else Path(table).resolve()
        self._key, self._rows = ("path", {}) if self.table is None else _rows(self.table)
        self._used: set[str] = set()

    def edits(self, source: Source) -> Callable[[str], Mapping[str, Any]] | None:
        """The fields for the documents of a file, by their ids; None if none were given.

        Raises:
            InputError: the function that was given returns no mapping.
        """
        of_file = self._metadata(source.path) if callable(self._metadata) else self._metadata
        if of_file is not None and not isinstance(of_file, Mapping):
            raise InputError(f"metadata({str(source.path)!r}) returned {type(of_file).__name__}, not a mapping")
        if not of_file and not self._rows:
            return None

        def fields(doc_id: str) -> Mapping[str, Any]:
            key = source.id if self._key == "path" else doc_id
            if key not in self._rows:
                return of_file or {}
            self._used.add(key)
            return {**(of_file or {}), **self._rows[key]}

        return fields

    def unused(self) -> str | None:
        """A note on the rows that were for no document."""
        keys = sorted(self._rows.keys() - self._used)
        if not keys:
            return None
        more = f" and {len(keys) - _MOST_SHOWN:,} more" if len(keys) > _MOST_SHOWN else ""
        return f"no document has the {self._key} of these rows: {', '.join(keys[:_MOST_SHOWN])}{more}"


def _rows(table: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    key: str | None = None
    rows: dict[str, dict[str, Any]] = {}
    reading = ReadOptions(types=dict.fromkeys(_KEYS, "str"))
    for where, row in typed_rows(table, table.name, reading, refuse, _ignore):
        if key is None:
            keys = [name for name in _KEYS if name in row]
            if len(keys) != 1:
                found = "both" if keys else "neither"
                raise InputError(f"{table} needs a column path or a column id, and has {found}")
            (key,) = keys
        name = unicodedata.normalize("NFC", row.pop(key))
        if name in rows:
            raise InputError(f"{where} is a second row for {name!r}")
        rows[name] = {field: value for field, value in row.items() if value not in (None, "")}
    return key or "path", rows


def _ignore(note: str) -> None:
    """Types of columns are not worth a note."""
