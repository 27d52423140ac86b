"""DOCX: text with its headings as Markdown."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.loading.html import to_markdown
from hybridrank.loading.text import first_heading

__all__ = ["read_docx"]

_MOST_XML = 64 << 20  # bytes, unpacked: thousands of pages
_OLD_OR_LOCKED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # an OLE file: Word until 2003, or any with a password
_BACK_LINK = re.compile(r'<a href="#(?:foot|end)note-ref-\d+">↑</a>')
_TITLE = "{http://purl.org/dc/elements/1.1/}title"


def read_docx(path: Path) -> tuple[str, str | None]:
    """The body's text with footnotes, as Markdown, and the title from the file's properties or first heading.

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
            if file.read(len(_OLD_OR_LOCKED)) == _OLD_OR_LOCKED:
                raise InputError(
                    f"{str(path)!r} needs a password, or is in Word's format of before 2007; "
                    "save it as DOCX without a password"
                )
            with zipfile.ZipFile(file) as archive:
                xml = [each for each in archive.infolist() if each.filename.endswith((".xml", ".rels"))]
                size = sum(each.file_size for each in xml)
                if size > _MOST_XML:
                    raise InputError(
                        f"{str(path)!r} unpacks to {size:,} bytes of XML; no more than {_MOST_XML:,} are read"
                    )
                title = _title(archive)
            file.seek(0)
            converted = mammoth.convert_to_html(
                file,
                style_map="p[style-name='Title'] => h1:fresh",
                include_embedded_style_map=False,
                convert_image=lambda _image: [],
            )
    except InputError:
        raise
    except Exception as error:  # mammoth meets a damaged file with whatever it stumbles over
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from error
        raise InputError(f"{str(path)!r} is no DOCX, or damaged: {error!r}") from error
    text = to_markdown(_BACK_LINK.sub("", converted.value))
    return text, title or first_heading(text)


def _title(archive: zipfile.ZipFile) -> str | None:
    if "docProps/core.xml" not in archive.namelist():
        return None
    element = ElementTree.fromstring(archive.read("docProps/core.xml")).find(_TITLE)
    return None if element is None or not element.text else " ".join(element.text.split()) or None
