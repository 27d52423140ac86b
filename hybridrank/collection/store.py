"""The database of a collection, and the connections to it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakSet

from hybridrank.collection.reader import Reader
from hybridrank.collection.schema import connect, told
from hybridrank.collection.writer import Writer
from hybridrank.errors import StorageError

__all__ = ["Store"]

_FORK_WAITS = 30.0  # seconds, for what other threads have begun
_stores: WeakSet[Store] = WeakSet()


class Store:
    """The database of a collection: hands out transactions, each on a connection of its own.

    SQLite's connections, and what it knows of their locks, must not come along into a forked child: it would write
    what nobody sees. So a fork waits until other threads are done with what they have begun, and every connection
    is closed first; parent and child open new ones.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.indexed: Mapping[str, int] = {}
        self.splits = False
        self._guard = threading.Condition(threading.Lock())
        self._idle: list[sqlite3.Connection] = []
        self._inside: list[int] = []  # threads, as often as they are
        self._forks = 0  # under way
        self._lost = False  # forked all the same
        self.closed = False
        _stores.add(self)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Hold off forks. Whoever holds a lock that others wait for inside must be inside before."""
        me = threading.get_ident()
        with self._guard:
            self._guard.wait_for(lambda: not self._forks or me in self._inside)
            self._inside.append(me)
        try:
            yield
        finally:
            with self._guard:
                self._inside.remove(me)
                self._guard.notify_all()

    def before_fork(self) -> None:
        """Wait for other threads, and close all connections."""
        me = threading.get_ident()
        with self._guard:
            self._forks += 1
            self._guard.wait_for(lambda: all(thread == me for thread in self._inside), timeout=_FORK_WAITS)
            while self._idle:
                self._idle.pop().close()

    def after_fork(self) -> None:
        """Go on, in the parent."""
        with self._guard:
            self._forks = max(0, self._forks - 1)  # the store may be younger than the fork
            self._guard.notify_all()

    def forked(self) -> None:
        """Go on, in the child: alone."""
        self._guard = threading.Condition(threading.Lock())
        self._forks, self._lost = 0, bool(self._inside or self._idle)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for the caller alone."""
        with told(self.path), self.inside():
            with self._guard:
                if self.closed:
                    raise StorageError(f"the collection at {self.path.parent} has been closed")
                if self._lost:
                    raise StorageError(
                        f"this process was forked while the collection at {self.path.parent} was at work, and "
                        'cannot use it: start processes by "spawn" or "forkserver", or fork while nothing goes on'
                    )
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = connect(self.path)
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                with self._guard:
                    if not self.closed and not self._forks:
                        self._idle.append(connection)
                        connection = None
                if connection is not None:
                    connection.close()

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """A transaction that reads."""
        with self.connection() as connection:
            connection.execute("BEGIN")
            yield Reader(connection, indexed=self.indexed, splits=self.splits)

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """A transaction that writes, committed at the end unless something is raised."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield Writer(connection, indexed=self.indexed, splits=self.splits)
            connection.execute("COMMIT")

    def shrink(self) -> None:
        """Give room that is no longer needed back to the disk."""
        with self.connection() as connection:
            connection.executescript("PRAGMA incremental_vacuum")  # execute() takes one step of it: one page
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close every connection that is not at work, and the others when they are done."""
        with self._guard:
            self.closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _each(call: Callable[[Store], None]) -> Callable[[], None]:
    def on_all() -> None:
        for store in list(_stores):
            call(store)

    return on_all


if hasattr(os, "register_at_fork"):  # not on Windows, which forks nothing
    os.register_at_fork(
        before=_each(Store.before_fork),
        after_in_parent=_each(Store.after_fork),
        after_in_child=_each(Store.forked),
    )
