"""Scores by key on disk, bounded in size: a cache, which may lose entries but never returns a wrong one.

One SQLite file in write-ahead mode, shared by threads and processes. A row is a key, a score with its spans, a
checksum over both, and whether the row was used since a sweep last came by.

**Eviction** is the clock, a cheap stand-in for least recently used (Corbató, "A Paging Experiment with the Multics
System", 1968). When the file's pages in use exceed the bound, a hand goes on over the keys, `_SWEEP` rows at once:
a row that was used since it last came by is kept, and marked as unused; any other is deleted. So what is asked for
again and again stays, and a hit writes only where the mark is not there yet.

**Damage** is what SQLite complains of, and a wrong checksum; a power cut may do some, since nothing is synced. The
file stays where it is, for inspection, and the store goes on with the next one:
``scores-2-7.sqlite3`` is file 7 of format 2. No file is ever put in the place of another, since other processes
may have it open; only the last damaged one is kept.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from hybridrank.errors import StorageError
from hybridrank.runtime import fork
from hybridrank.runtime.deadline import remaining
from hybridrank.types import Span

__all__ = ["KEY_BYTES", "Entry", "ScoreStore"]

KEY_BYTES = 16
_FORMAT = 2  # raise it when the table or the keys change: files of other formats are passed over
_WAIT = 0.1  # seconds, for others who write; less where the deadline is near
_MOST_KEYS = 30_000  # in one statement; SQLite allows 32,766 parameters
_SWEEP = 1_000  # rows
_SWEEPS = 16  # in one transaction
_SCORE = struct.Struct("<d")
_SPAN = struct.Struct("<IId")
_CHECKSUM = struct.Struct("<I")  # of key, score and spans; it comes last

_TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, value BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock (number INTEGER PRIMARY KEY, hand BLOB NOT NULL);
INSERT OR IGNORE INTO clock VALUES (1, x'');
COMMIT;
"""


class Entry(NamedTuple):
    """What is kept of a pair."""

    score: float
    spans: tuple[Span, ...] = ()


