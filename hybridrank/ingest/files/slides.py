"""Slides (PPTX): a heading and text for each slide."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from hybridrank.ingest.files.divided import Divided, table_row
from hybridrank.ingest.files.facts import declared_fields
from hybridrank.ingest.files.office import declared_in, local_name, office_parts, readable, required_part
from hybridrank.ingest.files.reading import Content, Note, ReadOptions
from hybridrank.ingest.files.titles import telling_title

__all__ = ["read_slides"]

_MAIN = "ppt/presentation.xml"
_RELATIONS = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_STRICT = "{http://purl.oclc.org/ooxml/officeDocument/relationships}"
_TITLES = ("title", "ctrTitle")


def read_slides(path: Path, reading: ReadOptions, note: Note) -> Content:  # noqa: ARG001
    """Each slide's title as a heading, its text, tables and notes; slides are divisions. Hidden slides are read.

    Raises:
        InputError: it is damaged, needs a password, or unpacks to more XML than is read.
    """
    with readable(path, "PPTX"):
        parts = office_parts(path)
        slides = Divided("slide")
        for number, name in enumerate(_order(parts), start=1):
            blocks = list(_blocks(required_part(parts, name)))
            for target, kind in _relations(parts, name).values():
                if kind.endswith("/notesSlide") and target in parts:
                    blocks += _blocks(required_part(parts, target), only="body")
            slides.add(number, "\n\n".join(blocks))
        declared = declared_in(parts, "docProps/core.xml")
    title = telling_title(declared.pop("title", None), path)
    return Content(slides.text, title, {**declared_fields(declared, note), **slides.metadata})


def _order(parts: dict[str, bytes]) -> Iterator[str]:
    relations = _relations(parts, _MAIN)
    for element in required_part(parts, _MAIN).iter():
        if local_name(element) == "sldId":
            key = element.get(f"{_RELATIONS}id") or element.get(f"{_STRICT}id") or ""
            yield relations[key][0]


def _relations(parts: dict[str, bytes], name: str) -> dict[str, tuple[str, str]]:
    """The parts that a part refers to, by id: their names and kinds."""
    folder, base = posixpath.split(name)
    relations = f"{folder}/_rels/{base}.rels"
    return {
        each.get("Id", ""): (
            posixpath.normpath(posixpath.join("/", folder, each.get("Target", ""))).lstrip("/"),
            each.get("Type", ""),
        )
        for each in (required_part(parts, relations) if relations in parts else ())
    }


def _blocks(root: Element, only: str | None = None) -> Iterator[str]:
    """The text of shapes and tables, in order; without recursion, groups nest as deep as they like."""
    for element in root.iter():
        kind = local_name(element)
        if kind == "sp":
            placeholder = element.find("./{*}nvSpPr/{*}nvPr/{*}ph")
            role = None if placeholder is None else placeholder.get("type", "body")
            if (only is not None and role != only) or role in ("sldNum", "dt", "ftr"):
                continue
            lines = [line for body in element if local_name(body) == "txBody" for line in _lines(body)]
            if role in _TITLES and lines:
                yield f"## {' '.join(lines)}"
            elif lines:
                yield "\n".join(lines)
        elif kind == "tbl" and only is None:
            rows = (
                table_row([" ".join(_lines(cell)) for cell in row if local_name(cell) == "tc"])
                for row in element
                if local_name(row) == "tr"
            )
            if table := "\n".join(filter(None, rows)):
                yield table


def _lines(body: Element) -> list[str]:
    """The paragraphs of a text body, or of the bodies in a cell."""
    lines = []
    for paragraph in body.iterfind("./{*}txBody/{*}p" if local_name(body) == "tc" else "./{*}p"):
        pieces = []
        for run in paragraph:
            pieces += ["\n"] if local_name(run) == "br" else [text.text or "" for text in run.iterfind("./{*}t")]
        if line := " ".join("".join(pieces).split()):
            lines.append(line)
    return lines
