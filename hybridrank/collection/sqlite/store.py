"""The database of a collection, and its connections."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from hybridrank.collection.sqlite.layouts import OtherLayout, create_views
from hybridrank.collection.sqlite.reader import UNKNOWN, Form, Reader
from hybridrank.collection.sqlite.rows import damaged
from hybridrank.collection.sqlite.schema import FORMAT, check_schema, connect, failure, told, upgrade
from hybridrank.collection.sqlite.writer import Writer
from hybridrank.errors import StorageError
from hybridrank.runtime import fork

__all__ = ["Store"]

_Reader = TypeVar("_Reader", bound=Reader)


class Store:
    """The database of a collection: provides transactions, each on a separate connection.

    It is bound to the files that were found when it was opened: if they are moved, removed or replaced, every
    later call fails. A database that is not writable is opened read-only, and then nothing is written.

    SQLite's connections and locks must not be carried into a forked child. A fork therefore waits until other
    threads have finished their transactions, and every connection is closed first; parent and child open new
    ones.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = str(path)
        self._form: Form = UNKNOWN
        self.read_only = not (_writable(path) and _writable(path.parent))
        self.identity = ""
        self._immutable = False
        self._files: tuple[object, ...] = ()  # that the connections have open; none while there are no connections
        self._guard = fork.new_lock()
        self._idle: list[sqlite3.Connection] = []
        self._lent = 0  # connections
        self._keeper: sqlite3.Connection | None = None  # see `_shut`; after `_idle`, so that it goes last
        self._lost = False  # forked anyway
        self.closed = False
        fork.before(self._close_idle)
        fork.in_child(self._forked)
        try:
            with told(path), fork.hold_forks():
                self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        """Determine how the database can be opened, and its identity; upgrade it to this version's format."""
        _refuse_links(self.path)
        self._immutable = self.read_only and not _held(self._name + "-wal") and not _look(self._name + "-shm")
        try:
            connection = self._connect()
        except sqlite3.OperationalError as error:
            if not self.read_only or self._immutable:
                raise
            if _held(self._name + "-wal"):
                raise StorageError(
                    f"the collection at {self.path.parent} can only be read, and its last changes are in a log "
                    "that cannot be opened without writing: open and close it once where it can be written"
                ) from error
            self._immutable = True
            connection = self._connect()
        self._idle.append(connection)
        if not self.read_only:
            upgrade(connection, self.path)
            connection.execute("PRAGMA journal_mode = WAL")
        elif check_schema(connection, self.path) < FORMAT:
            raise StorageError(
                f"the collection at {self.path.parent} has an older format and can only be read: open it once "
                "where it can be written, which upgrades it"
            )
        self.identity = Reader(connection).state().identity

    def _connect(self, mode: str = "rw") -> sqlite3.Connection:
        connection = connect(self.path, mode="ro" if self.read_only else mode, immutable=self._immutable)
        try:
            check_schema(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _keep(self) -> None:
        """Have a keeper, and know which files the connections have open; while the guard is held."""
        if self._keeper is None and not self.read_only:
            self._keeper = self._connect(mode="ro")  # which reads, and so opens the log
            database = self._files[:1]
            self._files = database + self._found()[len(database) :]
        self._files = self._files or self._found()

    def _found(self) -> tuple[object, ...]:
        """What tells the files at the path from others."""
        database = _look(self._name)
        if self._immutable:
            return database, _held(self._name + "-wal")
        if self.read_only:
            return (database and database[:2],)
        log, shared = _look(self._name + "-wal"), _look(self._name + "-shm")
        return database and database[:2], log and log[:2], shared and shared[:2]

    def same(self, *, log: bool = False) -> bool:
        """Whether the path still leads to the same database; and to the same `log`, while there are connections.

        Without any, the log may come and go.
        """
        files = self._files if log else self._files[:1]
        return files == self._found()[: len(files)]

    def require_same(self, *, log: bool = True) -> None:
        """Raise a `StorageError` unless the path still leads to the files that are open."""
        if self.same(log=log):
            return
        folder = self.path.parent
        if _look(self._name) is None:
            what = "was moved or removed"
        elif self._found()[0] != self._files[0]:
            what = "was changed by somebody else" if self._immutable else "was replaced"
        else:
            what = "lost its write-ahead log, or got another one,"
        raise StorageError(f"the collection at {folder} {what} while it was open: close it, and open it again")

    def _close_idle(self) -> None:
        """Close all connections before a fork, when none is in use."""
        with self._guard:
            idle, self._idle = self._idle, []
            self._shut(idle)

    def _forked(self) -> None:
        self._lost = self._lost or bool(self._lent or self._idle or self._keeper)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for the caller only."""
        with told(self.path), fork.hold_forks():
            with self._guard:
                if self.closed:
                    raise StorageError(f"the collection at {self.path.parent} has been closed")
                if self._lost:
                    raise StorageError(
                        f"this process was forked while the collection at {self.path.parent} was at work, and "
                        'cannot use it: start processes by "spawn" or "forkserver", or fork while nothing goes on'
                    )
                self._keep()
                self.require_same()
                connection = self._idle.pop() if self._idle else None
                self._lent += 1
            try:
                if connection is None:
                    connection = self._connect()
                    self.require_same()
                yield connection
            finally:
                try:
                    if connection is not None and connection.in_transaction:
                        connection.execute("ROLLBACK")
                finally:
                    with self._guard:
                        self._lent -= 1
                        if connection is not None and not self.closed:
                            self._idle.append(connection)
                        else:
                            self._shut([] if connection is None else [connection])

    def _shut(self, connections: Iterable[sqlite3.Connection]) -> None:
        """Close connections, while the guard is held.

        The last connection to a database that is closed moves the log into it and removes the log, by its name. If
        another database has taken its place, that name is the other's. So there is a keeper, which can only read
        and therefore does neither: it is closed last where that has happened, and else before the others.
        """
        last = not self._lent and not self._idle
        keeper = self._keeper if last else None
        if last:
            self._keeper = None
        if keeper is not None and self.same(log=True):
            keeper.close()
            keeper = None
        for connection in connections:
            connection.close()
        if keeper is not None:
            keeper.close()

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """A read transaction."""
        with self.connection() as connection:
            connection.execute("BEGIN")
            yield self._known(Reader(connection, self._form))

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """A write transaction, committed at the end unless an exception is raised.

        Raises:
            StorageError: the collection can only be read; or nothing was stored; or it is not known whether.
        """
        self.require_writable()
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield self._known(Writer(connection, self._form))
            self.require_same()
            try:
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                partly = getattr(error, "sqlite_errorname", "") in ("SQLITE_FULL", "SQLITE_IOERR_WRITE")
                raise failure(self.path, error, known=_taken_back(connection) or partly) from error
            self.require_same()

    def _known(self, reader: _Reader) -> _Reader:
        if reader.state().identity != self.identity:
            raise StorageError(
                f"another collection has taken the place of the one at {self.path.parent} while it was open: "
                "close it, and open it again"
            )
        if reader.state().layout != reader.form.layout:
            self._form = reader.form = reader.read_form()
        if not reader.form.splits and reader.state().documents != reader.state().units:
            raise damaged("its table state counts more units than documents, and it does not split")
        return reader

    def require_writable(self) -> None:
        """Raise a `StorageError` if the collection is read-only, or no longer there."""
        self.require_same(log=False)
        if self.read_only:
            raise StorageError(
                f"the collection at {self.path.parent} can only be read: this process may not write there, or the "
                "file system is read-only; copy it to where you can write to change it"
            )

    def shrink(self) -> None:
        """Return unused space to the disk."""
        with self.connection() as connection:
            connection.executescript("PRAGMA incremental_vacuum")  # execute() takes one step of it: one page
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close every idle connection, and the others when they are done."""
        with self._guard:
            self.closed = True
            idle, self._idle = self._idle, []
            self._shut(idle)


class OtherStore(Store):
    """The database, in which the other layout is the current one. It is read only."""

    def __init__(self, path: Path, other: OtherLayout) -> None:
        self.other = other
        super().__init__(path)

    def _prepare(self) -> None:
        self.read_only = True
        super()._prepare()

    def _connect(self, mode: str = "rw") -> sqlite3.Connection:
        connection = super()._connect(mode)
        try:
            create_views(connection, self.other)
        except BaseException:
            connection.close()
            raise
        return connection

    def _known(self, reader: _Reader) -> _Reader:
        if not reader.sees(self.other.number):
            raise StorageError(
                f"another process has switched to the layout that is being built of the collection at "
                f"{self.path.parent}, or removed it: run the same command again"
            )
        reader = super()._known(reader)
        reader.form = reader.form._replace(indexed={})  # the table `fields` is of the current layout
        return reader


def _taken_back(connection: sqlite3.Connection) -> bool:
    """After a COMMIT that failed, see to it that nothing of it is found later; whether that is certain.

    All of a change may be in the log, where nobody counts it until a process reads the log from its beginning and
    finds the change complete. The next transaction is written in its place: so one follows that changes nothing.
    """
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA user_version = {FORMAT}")  # a row that stays the same would not be written
        connection.execute("COMMIT")
    except sqlite3.Error:
        return False
    return True


def _look(file: str) -> tuple[int, int, int, int] | None:
    """Device, inode, size and time of a file; None where there is none."""
    try:
        found = os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _held(file: str) -> bool:
    """Whether there is a file with something in it."""
    found = _look(file)
    return found is not None and found[2] > 0


def _refuse_links(path: Path) -> None:
    """Reject links: SQLite would write to their targets."""
    for ending in ("", "-wal", "-shm", "-journal"):
        file = f"{path}{ending}"
        try:
            mode = os.lstat(file).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise StorageError(
                f"{file} is {'a symbolic link' if stat.S_ISLNK(mode) else 'no file'}: a collection's own files "
                "must lie in its directory; to have it on another disk, link the whole directory"
            )


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
