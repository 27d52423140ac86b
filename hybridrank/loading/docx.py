"""DOCX: text with its headings as Markdown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.loading.html import to_markdown
from hybridrank.loading.packages import parsed_xml, repacked, xml_parts
from hybridrank.loading.reading import Note, Reading
from hybridrank.loading.titles import telling_title
from hybridrank.loading.word import readable_parts

__all__ = ["read_docx"]

_OLD_OR_LOCKED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # an OLE file: Word until 2003, or any with a password
_BACK_LINK = re.compile(r'<a href="#(?:foot|end)note-ref-\d+">↑</a>')
_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_MOST_NOTES = 5


def read_docx(path: Path, reading: Reading, note: Note) -> tuple[str, str | None]:  # noqa: ARG001
    """The body's text with footnotes, as Markdown, and the title from the file's properties or first heading.

    Text in fields, equations and text boxes is read, and hidden and deleted text is not. `note` is told what
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
            repacked(parts),
            style_map="p[style-name='Title'] => h1:fresh",
            include_embedded_style_map=False,
            convert_image=lambda _image: [],
        )
        title = telling_title(_title(parts), path)
    except InputError:
        raise
    except Exception as error:  # mammoth meets a damaged file with whatever it stumbles over
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from error
        raise InputError(f"{str(path)!r} is no DOCX, or damaged: {error!r}") from error
    for message in list(dict.fromkeys(message.message for message in converted.messages))[:_MOST_NOTES]:
        note(message)
    text, heading = to_markdown(_BACK_LINK.sub("", converted.value))
    return text, title or heading


def _parts(file: BinaryIO, path: Path) -> dict[str, bytes]:
    if file.read(len(_OLD_OR_LOCKED)) == _OLD_OR_LOCKED:
        raise InputError(
            f"{str(path)!r} needs a password, or is in Word's format of before 2007; "
            "save it as DOCX without a password"
        )
    file.seek(0)
    return readable_parts(xml_parts(file, path))


def _title(parts: dict[str, bytes]) -> str | None:
    if "docProps/core.xml" not in parts:
        return None
    element = parsed_xml(parts["docProps/core.xml"]).find(_TITLE)
    return None if element is None else element.text
