"""DOCX: text with its headings as Markdown."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.facts import declared_fields, one_line
from hybridrank.ingest.files.html import to_markdown
from hybridrank.ingest.files.packages import parsed_xml, repacked, xml_parts
from hybridrank.ingest.files.reading import Content, Note, ReadOptions
from hybridrank.ingest.files.titles import telling_title
from hybridrank.ingest.files.word import TooMuch, readable_parts

__all__ = ["read_docx"]

_OLD_OR_LOCKED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # an OLE file: Word until 2003, or any with a password
_BACK_LINK = re.compile(r'<a href="#(?:foot|end)note-ref-\d+">↑</a>')
_DC, _TERMS = "{http://purl.org/dc/elements/1.1/}", "{http://purl.org/dc/terms/}"
_CORE = "{http://schemas.openxmlformats.org/package/2006/metadata/core-properties}"
_PROPERTIES = {
    "title": f"{_DC}title",
    "author": f"{_DC}creator",
    "subject": f"{_DC}subject",
    "description": f"{_DC}description",
    "language": f"{_DC}language",
    "keywords": f"{_CORE}keywords",
    "created": f"{_TERMS}created",
}
_MOST_NOTES = 5
_STYLES = "\n".join(
    (
        "p[style-name='Title'] => h1:fresh",
        *(f"p.Heading{level} => h{level}:fresh" for level in range(1, 7)),
        *(f"p[style-name='heading {level}'] => h{level}:fresh" for level in range(1, 7)),
        "p[style-name='Heading'] => h1:fresh",  # of Pages
        *(
            f"p:{kind}-list({level}) => ul > li:fresh"
            for kind in ("unordered", "ordered")
            for level in range(1, 10)
        ),
        "p => p:fresh",
    )
)
# What mammoth meets a damaged file with. Not Exception: what a signal handler raises is no fault of the file.
_DAMAGED = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, NotImplementedError, TypeError,
    ValueError, ElementTree.ParseError, ExpatError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_docx(path: Path, reading: ReadOptions, note: Note) -> Content:  # noqa: ARG001
    """The body's text with footnotes, as Markdown, and the title from the file's properties or first heading. The
    metadata are the file's properties.

    Text in fields, equations and text boxes is read, and hidden and deleted text is not. `note` receives what
    mammoth left out.

    Raises:
        InputError: it is damaged, needs a password, or unpacks to more XML than any honest file.
        MissingDependencyError: mammoth or selectolax is not installed.
    """
    try:
        import mammoth
    except ImportError as error:
        raise MissingDependencyError('reading DOCX needs mammoth; pip install "hybridrank[files]"') from error

    try:
        with path.open("rb") as file:
            parts = _parts(file, path)
        converted = mammoth.convert_to_html(
            repacked(readable_parts(parts)),
            style_map=_STYLES,
            include_default_style_map=False,
            include_embedded_style_map=False,
            convert_image=lambda _image: [],
        )
        properties = _properties(parts)
    except InputError:
        raise
    except TooMuch as error:
        raise InputError(f"{str(path)!r} {error}; save it in parts") from error
    except RecursionError as error:
        raise InputError(f"{str(path)!r} nests tables or fields too deeply to be read") from error
    except _DAMAGED as error:
        raise InputError(f"{str(path)!r} is no DOCX, or damaged: {error!r}") from error
    except OSError as error:
        if error.errno is None and not isinstance(error, TimeoutError):  # mammoth's
            raise InputError(f"{str(path)!r} is no DOCX, or damaged: {error!r}") from error
        raise unreadable(path, error) from error
    for message in list(dict.fromkeys(message.message for message in converted.messages))[:_MOST_NOTES]:
        note(message)
    text, heading = to_markdown(_BACK_LINK.sub("", converted.value))
    title = telling_title(properties.pop("title", None), path)
    fields = declared_fields({name: one_line(value) for name, value in properties.items()}, note)
    return Content(text, title or heading, fields)


def _parts(file: BinaryIO, path: Path) -> dict[str, bytes]:
    if file.read(len(_OLD_OR_LOCKED)) == _OLD_OR_LOCKED:
        raise InputError(
            f"{str(path)!r} needs a password, or is in Word's format of before 2007; "
            "save it as DOCX without a password"
        )
    file.seek(0)
    return xml_parts(file, path)


def _properties(parts: dict[str, bytes]) -> dict[str, str | None]:
    """The core properties (ECMA-376, part 2) that `_PROPERTIES` names."""
    if "docProps/core.xml" not in parts:
        return {}
    core = parsed_xml(parts["docProps/core.xml"])
    found = {name: core.find(tag) for name, tag in _PROPERTIES.items()}
    return {name: element.text for name, element in found.items() if element is not None}
