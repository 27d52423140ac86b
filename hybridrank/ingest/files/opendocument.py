"""OpenDocument texts and sheets (ODT, ODS)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from hybridrank.errors import InputError
from hybridrank.ingest.files.divided import Divided, table_row
from hybridrank.ingest.files.facts import declared_fields
from hybridrank.ingest.files.office import declared_in, local_name, office_parts, readable, required_part
from hybridrank.ingest.files.reading import Content, Note, ReadOptions
from hybridrank.ingest.files.titles import telling_title
from hybridrank.ingest.files.workbooks import MOST_CELLS

__all__ = ["read_odt", "read_sheets"]

_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_DROPPED = ("annotation", "tracked-changes", "sequence-decls", "forms")
_MOST_REPEATED = 1000  # of a cell or space that is stored once


def read_odt(path: Path, reading: ReadOptions, note: Note) -> Content:  # noqa: ARG001
    """The text with its headings and list items as Markdown, a table's row in a line.

    Raises:
        InputError: it is damaged, needs a password, or unpacks to more XML than is read.
    """
    with readable(path, "ODT"):
        parts = office_parts(path)
        root = required_part(parts, "content.xml")
        blocks = list(_blocks(root))
        declared = declared_in(parts, "meta.xml")
    title = telling_title(declared.pop("title", None), path)
    heading = next((block.lstrip("#").strip() for block in blocks if block.startswith("#")), None)
    return Content("\n\n".join(blocks), title or heading, declared_fields(declared, note))


def read_sheets(path: Path, reading: ReadOptions, note: Note) -> Content:  # noqa: ARG001
    """As `read_workbook`, of an ODS.

    Raises:
        InputError: it is damaged, needs a password, or has more cells than are read.
    """
    with readable(path, "ODS"):
        parts = office_parts(path)
        sheets = Divided("sheet")
        left = MOST_CELLS
        for table in required_part(parts, "content.xml").iter(f"{_TABLE}table"):
            name = " ".join(table.get(f"{_TABLE}name", "").split()) or "?"
            lines = []
            for row in table.iter(f"{_TABLE}table-row"):
                cells = _cells(row)
                left -= len(cells)
                if left < 0:
                    raise InputError(
                        f"{str(path)!r} has more than the {MOST_CELLS:,} cells that are read, at sheet {name!r}; "
                        "save its tables as CSV"
                    )
                if line := table_row(cells):
                    lines.append(line)
            if lines:
                sheets.add(name, "\n".join((f"## {name}\n", *lines)))
        declared = declared_in(parts, "meta.xml")
    title = telling_title(declared.pop("title", None), path)
    return Content(sheets.text, title, {**declared_fields(declared, note), **sheets.metadata})


def _cells(row: Element) -> list[str]:
    cells: list[str] = []
    for cell in row:
        if local_name(cell) in ("table-cell", "covered-table-cell"):
            text = " ".join(line for part in cell.iter(f"{_TEXT}p") if (line := _line(part)))
            cells += [text] * _repeated(cell.get(f"{_TABLE}number-columns-repeated"))
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _blocks(root: Element) -> Iterator[str]:
    """Headings, paragraphs and rows in order; without recursion, sections nest as deep as they like."""
    stack = [(root, False)]
    while stack:
        element, item = stack.pop()
        kind = local_name(element)
        if kind in _DROPPED:
            continue
        if kind == "h":
            level = min(_repeated(element.get(f"{_TEXT}outline-level")), 6)
            if line := _line(element):
                yield f"{'#' * level} {line}"
        elif kind == "p":
            if line := _line(element):
                yield f"- {line}" if item else line
        elif element.tag == f"{_TABLE}table-row":
            if line := table_row(_cells(element)):
                yield line
        else:
            stack += ((child, item or kind == "list-item") for child in reversed(element))


def _line(element: Element) -> str:
    pieces: list[str] = []
    stack: list[Element | str] = [element]
    while stack:
        each = stack.pop()
        if isinstance(each, str):
            pieces.append(each)
            continue
        kind = local_name(each)
        if kind in ("s", "tab", "line-break"):
            pieces.append(" ")
        if kind in _DROPPED:
            continue
        for child in reversed(each):
            stack += [child.tail or "", child]
        stack.append(each.text or "")
    return " ".join("".join(pieces).split())


def _repeated(number: str | None) -> int:
    return min(int(number), _MOST_REPEATED) if number and number.isascii() and number.isdigit() else 1
