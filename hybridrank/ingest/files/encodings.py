"""Encodings of text files, and opening text files.

A byte order mark takes precedence; then the encoding that the caller sets; then UTF-16 and UTF-32 are recognized
by their zeros; otherwise it is UTF-8. Nothing else is guessed: charset-normalizer and chardet were wrong on most
short texts in Windows-1252, without indicating uncertainty.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO

from hybridrank.errors import InputError

__all__ = [
    "MOST_LINE", "bounded_lines", "known_encoding", "marked_encoding", "open_text", "undecodable", "unreadable",
    "zeros_encoding",
]  # fmt: skip

MOST_LINE = 8 << 20
"""In characters: Python's parsers of CSV and JSON let no other thread run while they read a line."""

_MARKS = (  # UTF-32's before UTF-16's, which they begin with
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_FILE_IS_IN = ("utf-7", "idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined")
_SAMPLE = 1 << 16  # bytes
_PIECE = 1 << 20  # bytes
_BEYOND_ASCII = re.compile("[^\\x00-\\x7f]+")
_UNDECODED = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of bytes


class _Encoding(NamedTuple):
    name: str
    errors: str = "strict"


def known_encoding(name: str) -> str:
    """Python's name of a text encoding.

    Raises:
        InputError: it is not known, or no encoding of files.
    """
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):
        codec = None
    if codec is None or not codec._is_text_encoding or codec.name.replace("_", "-") in _NO_FILE_IS_IN:
        raise InputError(
            f"{name!r} is not a known encoding of text; some are utf-8, utf-16, windows-1252, shift_jis"
        )
    return codec.name


def marked_encoding(sample: bytes) -> str | None:
    """The encoding of the byte order mark at the start of a file."""
    return next((name for mark, name in _MARKS if sample.startswith(mark)), None)


def zeros_encoding(sample: bytes) -> str | None:
    """UTF-16 or UTF-32 in one byte order, if the zeros among the bytes are where those have them.

    In UTF-16, ASCII's characters have a zero as the one byte (in any language the blanks do, at least), and few
    characters one as the other.
    """
    if b"\0" not in sample:
        return None
    if len(sample) % 4 == 0:
        first, second, third, last = (sample[at::4] for at in range(4))
        if not any(last) and any(first) and max(third) <= 16 and 2 * third.count(0) > len(third):
            return "utf-32-le"
        if not any(first) and any(last) and max(second) <= 16 and 2 * second.count(0) > len(second):
            return "utf-32-be"
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if len(sample) % 2 or max(even, odd) <= 4 * min(even, odd):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


@contextmanager
def open_text(
    path: Path, *, newline: str | None = None, encoding: str | None = None, lines: bool = False
) -> Iterator[TextIO]:
    """Open a text file in its encoding; `encoding` applies if it has no byte order mark.

    With `lines`, bytes that are wrong in a text that is UTF-8 otherwise are kept as surrogates, so that
    `undecodable` can find them line by line.

    Raises:
        InputError: it cannot be read, or is not such text; also while it is being read.
    """
    found = _Encoding("utf-8")
    try:
        with path.open("rb") as file:
            found = _encoding(file, encoding, lines=lines)
            with TextIOWrapper(file, encoding=found.name, errors=found.errors, newline=newline) as text:
                yield text
    except UnicodeError as error:
        raise InputError(_problem(path, found.name, encoding, error)) from None
    except OSError as error:
        raise unreadable(path, error) from error


def bounded_lines(file: TextIO) -> Iterator[str]:
    """A file's lines; a line of more than `MOST_LINE` characters is cut to one more than that."""
    while line := file.readline(MOST_LINE + 1):
        yield line
        while len(line) > MOST_LINE and line[-1] not in "\r\n":
            line = file.readline(MOST_LINE + 1)


def unreadable(path: Path, error: OSError) -> InputError:
    """The error to raise if the system cannot read a file.

    Raises:
        TimeoutError: `error` is not the system's: a signal handler raised it, as a time limit for the caller.
    """
    if isinstance(error, TimeoutError) and error.errno is None:
        raise error
    return InputError(f"cannot read {str(path)!r}: {error.strerror or error}")


def undecodable(line: str) -> bool:
    """Whether a line contains bytes that are invalid in its file's encoding."""
    return not line.isascii() and _UNDECODED.search(line) is not None


def _encoding(file: BinaryIO, named: str | None, *, lines: bool) -> _Encoding:
    """What the file is in. With `lines` it is read through: one wrong byte in UTF-8 makes no other encoding."""
    sample = file.read(_SAMPLE)
    try:
        if name := marked_encoding(sample) or (named and known_encoding(named)) or zeros_encoding(sample):
            return _Encoding(name)
        if lines and _is_mostly_utf_8(file, sample):
            return _Encoding("utf-8", "surrogateescape")
        return _Encoding("utf-8")
    finally:
        file.seek(0)


def _is_mostly_utf_8(file: BinaryIO, sample: bytes) -> bool:
    """Whether there are bytes that are not UTF-8, but fewer than characters beyond ASCII that are."""
    strict = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in _pieces(file, sample):
            strict.decode(piece)
    except UnicodeDecodeError:
        file.seek(len(sample))
    else:
        return False
    lenient = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    wrong = beyond = 0
    for piece in _pieces(file, sample):
        text = lenient.decode(piece)
        if not text.isascii():
            bad = len(_UNDECODED.findall(text))
            wrong += bad
            beyond += sum(map(len, _BEYOND_ASCII.findall(text))) - bad
    return wrong < beyond


def _pieces(file: BinaryIO, first: bytes) -> Iterator[bytes]:
    piece = first
    while piece:
        yield piece
        piece = file.read(_PIECE)


def _problem(path: Path, name: str, named: str | None, error: UnicodeError) -> str:
    kind = name.removesuffix("-sig").upper() if name.startswith("utf") else name
    if named is not None:
        return f"{str(path)!r} is not {kind} text: {error}"
    return (
        f"{str(path)!r} is not {kind} text: {error}; name its encoding (--encoding, or encoding= in Python), "
        "such as windows-1252"
    )
