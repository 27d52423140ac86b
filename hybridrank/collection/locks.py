"""Who may go in: many readers or one writer among threads, and one writer among processes."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from filelock import FileLock, Timeout

from hybridrank.errors import LockedError, StorageError

__all__ = ["ReadWriteLock", "WriterLock"]


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

    The operating system keeps the lock (on `path`); who holds it is told by a file beside it.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._lock = FileLock(path, thread_local=False)
        self._holder = path.with_suffix(".json")
        self.files = (path, self._holder)
        self._threads = threading.Lock()
        self._doing = ""
        self.timeout = timeout

    @contextmanager
    def holding(self, doing: str, *, timeout: float | None = None) -> Iterator[None]:
        """Have the lock; `doing` says what for, to those who wait in vain (`timeout` in seconds).

        Raises:
            LockedError: another thread or process still had it when the time was up; `holder` says which.
        """
        limit = self.timeout if timeout is None else timeout
        deadline = monotonic() + limit
        if not self._threads.acquire(timeout=limit):
            raise self._refusal(f"another thread of this process ({self._doing})", limit)
        try:
            try:
                self._lock.acquire(timeout=max(0.0, deadline - monotonic()), poll_interval=0.02)
            except Timeout:
                raise self._refusal(self._named_holder(), limit) from None
            except OSError as error:
                raise StorageError(f"the collection cannot be locked for writing: {error}") from error
            try:
                self._doing = doing
                with suppress(OSError):  # a full disk must not keep anybody from deleting
                    self._holder.write_text(json.dumps(_about_us(doing)), encoding="utf-8")
                yield
            finally:
                self._lock.release()
        finally:
            self._threads.release()

    def _refusal(self, holder: str, limit: float) -> LockedError:
        return LockedError(
            f"the collection is being written by {holder}; waited {limit:g} s: try again when it is done",
            holder=holder,
        )

    def _named_holder(self) -> str:
        try:
            told = json.loads(self._holder.read_text(encoding="utf-8"))
            return "process {pid} on {host} ({doing} since {since}: {command})".format(**told)
        except (OSError, ValueError, TypeError, LookupError):
            return "another process, which has not said which"


def _about_us(doing: str) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "doing": doing,
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.orig_argv)[:200],
    }
