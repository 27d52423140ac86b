"""Archives: the files in a ZIP or TAR, one after the other, within limits.

Nothing that an archive says is trusted: unpacked bytes are counted, names are checked, and links, devices and
members with a password are left out. A member is unpacked into a temporary directory, read, and deleted.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from hybridrank.errors import InputError
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.reading import OnBad

__all__ = ["TARS", "ZIPS", "Budget", "members", "unpacked_name"]

ZIPS = (".zip",)
TARS = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")

_MOST_UNPACKED = 512 << 20  # bytes, with those of the archives in it
_MOST_MEMBERS = 10_000
_MOST_NESTED = 3  # archives in archives
_MOST_NAME = 200  # bytes of a file's name
_PIECE = 1 << 20  # bytes
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack without limit
_COMPRESSED: Mapping[bytes, Callable[[Any], Any]] = {  # by their first bytes
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_DAMAGED = (
    EOFError, ValueError, LookupError, NotImplementedError, RuntimeError, zipfile.BadZipFile, tarfile.TarError,
    zlib.error, lzma.LZMAError, gzip.BadGzipFile,
)  # fmt: skip


class Budget:
    """How much of an archive, and of the archives in it, may still be read."""

    def __init__(self) -> None:
        self._bytes = _MOST_UNPACKED
        self._members = _MOST_MEMBERS
        self.depth = 0

    def take(self, size: int) -> None:
        """Take a number of unpacked bytes.

        Raises:
            TooMuchError: they are more than is left.
        """
        self._bytes -= size
        if self._bytes < 0:
            raise TooMuchError(f"it unpacks to more than the {_MOST_UNPACKED:,} bytes that are read")

    def member(self) -> None:
        """Take a member.

        Raises:
            TooMuchError: there are more than are read.
        """
        self._members -= 1
        if self._members < 0:
            raise TooMuchError(f"it has more than the {_MOST_MEMBERS:,} members that are read")

    @contextmanager
    def inside(self, label: str) -> Iterator[None]:
        """Read an archive that lies in the one that is being read.

        Raises:
            InputError: it is nested too deeply.
        """
        if self.depth >= _MOST_NESTED:
            raise InputError(f"{label!r} lies in more than {_MOST_NESTED} archives, one in the other; unpack it")
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


class TooMuchError(Exception):
    """More lies in an archive than is read."""


def members(
    path: Path, label: str, ending: str, known: Iterable[str], budget: Budget, on_bad: OnBad
) -> Iterator[tuple[Path, str]]:
    """The members of an archive with a known ending, in its order: where each is unpacked to, until the next is
    asked for, and its name, ``<label>/<name>``.

    `on_bad` receives each member that cannot be unpacked, and the end of reading where a limit is reached.

    Raises:
        InputError: it is no archive, or cannot be read.
    """
    endings = tuple(known)
    walk = _zipped if ending in ZIPS else _tarred
    with budget.inside(label), tempfile.TemporaryDirectory(prefix="hybridrank-") as folder:
        try:
            for name, modified, content in walk(path, endings, budget):
                where = f"{label}/{name}" if name else label
                if isinstance(content, str):
                    on_bad(InputError(f"{where!r} is left out: {content}"))
                    continue
                file = Path(folder, PurePosixPath(name).name)
                try:
                    _unpack(content, file, budget)
                    with suppress(OSError, OverflowError, ValueError):
                        os.utime(file, (modified, modified))
                except (zipfile.BadZipFile, zlib.error) as error:
                    on_bad(InputError(f"{where!r} is damaged: {error}"))
                else:
                    yield file, where
                finally:
                    file.unlink(missing_ok=True)
        except TooMuchError as error:
            on_bad(InputError(f"{label!r} is read only in part: {error}"))
        except _DAMAGED as error:
            on_bad(InputError(f"{label!r} is no archive, or damaged: {error}"))
        except OSError as error:
            if error.errno is None:  # of a decompressor
                on_bad(InputError(f"{label!r} is no archive, or damaged: {error}"))
            else:
                raise unreadable(path, error) from error


def unpacked_name(name: str) -> str | None:
    """A member's name as a relative path; None if it leads out of the archive or is none.

    >>> unpacked_name("./docs\\\\a.md")
    'docs/a.md'
    >>> unpacked_name("../a.md"), unpacked_name("/etc/a.md"), unpacked_name("C:/a.md")
    (None, None, None)
    """
    path = name.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or path.startswith("/") or ".." in parts or ":" in parts[0] or not path.isprintable():
        return None
    try:
        too_long = len(parts[-1].encode()) > _MOST_NAME
    except UnicodeEncodeError:
        return None
    return None if too_long else "/".join(parts)


_Member = tuple[str, float, IO[bytes] | str]  # name, time of change, content or why it is left out


def _wanted(raw: str, endings: tuple[str, ...]) -> tuple[str, str | None] | None:
    """A member's name, and why it is left out, if so; None if it is of no known kind, or hidden."""
    if not raw.lower().endswith(endings):
        return None
    name = unpacked_name(raw)
    if name is None:
        return "", f"the name {raw[:_MOST_NAME]!r} is not a path in the archive"
    if any(part[0] == "." or part in ("__MACOSX", "__pycache__", "node_modules") for part in name.split("/")):
        return None
    return name, None


def _zipped(path: Path, endings: tuple[str, ...], budget: Budget) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            budget.member()
            wanted = None if entry.is_dir() else _wanted(entry.filename, endings)
            if wanted is None:
                continue
            name, problem = wanted
            if entry.flag_bits & 1:
                problem = "it needs a password"
            elif entry.compress_type not in _METHODS:
                problem = "it is compressed in a way that is not read"
            if problem is not None:
                yield name, 0, problem
                continue
            modified = 0.0
            with suppress(ValueError, OverflowError):
                modified = time.mktime((*entry.date_time, 0, 0, -1))
            with archive.open(entry) as content:
                yield name, modified, content


def _tarred(path: Path, endings: tuple[str, ...], budget: Budget) -> Iterator[_Member]:
    with _decompressed(path) as file, _opened(file, budget) as archive:
        for entry in archive:
            budget.member()
            wanted = None if entry.isdir() else _wanted(entry.name, endings)
            if wanted is None:
                continue
            name, problem = wanted
            content = archive.extractfile(entry) if entry.isreg() and problem is None else None
            yield name, entry.mtime, content or problem or "it is a link or a device, not a file"


def _opened(file: IO[bytes], budget: Budget) -> tarfile.TarFile:
    counted: Any = _Counted(file, budget)
    return tarfile.open(fileobj=counted, mode="r|")


@contextmanager
def _decompressed(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        kind = next((kind for mark, kind in _COMPRESSED.items() if head.startswith(mark)), None)
        with nullcontext(file) if kind is None else kind(file) as unpacked:
            yield unpacked


class _Counted:
    """A file of which no more bytes are read than the budget has."""

    def __init__(self, file: IO[bytes], budget: Budget) -> None:
        self._file = file
        self._budget = budget

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._budget.take(len(data))
        return data


def _unpack(content: IO[bytes], file: Path, budget: Budget) -> None:
    counts = isinstance(content, zipfile.ZipExtFile)  # of a TAR, all bytes are counted already
    with file.open("xb") as target:
        while piece := content.read(_PIECE):
            if counts:
                budget.take(len(piece))
            target.write(piece)