class ScoreStore:
    """Scores by key in `folder`, in about `max_bytes` (the write-ahead log, some 4 MiB, comes on top).

    Nothing is opened before the first use. Both methods wait no more than a moment for others, and raise
    `StorageError` where the store cannot be used now: there is a score to compute anyway.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._number: int | None = None  # of the file in use
        self._guard = fork.new_lock()
        self._writing = fork.new_lock()
        self._idle: list[sqlite3.Connection] = []
        fork.before(self._close_idle)
        fork.in_child(self._forget_idle)

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Entry]:
        """The stored scores for these keys.

        Raises:
            StorageError: they cannot be read.
        """
        found: dict[bytes, Entry] = {}
        fresh = []  # rows to mark as used
        with self._connection() as connection:
            for start in range(0, len(keys), _MOST_KEYS):
                part = keys[start : start + _MOST_KEYS]
                rows = connection.execute(
                    f"SELECT key, value, used FROM scores WHERE key IN ({_marks(part)})", part
                ).fetchall()
                for key, value, used in rows:
                    found[key] = _unpack(key, value)
                    if not used:
                        fresh.append(key)
            if fresh and self._writing.acquire(blocking=False):  # writers come first: marks can wait
                try:
                    with suppress(sqlite3.OperationalError):
                        connection.execute("PRAGMA busy_timeout = 0")
                        for start in range(0, len(fresh), _MOST_KEYS):
                            part = fresh[start : start + _MOST_KEYS]
                            connection.execute(f"UPDATE scores SET used = 1 WHERE key IN ({_marks(part)})", part)
                finally:
                    self._writing.release()
        return found

    def put(self, entries: Mapping[bytes, Entry]) -> None:
        """Store these entries in one transaction; an existing key keeps its entry.

        Raises:
            StorageError: they cannot be written.
        """
        rows = [(key, _pack(key, entry)) for key, entry in entries.items()]
        if not self._writing.acquire(timeout=_patience()):
            raise StorageError("other threads are writing to it")
        try:
            with self._connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?, 0)", rows)
                self._evict(connection, len(rows))
                connection.execute("COMMIT")
        finally:
            self._writing.release()

    def _evict(self, connection: sqlite3.Connection, added: int) -> None:
        """Make room, if there is too little, for at least twice what was added."""
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        most = self._max_bytes // page_size
        deleted = sweeps = 0
        while sweeps < _SWEEPS and (deleted < 2 * added or sweeps == 0) and _pages(connection)[0] > most:
            deleted += self._sweep(connection)
            sweeps += 1
        used, free = _pages(connection)
        for _ in range(min(free, used + free - most)):
            connection.execute("PRAGMA incremental_vacuum(1)")  # sqlite3 never gives back more than one at once

    def _sweep(self, connection: sqlite3.Connection) -> int:
        """Go on over the next rows; gives how many were deleted. The hand is the key in `clock`."""
        (hand,) = connection.execute("SELECT hand FROM clock").fetchone()
        end = connection.execute(
            "SELECT key FROM scores WHERE key >= ? ORDER BY key LIMIT 1 OFFSET ?", (hand, _SWEEP)
        ).fetchone()
        part = (hand, b"\xff" * (KEY_BYTES + 1) if end is None else end[0])
        swept = connection.execute("DELETE FROM scores WHERE key >= ? AND key < ? AND used = 0", part)
        connection.execute("UPDATE scores SET used = 0 WHERE key >= ? AND key < ? AND used = 1", part)
        connection.execute("UPDATE clock SET hand = ?", (b"" if end is None else end[0],))
        return swept.rowcount

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for the caller alone; a file that turns out to be damaged is given up."""
        number: int | None = None
        connection: sqlite3.Connection | None = None
        off = ExitStack()
        try:
            off.enter_context(fork.hold_forks())
            with self._guard:
                if self._number is None:
                    self._folder = self._folder.expanduser()
                    self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                    self._number = max(self._numbers(), default=1)
                number = self._number
                connection = self._idle.pop() if self._idle else self._open(self._file(number))
            connection.execute(f"PRAGMA busy_timeout = {int(_patience() * 1000)}")
            yield connection
            with self._guard:
                if number == self._number:
                    self._idle.append(connection)
                    connection = None
        except (sqlite3.Error, OSError, RuntimeError, _Damaged) as error:  # RuntimeError: no home directory
            if number is not None and _is_damage(error):
                self._give_up(number)
                problem = f"{self._file(number)} is damaged ({error}); a new one takes its place"
                raise StorageError(problem) from error
            raise StorageError(f"the scores in {self._folder} cannot be used: {error}") from error
        finally:
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()  # and roll back
            off.close()

    def _open(self, file: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(file, timeout=_patience(), isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = OFF")  # no search waits for a disk; see "damage" above
            connection.execute("PRAGMA journal_size_limit = 4194304")
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'clock'").fetchone() is None:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heeded by an empty file alone
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_TABLES)
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_up(self, number: int) -> None:
        """Go on with the next file, and remove those before the damaged one."""
        with self._guard:
            if number == self._number:
                self._number = number + 1
                while self._idle:
                    self._idle.pop().close()
        with suppress(OSError):
            for older in self._numbers():
                if older < number:
                    for suffix in ("", "-wal", "-shm"):
                        Path(f"{self._file(older)}{suffix}").unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self._folder / f"scores-{_FORMAT}-{number}.sqlite3"

    def _numbers(self) -> list[int]:
        names = (path.stem.rpartition("-")[2] for path in self._folder.glob(f"scores-{_FORMAT}-*.sqlite3"))
        return [int(name) for name in names if name.isdecimal()]

    def _close_idle(self) -> None:
        """Before a fork: SQLite's connections must not come along into a child."""
        with self._guard:
            while self._idle:
                self._idle.pop().close()

    def _forget_idle(self) -> None:
        self._idle = []


class _Damaged(Exception):
    """A row is not what was written."""


def _pack(key: bytes, entry: Entry) -> bytes:
    spans = b"".join([_SPAN.pack(span.start, span.end, span.score) for span in entry.spans])
    value = _SCORE.pack(entry.score) + spans
    return value + _CHECKSUM.pack(crc32(key + value))


def _unpack(key: bytes, value: bytes) -> Entry:
    try:
        given, (checksum,) = value[: -_CHECKSUM.size], _CHECKSUM.unpack(value[-_CHECKSUM.size :])
        (score,) = _SCORE.unpack(given[: _SCORE.size])
        spans = tuple(Span(*each) for each in _SPAN.iter_unpack(given[_SCORE.size :]))
    except (struct.error, TypeError):
        raise _Damaged("a row is no score") from None
    if checksum != crc32(key + given):
        raise _Damaged("a score's checksum is wrong")
    return Entry(score, spans)


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
    return isinstance(error, _Damaged) or code in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,  # no such column: somebody else's table
    )


def _marks(keys: Sequence[bytes]) -> str:
    return ",".join("?" * len(keys))


def _pages(connection: sqlite3.Connection) -> tuple[int, int]:
    """Pages of the file that are in use, and that are free."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return pages - free, free


def _patience() -> float:
    """Seconds to wait for others: half of what the deadline leaves, and not much anyway."""
    left = remaining()
    return _WAIT if left is None else min(_WAIT, left / 2)
