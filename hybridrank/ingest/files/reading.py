"""Options for reading files, and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from hybridrank.errors import InputError
from hybridrank.ingest.files.encodings import known_encoding

__all__ = ["ColumnType", "Content", "Note", "OnBad", "OnError", "ReadOptions", "refuse"]

ColumnType: TypeAlias = Literal["str", "int", "float", "bool", "date"]
OnError: TypeAlias = Literal["skip", "raise"]

Note: TypeAlias = Callable[[str], None]
"""Called with what was assumed or lost in reading a file."""

OnBad: TypeAlias = Callable[[InputError], None]
"""Called with what is wrong with a record that is left out; or raises it."""


_NOTHING: Mapping[str, Any] = {}


class Content(NamedTuple):
    """The content of a file that is one document: its text, its title, and the metadata that it declares.

    `metadata` may have the text's divisions (`hybridrank.values.divisions`).
    """

    text: str
    title: str | None = None
    metadata: Mapping[str, Any] = _NOTHING


def refuse(error: InputError) -> None:
    """Leave nothing out."""
    raise error


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the caller chose.

    `types` are those of a table's columns by name, or one for all of them; where none is given, a column's type is
    inferred. `quotes` says whether quotation marks around a field are no part of it: None means in CSV, but not in
    TSV. `on_error` says whether a record that cannot be used is left out, or its file refused.
    `file_metadata` says whether documents say which file they come from.

    Raises:
        InputError: an encoding or a type is not known.
    """

    text_field: str = "text"
    id_field: str | None = None
    encoding: str | None = None
    types: ColumnType | Mapping[str, ColumnType] = field(default_factory=dict)
    quotes: bool | None = None
    on_error: OnError = "skip"
    file_metadata: bool = True

    def __post_init__(self) -> None:
        if self.encoding is not None:
            known_encoding(self.encoding)
        if self.on_error not in get_args(OnError):
            raise InputError(f"on_error must be 'skip' or 'raise', not {self.on_error!r}")
        types = {"": self.types} if isinstance(self.types, str) else self.types
        if not isinstance(types, Mapping):
            raise InputError(f"types must map columns to types, or be one type, not {type(types).__name__}")
        for column, kind in types.items():
            if kind not in get_args(ColumnType):
                of = f" of column {column!r}" if column else ""
                raise InputError(f"the type{of} must be one of {', '.join(get_args(ColumnType))}, not {kind!r}")

    def choices(self, *, table: bool) -> list[Any]:
        """All that a file's documents depend on, of what was chosen; for a digest."""
        chosen: list[Any] = [self.encoding] if self.encoding is not None else []
        chosen += [] if self.file_metadata else ["no file metadata"]
        if table:
            types = self.types if isinstance(self.types, str) else dict(sorted(self.types.items()))
            chosen += [self.text_field, self.id_field, types, self.quotes, self.on_error]
        return chosen
