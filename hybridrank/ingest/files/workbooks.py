"""Workbooks (XLSX): the cells of each sheet, a row in a line."""

from __future__ import annotations

import warnings
from pathlib import Path

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.ingest.files.divided import Divided, table_row
from hybridrank.ingest.files.facts import declared_fields
from hybridrank.ingest.files.office import declared_in, office_parts, readable
from hybridrank.ingest.files.packages import repacked
from hybridrank.ingest.files.reading import Content, Note, ReadOptions
from hybridrank.ingest.files.titles import telling_title

__all__ = ["MOST_CELLS", "read_workbook"]

MOST_CELLS = 2_000_000
"""Of a workbook, with the empty ones between others."""

_MOST_ROWS = 200_000  # of all sheets, with the empty ones


def read_workbook(path: Path, reading: ReadOptions, note: Note) -> Content:  # noqa: ARG001
    """Each sheet with its name as a heading, a row in a line, cells between ``|``; sheets are divisions. Formulas
    are their last values, dates ISO 8601.

    Raises:
        InputError: it is damaged, needs a password, or has more cells than are read.
        MissingDependencyError: openpyxl is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise MissingDependencyError('reading XLSX needs openpyxl; pip install "hybridrank[files]"') from error

    sheets = Divided("sheet")
    cells, rows = MOST_CELLS, _MOST_ROWS
    with readable(path, "XLSX"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that are not read
        parts = office_parts(path)
        for part in parts.values():
            _refuse_document_type(part)
        workbook = openpyxl.load_workbook(repacked(parts), read_only=True, data_only=True)
        for sheet in workbook.worksheets:
            sheet.reset_dimensions()  # those that it declares may be anything
            lines = []
            for row in sheet.iter_rows(values_only=True):
                cells -= len(row)
                rows -= 1
                if cells < 0 or rows < 0:
                    raise InputError(
                        f"{str(path)!r} has more than the {MOST_CELLS:,} cells or {_MOST_ROWS:,} rows that are "
                        f"read, at sheet {sheet.title!r}; save its tables as CSV"
                    )
                if line := table_row(["" if value is None else _cell(value) for value in row]):
                    lines.append(line)
            if lines:
                sheets.add(sheet.title, "\n".join((f"## {' '.join(sheet.title.split())}\n", *lines)))
        declared = declared_in(parts, "docProps/core.xml")
    title = telling_title(declared.pop("title", None), path)
    return Content(sheets.text, title, {**declared_fields(declared, note), **sheets.metadata})


def _refuse_document_type(part: bytes) -> None:
    """openpyxl's parser expands entities; no office file has any."""
    head = part[:4096].replace(b"\0", b"")
    if b"<!DOCTYPE" in head:
        raise ValueError("it has a document type declaration")


def _cell(value: object) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    iso = getattr(value, "isoformat", None)
    return str(iso()).removesuffix("T00:00:00") if iso is not None else str(value)
