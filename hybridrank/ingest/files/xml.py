"""XML of any kind: the text of its elements."""

from __future__ import annotations

from pathlib import Path
from xml.parsers import expat

from hybridrank.errors import InputError
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.reading import Content, Note, ReadOptions

__all__ = ["read_xml"]

_PIECE = 1 << 20  # bytes


def read_xml(path: Path, reading: ReadOptions, note: Note) -> Content:  # noqa: ARG001
    """The text of the elements, each in a line of its own; names and attributes are left out, and the first
    element named ``title`` is the title. Entities that the file declares are not expanded: they are an error.

    Raises:
        InputError: it cannot be read, is not well-formed, or declares entities.
    """
    reader = _Reader()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                reader.parser.Parse(piece, False)
            reader.parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise InputError(f"{str(path)!r} cannot be read as XML: {error}") from error
    except OSError as error:
        raise unreadable(path, error) from error
    reader.flush()
    return Content("\n".join(reader.lines), reader.title)


class _Reader:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.title: str | None = None
        self._pieces: list[str] = []
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = lambda _name, _attributes: self.flush()
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._pieces.append
        self.parser.EntityDeclHandler = self._entity

    def flush(self) -> None:
        """End the line."""
        if line := " ".join("".join(self._pieces).split()):
            self.lines.append(line)
        self._pieces.clear()

    def _end(self, name: str) -> None:
        at = len(self.lines)
        self.flush()
        if self.title is None and name.rpartition(":")[2].lower() == "title" and len(self.lines) > at:
            self.title = self.lines[-1][:300]

    def _entity(self, *_: object) -> None:
        raise ValueError("it declares entities, which are not expanded")
