"""Office files: ZIP archives of XML, unpacked within limits, regardless of the sizes that their entries claim."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

from hybridrank.errors import InputError

__all__ = ["parsed_xml", "repacked", "xml_parts"]

_MOST_XML = 32 << 20  # bytes, unpacked: thousands of pages
_MOST_ENTRIES = 10_000
_PIECE = 1 << 16  # bytes
_HEAD = 64  # bytes that tell whether a part is XML
_ENCRYPTED = 1  # a flag of an entry
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those of the format; others unpack without limit


def xml_parts(file: BinaryIO, path: Path) -> dict[str, bytes]:
    """The XML parts by name: what begins as XML does.

    The unpacked bytes are counted; the archive's own sizes are not trusted.

    Raises:
        InputError: it has too many parts, unpacks to too much XML, or is encrypted.
    """
    parts: dict[str, bytes] = {}
    left = _MOST_XML
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ENTRIES:
            raise InputError(f"{str(path)!r} has {len(entries):,} parts; no more than {_MOST_ENTRIES:,} are read")
        for entry in entries:
            if entry.flag_bits & _ENCRYPTED:
                raise InputError(f"{str(path)!r} needs a password; save it without one")
            if entry.compress_type not in _METHODS:
                raise InputError(f"{str(path)!r} is compressed in a way that no office file is")
            with archive.open(entry) as part:
                head = part.read(_HEAD)
                if not _begins_as_xml(head):
                    continue
                pieces = [head]
                left -= len(head)
                while left >= 0 and (piece := part.read(_PIECE)):
                    pieces.append(piece)
                    left -= len(piece)
            if left < 0:
                raise InputError(
                    f"{str(path)!r} unpacks to more than the {_MOST_XML:,} bytes of XML that are read"
                )
            parts[entry.filename] = b"".join(pieces)
    return parts


def parsed_xml(part: bytes, *, deepest: int | None = None) -> ElementTree.Element:
    """The root of an XML part.

    Raises:
        ValueError: it has a document type, which office files have not, and which can multiply entities; or it is
            nested more deeply than `deepest`.
        xml.etree.ElementTree.ParseError: it is not well-formed.
    """
    target = _NoDocumentType() if deepest is None else _Shallow(deepest)
    parser = ElementTree.XMLParser(target=target)
    parser.feed(part)
    root: ElementTree.Element = parser.close()
    return root


def repacked(parts: dict[str, bytes]) -> io.BytesIO:
    """An archive of these parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    file.seek(0)
    return file


class _NoDocumentType(ElementTree.TreeBuilder):
    def doctype(self, *_: Any) -> None:
        raise ValueError("it has a document type declaration")


class _Shallow(_NoDocumentType):
    def __init__(self, deepest: int) -> None:
        super().__init__()
        self._left = deepest

    def start(self, tag: str, attrs: dict[str, str], /) -> ElementTree.Element:
        self._left -= 1
        if self._left < 0:
            raise ValueError("it is nested too deeply")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ElementTree.Element:
        self._left += 1
        return super().end(tag)


def _begins_as_xml(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<")
