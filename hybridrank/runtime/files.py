"""Atomic file writes: a line is appended completely or not at all, and so is a file replaced.

Appended lines survive the process at once, and a power failure once the file is closed.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import uuid4

from hybridrank.errors import LockedError, StorageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["AppendOnlyFile", "appending", "replace_file", "replacing", "sync_directory"]

_ATTEMPTS = 10  # to open a file that others remove meanwhile
_CAREFUL = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_BINARY"))
_BEYOND = 1 << 62  # a place that no file reaches: Windows locks ranges, against reading too


class AppendOnlyFile:
    """A file of lines to which only its holder appends; created by `appending`. Others may read it meanwhile."""

    def __init__(self, path: Path, descriptor: int, what: str) -> None:
        self._path = path
        self._place = Path(os.path.abspath(path))  # wherever the process goes
        self._descriptor = descriptor
        self._what = what
        self._end = os.fstat(descriptor).st_size
        self._torn = False

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self._end

    def read(self) -> bytes:
        """Its content.

        Raises:
            StorageError: it cannot be read.
        """
        with self._reported("read"), open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            content = file.read()
        self._end = len(content)
        return content

    def append(self, lines: bytes) -> None:
        """Append one or more lines: after it returns they are in the file; if it raises, none of them is.

        Raises:
            StorageError: they cannot be written, or the file was removed, replaced, or written to by others.
        """
        self._require_ours()
        rest = memoryview(lines)
        try:
            with self._reported("write"):
                while rest:
                    written = os.write(self._descriptor, rest)  # a full disk takes a part, without an error
                    if not written:
                        raise OSError("nothing was written")
                    rest = rest[written:]
            self._end += len(lines)
        except BaseException:
            self._take_back()
            raise

    def sync(self, directories: Iterable[Path] = ()) -> None:
        """Flush everything to the disk, including the entries of these directories, to survive a power failure.

        Raises:
            StorageError: that is not certain.
        """
        with self._reported("write"):
            os.fsync(self._descriptor)
            for directory in directories:
                sync_directory(directory)

    def truncate(self, size: int) -> None:
        """Truncate the file to `size` bytes, after which `read` found invalid content.

        Raises:
            StorageError: as for `append`.
        """
        self._require_ours()
        with self._reported("write"):
            os.ftruncate(self._descriptor, size)
        self._end = size

    def _require_ours(self) -> None:
        with self._reported("write"):
            held = os.fstat(self._descriptor)
        if not self._is_in_place():
            raise StorageError(f"{self._name()} was removed or replaced while it was written")
        if self._torn or held.st_size != self._end:
            raise StorageError(
                f"{self._name()} was changed by something else while it was written: begin again, which goes on "
                "from what it holds"
            )

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self._place.stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def _take_back(self) -> None:
        """Remove part of a line; if that fails too, the next process finds an incomplete line."""
        try:
            os.ftruncate(self._descriptor, self._end)
        except OSError:
            self._torn = True

    def _name(self) -> str:
        return f"the {self._what} {str(self._path)!r}"

    @contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"cannot {doing} {self._name()}: {error.strerror or error}") from error


@contextmanager
def appending(path: Path, *, what: str) -> Iterator[AppendOnlyFile]:
    """Open a file for appending, exclusively; it and its directory are created. `what` describes it in messages.

    The operating system holds the lock, so a killed process releases it at once; on a file system without locks
    there is none. While it is held, a file next to it tells other processes the holder.

    Raises:
        LockedError: another process or thread is writing it; `holder` says which.
        StorageError: it cannot be opened or written.
    """
    place = Path(os.path.abspath(path))
    holder = place.with_name(f".{place.name}.writer")
    try:
        made = [folder for folder in place.parents if not folder.exists()]
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _opened(place)
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"cannot write the {what} {str(path)!r}: {reason}") from error
    if descriptor is None:
        name = _read(holder)
        raise LockedError(
            f"the {what} {str(path)!r} is being written by {name}: wait until it is done", holder=name
        )
    try:
        _write(holder)
        file = AppendOnlyFile(path, descriptor, what)
        yield file
        file.sync((place.parent, *(folder.parent for folder in made)))
    finally:
        with suppress(OSError):
            holder.unlink()
        _unlock(descriptor)  # by itself: a child that was forked meanwhile has the descriptor, too
        os.close(descriptor)


def _opened(place: Path) -> int | None:
    """The file, locked; None if another process holds it."""
    for _ in range(_ATTEMPTS):
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(place, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("it is no regular file")
            if not _try_lock(descriptor):
                os.close(descriptor)
                return None
            if os.path.samestat(os.fstat(descriptor), place.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise OSError("it is removed again and again")


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _BEYOND, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)  # any other: this file system has no locks
    return True


def _unlock(descriptor: int) -> None:
    with suppress(OSError):
        if sys.platform == "win32":
            os.lseek(descriptor, _BEYOND, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _write(holder: Path) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    command = " ".join(sys.orig_argv)[:200]
    about = f"process {os.getpid()} on {socket.gethostname()} (since {since}: {command})"
    with suppress(OSError):  # best effort; the lock does not depend on it
        holder.unlink(missing_ok=True)  # what a killed process left, or a link that somebody has put there
        with holder.open("xb") as file:
            file.write(about.encode(errors="replace"))


def _read(holder: Path) -> str:
    try:
        descriptor = os.open(holder, os.O_RDONLY | _CAREFUL)
        try:
            told = os.read(descriptor, 1000).decode(errors="replace")
        finally:
            os.close(descriptor)
    except OSError:
        told = ""
    return " ".join(told.split()) or "another process, which has not said which"


def replace_file(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file atomically, with `replacing`. str is written as UTF-8.

    Raises:
        OSError: it cannot be written. The file is what it was before.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Write a file atomically: in any case it has either its previous content or all of the new content.

    The target of a symbolic link is replaced; a file that is not regular (a terminal, a pipe) is written to
    directly.

    Raises:
        OSError: it cannot be written. The file is what it was before.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    draft = target.with_name(f".{target.name[:100]}.{uuid4().hex}")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            draft.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(draft, target)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(draft)):
            error.filename, error.filename2 = os.fspath(path), None
        raise


def sync_directory(folder: Path) -> None:
    """Flush a directory's entries to the disk, if the system supports it."""
    if hasattr(os, "O_DIRECTORY"):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:  # one that may be entered, and not be read
            return
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of a file system that cannot
                raise
        finally:
            os.close(descriptor)
