"""Who may go in: many readers or one writer among threads, and one writer among processes."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep

from hybridrank.errors import LockedError, StorageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["ReadWriteLock", "WriterLock"]

_log = logging.getLogger(__name__)

_POLL = 0.02  # seconds
_MOST = 4096  # bytes, that who holds the lock says of itself
_CAREFUL = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_BINARY"))


class ReadWriteLock:
    """Many readers or one writer. A waiting writer goes before new readers, so that searches cannot starve it.

    ``with lock:`` holds it together with other readers, ``with lock.writing():`` alone. Not reentrant: a thread
    that reads must not read again before it is done.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._readers = 0
        self._writers = 0  # at work or waiting
        self._at_work = False

    def __enter__(self) -> None:
        with self._changed:
            while self._writers:
                self._changed.wait()
            self._readers += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._readers -= 1
            if not self._readers and self._writers:
                self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock alone."""
        with self._changed:
            self._writers += 1
            while self._readers or self._at_work:
                self._changed.wait()
            self._at_work = True
        try:
            yield
        finally:
            with self._changed:
                self._writers -= 1
                self._at_work = False
                self._changed.notify_all()


class WriterLock:
    """The right to change a collection: one thread of one process has it. A killed process loses it at once.

    The operating system keeps the lock, on the file at `path`; who holds it stands in that file.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self.path = path
        self._threads = threading.Lock()
        self._doing = ""
        self.timeout = timeout

    @contextmanager
    def holding(self, doing: str, *, timeout: float | None = None) -> Iterator[None]:
        """Have the lock; `doing` says what for, to those who wait in vain (`timeout` in seconds).

        Raises:
            LockedError: another thread or process still had it when the time was up; `holder` says which.
            StorageError: the file cannot be locked: the directory is gone, or its file system has no locks.
        """
        limit = self.timeout if timeout is None else timeout
        deadline = monotonic() + limit
        if not self._threads.acquire(timeout=limit):
            raise self._refusal(f"another thread of this process ({self._doing})", limit)
        try:
            while (descriptor := self._locked()) is None:
                if monotonic() > deadline:
                    raise self._refusal(self._named_holder(), limit)
                sleep(_POLL)
            try:
                self._doing = doing
                with suppress(OSError):  # a full disk must not keep anybody from deleting
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, json.dumps(_about_us(doing)).encode(), 0)
                yield
            finally:
                _release(descriptor, self.path)
        finally:
            self._threads.release()

    def _locked(self) -> int | None:
        """The descriptor of the file, locked; None where another process has it."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | _CAREFUL, 0o644)
        except OSError as error:
            link = error.errno == errno.ELOOP
            raise self._unusable("it is a symbolic link; remove it" if link else f"{error.strerror}") from error
        try:
            _lock(descriptor)
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise self._unusable("it is no file of its own, but a link or a device; remove it")
            if found.st_nlink and os.path.samestat(found, os.lstat(self.path)):
                return descriptor
        except (BlockingIOError, PermissionError, FileNotFoundError):  # another's; or removed meanwhile
            pass
        except OSError as error:
            os.close(descriptor)
            raise self._unusable(
                f"{error.strerror}; if its file system has no locks, move the collection to a local one"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _unusable(self, reason: str) -> StorageError:
        return StorageError(f"the collection cannot be locked for writing by {self.path}: {reason}")

    def _refusal(self, holder: str, limit: float) -> LockedError:
        return LockedError(
            f"the collection is being written by {holder}; waited {limit:g} s: try again when it is done",
            holder=holder,
        )

    def _named_holder(self) -> str:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | _CAREFUL)
            try:
                told = json.loads(os.read(descriptor, _MOST))
            finally:
                os.close(descriptor)
            return "process {pid} on {host} ({doing} since {since}: {command})".format(**told)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return "another process, which has not said which"


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, _MOST, os.SEEK_SET)  # beyond what is told there, which others read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _release(descriptor: int, path: Path) -> None:
    """Unlock and close the file. What was stored is stored: failures are logged, and closing unlocks anyhow."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _MOST, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # for a forked child, too, that has it open
    except OSError as error:
        _log.warning("%s could not be unlocked, and is closed instead: %s", path, error)
    finally:
        try:
            os.close(descriptor)
        except OSError as error:
            _log.warning("%s could not be closed: %s", path, error)


def _about_us(doing: str) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "doing": doing,
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.orig_argv)[:200],
    }
