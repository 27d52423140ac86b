"""How the commands that read files are told to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer

__all__ = ["EncodingOption", "OnErrorOption", "QuotesOption", "TypesOption", "parsed_types"]

EncodingOption = Annotated[
    str | None,
    typer.Option(help="The encoding of text files that have no byte order mark and declare none; else UTF-8."),
]
TypesOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Types of columns of CSV and TSV, as year=int,zip=str, of str, int, float, bool, date; or one for "
        "all, as str. The others are inferred."
    ),
]
QuotesOption = Annotated[
    bool | None, typer.Option(help="Whether quotation marks enclose fields: by default in CSV, not in TSV.")
]
OnErrorOption = Annotated[
    Literal["skip", "raise"],
    typer.Option(
        help="What to do with a record that cannot be used: skip it, or raise it as an error of its file."
    ),
]


def parsed_types(given: Sequence[str] | None) -> Any:
    """The types that ``--types`` says: one for all columns, or by column.

    Raises:
        InputError: it says neither.
    """
    from hybridrank.errors import InputError

    parts = [part.strip() for text in given or () for part in text.split(",")]
    if len(parts) == 1 and "=" not in parts[0]:
        return parts[0]
    types: dict[str, str] = {}
    for part in parts:
        column, equals, kind = part.rpartition("=")
        if not equals or not column.strip():
            raise InputError(f"--types is as in year=int,zip=str, or one type for all columns, not {part!r}")
        types[column.strip()] = kind.strip()
    return types
