"""Rich text (RTF)."""

from __future__ import annotations

from pathlib import Path

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.reading import Content, Note, ReadOptions

__all__ = ["read_rtf"]

_MOST_BYTES = 64 << 20


def read_rtf(path: Path, reading: ReadOptions, note: Note) -> Content:  # noqa: ARG001
    """The text, a paragraph in a line.

    Raises:
        InputError: it cannot be read, is no RTF, or is larger than what is read.
        MissingDependencyError: striprtf is not installed.
    """
    try:
        from striprtf.striprtf import rtf_to_text
    except ImportError as error:
        raise MissingDependencyError('reading RTF needs striprtf; pip install "hybridrank[files]"') from error

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{str(path)!r} is larger than the {_MOST_BYTES:,} bytes of an RTF that are read")
        source = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if not source.lstrip().startswith(b"{\\rtf"):
        raise InputError(f"{str(path)!r} is no RTF")
    try:
        text = rtf_to_text(source.decode("latin-1"), errors="replace")  # type: ignore[no-untyped-call]
    except (ValueError, LookupError, TypeError, RecursionError, OverflowError) as error:
        raise InputError(f"{str(path)!r} is damaged: {error!r}") from error
    return Content(text.replace("\0", "").strip())
