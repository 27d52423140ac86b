"""Concurrency control: many readers or one writer among threads, and one writer among processes."""

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
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Self

from hybridrank.errors import LockedError, StorageError
from hybridrank.runtime import fork
from hybridrank.runtime.cancellation import check_cancelled
from hybridrank.runtime.holds import Hold, Holds

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["ReadWriteLock", "Reading", "WriterLock"]

_log = logging.getLogger(__name__)

_LOOKS = 0.05  # seconds after which a waiting thread looks again by itself
_LONG = 1.0  # seconds of reading, after which a waiting writer lets others read meanwhile
_POLL = 0.02  # seconds
_MOST = 4096  # bytes, that who holds the lock says of itself
_CAREFUL = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_BINARY"))


class ReadWriteLock:
    """Many readers or one writer. A waiting writer precedes new readers, so that searches cannot starve it.

    ``with lock.reading():`` holds it together with other readers, ``with lock.writing():`` exclusively. Not
    reentrant: a thread that reads must not read again before it is done. If a reader holds it for more than a
    second (for example because an arm hangs), new readers do not wait for the writer that waits for it.

    A reader's hold belongs to the object that `reading` returns, and ends with it, so that no signal handler's
    exception can leave it locked. In a forked child, the holds of other threads have ended.
    """

    def __init__(self) -> None:
        self._guard = fork.new_lock()
        self._readers = Holds()
        self._writers = 0  # that wait
        self._at_work: int | None = None  # the thread that writes
        self._waiting: list[threading.Lock] = []
        fork.in_child(self._renew)

    def reading(self) -> Reading:
        """Hold the lock together with other readers, in a `with` block."""
        return Reading(self)

    @contextmanager
    def writing(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the lock exclusively, excluding forks; wait at most `timeout` seconds.

        Raises:
            LockedError: a reader still had it when the time was up.
        """
        until = None if timeout is None else monotonic() + timeout
        with self._guard:
            self._writers += 1
        with ExitStack() as stack:
            try:
                while not self._taken(stack):
                    check_cancelled()
                    if until is not None and monotonic() >= until:
                        raise LockedError(
                            f"a search that is still at work uses the indexes; waited {timeout:g} s, and nothing "
                            "was changed: an arm hangs, or takes as long",
                            holder="a search of this process",
                        )
            finally:
                with self._guard:
                    self._writers -= 1
                self._tell()
            try:
                yield
            finally:
                with self._guard:
                    self._at_work = None
                self._tell()

    def _taken(self, stack: ExitStack) -> bool:
        """Acquire the lock for a writer, if it is free; otherwise wait for a while."""
        with ExitStack() as attempt:
            attempt.enter_context(fork.hold_forks())
            with self._guard:
                if self._at_work is None and not len(self._readers):
                    self._at_work = threading.get_ident()
                    stack.push(attempt.pop_all())
                    return True
                turn = self._turn()
        self._wait(turn)
        return False

    def _open(self) -> bool:
        """Whether a reader may enter; with the guard held."""
        if self._at_work is not None:
            return False
        if not self._writers:
            return True
        first = min((hold.since for hold in self._readers.all()), default=None)
        return first is not None and monotonic() - first > _LONG

    def _turn(self) -> threading.Lock:
        """What to wait on, after having looked with the guard; until something changes, or for a moment."""
        turn = threading.Lock()
        turn.acquire()
        self._waiting.append(turn)
        return turn

    def _wait(self, turn: threading.Lock) -> None:
        turn.acquire(timeout=_LOOKS)
        with suppress(ValueError):
            self._waiting.remove(turn)

    def _tell(self) -> None:
        """Wake all waiting threads."""
        while self._waiting:
            with suppress(IndexError):
                self._waiting.pop().release()

    def _renew(self) -> None:
        self._readers.keep_own()
        self._writers = 0
        if self._at_work != threading.get_ident():
            self._at_work = None
        self._waiting.clear()


class Reading:
    """A reader's hold on a lock, from the beginning of a `with` block to its end."""

    __slots__ = ("__weakref__", "_hold", "_lock")

    def __init__(self, lock: ReadWriteLock) -> None:
        self._lock = lock
        self._hold: Hold | None = None

    def __enter__(self) -> Self:
        lock = self._lock
        while True:
            with lock._guard:
                if lock._open():
                    self._hold = lock._readers.add(self)
                    return self
                turn = lock._turn()
            lock._wait(turn)
            check_cancelled()

    def handed_on(self) -> Reading:
        """Another hold in place of this one, which is over."""
        other = Reading(self._lock)
        if self._hold is not None:
            other._hold = self._lock._readers.add(other)
            other._hold.since = self._hold.since
            self.__exit__()
        return other

    def __exit__(self, *_: object) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            with self._lock._guard:
                self._lock._readers.discard(hold)
        if self._lock._writers:
            self._lock._tell()


class WriterLock:
    """The right to change a collection: one thread of one process has it. A killed process releases it at once.

    The operating system holds the lock, on the file at `path`, which contains the holder. Holding it excludes
    forks, so that no child has it open.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self.path = path
        self._threads = fork.new_lock()
        self._doing = ""
        self.timeout = timeout

    @contextmanager
    def holding(self, doing: str, *, timeout: float | None = None) -> Iterator[None]:
        """Hold the lock; `doing` is the purpose, for the error of a process that times out (`timeout` in seconds).

        Raises:
            LockedError: another thread or process still had it when the time was up; `holder` says which.
            StorageError: the file cannot be locked: the directory is gone, or its file system has no locks.
        """
        limit = self.timeout if timeout is None else timeout
        until = monotonic() + limit
        while not self._threads.acquire(timeout=max(0.0, min(_LOOKS, until - monotonic()))):
            if monotonic() >= until:
                raise self._refusal(f"another thread of this process ({self._doing})", limit)
            check_cancelled()
        try:
            with ExitStack() as stack:
                while (descriptor := self._taken(stack)) is None:
                    if monotonic() >= until:
                        raise self._refusal(self._named_holder(), limit)
                    check_cancelled()
                    sleep(_POLL)
                self._doing = doing
                with suppress(OSError):  # deleting must work on a full disk
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, json.dumps(_about_us(doing)).encode(), 0)
                yield
        finally:
            self._threads.release()

    def _taken(self, stack: ExitStack) -> int | None:
        """The descriptor of the file, locked until the stack is unwound; None if another process holds it."""
        with ExitStack() as attempt:
            attempt.enter_context(fork.hold_forks())
            descriptor = self._locked()
            if descriptor is not None:
                attempt.callback(_release, descriptor, self.path)
                stack.push(attempt.pop_all())
            return descriptor

    def _locked(self) -> int | None:
        """The descriptor of the file, locked; None if another process holds it."""
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
        os.lseek(descriptor, _MOST, os.SEEK_SET)  # beyond the holder's name, which other processes read
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
