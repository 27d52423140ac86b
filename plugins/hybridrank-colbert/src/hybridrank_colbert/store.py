"""Token vectors by key on disk.

One SQLite file, shared by threads and processes. What `put` returned from survives a killed process; a power cut
may take the last of it, and it is made again. A row is a key and a value that carries its own checksum
(`vectors.pack`): one that does not fit is as if it were not there.

A connection is opened for each call, so that nothing is shared by threads, and a fork finds none open (it waits
for those at work). The journal is SQLite's plain one: the file can then be read where nothing can be written.

**Damage** is what SQLite complains of. The file stays where it is, and the store goes on with the next one:
``tokens-1-7.sqlite3`` is file 7 of format 1. No file is ever put in the place of another, since other processes
may have it open; only the last damaged one is kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from hybridrank.errors import StorageError
from hybridrank.runtime import hold_forks, remaining

__all__ = ["KEY_BYTES", "TokenStore"]

KEY_BYTES = 16
_FORMAT = 1  # raise it when the table, the keys or the values change: files of other formats are passed over
_WAIT = 5.0  # seconds, for others who write; less where the deadline is near
_MANY = 500  # parameters in one statement

_TABLE = "CREATE TABLE IF NOT EXISTS tokens (key BLOB PRIMARY KEY, value BLOB NOT NULL)"


class TokenStore:
    """Values by key in `folder`, in at most `max_bytes`: values that do not fit are rejected, nothing is evicted.

    Nothing is opened before the first use.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The stored values for these keys.

        Raises:
            StorageError: they cannot be read.
        """
        return dict(self._rows("SELECT key, value", keys))

    def held(self, keys: Sequence[bytes]) -> set[bytes]:
        """The keys that have a value.

        Raises:
            StorageError: they cannot be read.
        """
        return {key for (key,) in self._rows("SELECT key", keys)}

    def put(self, values: Mapping[bytes, bytes]) -> None:
        """Store these values, in one transaction, replacing existing ones.

        Raises:
            StorageError: they cannot be written, or would not fit. Nothing was.
        """
        with self._connection(create=True) as connection:
            connection.execute("BEGIN IMMEDIATE")
            used = _bytes_used(connection)
            if used + sum(map(len, values.values())) > self._max_bytes:
                raise StorageError(
                    f"the token vectors in {self._folder} are full ({used:,} of {self._max_bytes:,} bytes): raise "
                    "max_bytes, or forget what no document needs any more (precompute with prune=True)"
                )
            connection.executemany("INSERT OR REPLACE INTO tokens VALUES (?, ?)", values.items())
            connection.execute("COMMIT")

    def keep_only(self, keys: Collection[bytes]) -> int:
        """Delete all other values, and return their space to the disk. Returns how many there were.

        Raises:
            StorageError: they cannot be forgotten. Nothing was.
        """
        with self._connection(create=True) as connection:
            connection.execute("CREATE TEMP TABLE kept (key BLOB PRIMARY KEY) WITHOUT ROWID")
            connection.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((key,) for key in keys))
            connection.execute("BEGIN IMMEDIATE")
            gone = connection.execute("DELETE FROM tokens WHERE key NOT IN (SELECT key FROM kept)").rowcount
            connection.execute("COMMIT")
            if gone:
                with suppress(sqlite3.OperationalError):  # others are reading, or there is no room: next time
                    connection.execute("VACUUM")
        return gone

    def _rows(self, what: str, keys: Sequence[bytes]) -> list[Any]:
        if not keys or not self._numbers():
            return []
        found: list[Any] = []
        with self._connection(create=False) as connection:
            if not _has_table(connection):  # somebody is just making it
                return []
            for start in range(0, len(keys), _MANY):
                some = keys[start : start + _MANY]
                marks = ", ".join("?" * len(some))
                found += connection.execute(f"{what} FROM tokens WHERE key IN ({marks})", some).fetchall()
        return found

    @contextmanager
    def _connection(self, *, create: bool) -> Iterator[sqlite3.Connection]:
        """A connection for the caller alone, closed at the end; a file that turns out damaged is given up."""
        number = None
        try:
            if create:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            number = max(self._numbers(), default=1)
            with hold_forks(), closing(self._open(self._file(number), create=create)) as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            if number is not None and _is_damage(error):
                problem = f"{self._file(number)} is damaged ({error}); a new file takes its place"
                self._give_up(number)
                raise StorageError(problem) from error
            raise StorageError(f"the token vectors in {self._folder} cannot be used: {error}") from error

    def _open(self, file: Path, *, create: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(file, timeout=_patience(), isolation_level=None)
        try:
            if create and not _has_table(connection):
                connection.execute("PRAGMA page_size = 16384")  # heeded by an empty file alone
                connection.execute(_TABLE)
        except BaseException:
            connection.close()
            raise
        return connection

    def _give_up(self, number: int) -> None:
        """Begin the next file, and remove those before the damaged one."""
        with suppress(sqlite3.Error, OSError):
            self._open(self._file(number + 1), create=True).close()
        with suppress(OSError):
            for older in self._numbers():
                if older < number:
                    for suffix in ("", "-journal"):
                        Path(f"{self._file(older)}{suffix}").unlink(missing_ok=True)

    def _file(self, number: int) -> Path:
        return self._folder / f"tokens-{_FORMAT}-{number}.sqlite3"

    def _numbers(self) -> list[int]:
        names = (path.stem.rpartition("-")[2] for path in self._folder.glob(f"tokens-{_FORMAT}-*.sqlite3"))
        return [int(name) for name in names if name.isdecimal()]


def _has_table(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'tokens'").fetchone() is not None


def _bytes_used(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * size)


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _patience() -> float:
    """Seconds to wait for others: half of what the deadline leaves, and not forever anyway."""
    left = remaining()
    return _WAIT if left is None else min(_WAIT, left / 2)
