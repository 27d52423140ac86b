"""What office files and books have in common: archives of XML, with properties in Dublin Core."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from hybridrank.errors import InputError
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.facts import one_line
from hybridrank.ingest.files.packages import parsed_xml, xml_parts

__all__ = ["declared_in", "local_name", "office_parts", "readable", "required_part"]

_LOCKED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # an OLE file: an office file until 2003, or one with a password
_DEEPEST = 100
"""Elements in elements: what is found below each of them is found in time that grows with their depth."""

_DAMAGED = (
    ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, TypeError, ValueError,
    ElementTree.ParseError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_PROPERTIES = {
    "title": "title", "creator": "author", "language": "language", "subject": "subject",
    "description": "description", "keywords": "keywords", "created": "created", "creation-date": "created",
    "date": "created",
}  # fmt: skip


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Report what is wrong with a file in our words.

    Raises:
        InputError: reading it raised what a damaged file raises.
    """
    try:
        yield
    except InputError:
        raise
    except RecursionError as error:
        raise InputError(f"{str(path)!r} is nested too deeply to be read") from error
    except _DAMAGED as error:
        raise InputError(f"{str(path)!r} is no {kind}, or damaged: {error!r}") from error
    except OSError as error:
        raise unreadable(path, error) from error


def office_parts(path: Path) -> dict[str, bytes]:
    """The XML parts of a file; see `xml_parts`.

    Raises:
        InputError: it needs a password or is of an old format, or as `xml_parts` raises.
        zipfile.BadZipFile: it is no archive.
    """
    with path.open("rb") as file:
        if file.read(len(_LOCKED)) == _LOCKED:
            raise InputError(
                f"{str(path)!r} needs a password, or is in a format of before 2007; "
                "save it in today's without a password"
            )
        file.seek(0)
        return xml_parts(file, path)


def required_part(parts: Mapping[str, bytes], name: str) -> Element:
    """A part's root.

    Raises:
        LookupError: there is no such part.
    """
    if name not in parts:
        raise LookupError(f"it has no {name}")
    return parsed_xml(parts[name], deepest=_DEEPEST)


def declared_in(parts: Mapping[str, bytes], name: str) -> dict[str, str]:
    """The properties in a part, if there is one, that are named as in Dublin Core: the first of each."""
    found: dict[str, str] = {}
    for element in required_part(parts, name).iter() if name in parts else ():
        key = _PROPERTIES.get(local_name(element))
        if key is not None and (text := one_line(element.text)):
            found.setdefault(key, text)
    return found


def local_name(element: Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]
