"""The tables of a collection in SQLite, the single source of truth; everything else is derived from them.

A *unit* is what the indexes hold: a document, or a passage if the collection splits. Every change gets the next
numbers of one sequence: a document's number is that of its first unit, a later version has a higher one, and a
removal leaves a tombstone with its own number. An index that is complete up to number n therefore catches up from
the rows after n.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import lru_cache, partial
from itertools import repeat
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError, StorageError

__all__ = ["FORMAT", "check_schema", "connect", "create_tables", "create_vectors", "failure", "told", "upgrade"]

FORMAT = 6
_APPLICATION = 0x68795271  # "hyRq": what SQLite's file header says that the file is

_LOOK = 1 << 20  # steps of SQLite's machine after which somebody looks how far a statement is
_STEPS = 1 << 24  # that any statement may take
_MOST_LOOKS = 1 << 40

_FIRST = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE state (
  sequence INTEGER NOT NULL,     -- the last number given out
  floor INTEGER NOT NULL,        -- tombstones up to this number have been removed
  documents INTEGER NOT NULL,
  units INTEGER NOT NULL
);
INSERT INTO state VALUES (0, 0, 0, 0);
CREATE TABLE documents (
  number INTEGER PRIMARY KEY,    -- of its first unit
  id TEXT NOT NULL UNIQUE,
  passages INTEGER NOT NULL,     -- 0: it is a unit itself
  metadata TEXT NOT NULL         -- a JSON object
);
CREATE TABLE texts (document INTEGER PRIMARY KEY, title TEXT, text TEXT NOT NULL);
CREATE TABLE passages (
  number INTEGER PRIMARY KEY,
  document INTEGER NOT NULL,
  start INTEGER NOT NULL,        -- in characters of the document's text
  stop INTEGER NOT NULL,
  headings TEXT NOT NULL         -- a JSON array
);
CREATE TABLE tombstones (number INTEGER PRIMARY KEY, id TEXT NOT NULL, passages INTEGER NOT NULL);
CREATE TABLE fields (            -- the metadata fields that were declared, for `sql_filter`
  field INTEGER, kind INTEGER, value, document INTEGER, PRIMARY KEY (field, kind, value, document)
) WITHOUT ROWID;
CREATE INDEX fields_of ON fields (document);
CREATE TABLE generations (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE embedders (number INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE);
"""

_UPGRADES: Mapping[int, str] = {
    1: """
CREATE TABLE sources (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, digest TEXT);
ALTER TABLE documents ADD COLUMN source INTEGER;
CREATE INDEX documents_of_source ON documents (source) WHERE source IS NOT NULL;
""",
    2: """
ALTER TABLE fields ADD COLUMN id TEXT;
ALTER TABLE fields ADD COLUMN passages INTEGER;
UPDATE fields SET (id, passages) = (SELECT id, passages FROM documents WHERE number = document);
""",
    3: """
ALTER TABLE state ADD COLUMN identity TEXT;
ALTER TABLE state ADD COLUMN token BLOB;
UPDATE state SET identity = lower(hex(randomblob(16))), token = randomblob(8);
CREATE TABLE history (sequence INTEGER PRIMARY KEY, token BLOB NOT NULL);
INSERT INTO history SELECT sequence, token FROM state;
""",
    4: """
ALTER TABLE documents ADD COLUMN edits TEXT;
""",
    5: """
ALTER TABLE documents ADD COLUMN first INTEGER;
CREATE INDEX documents_first ON documents (first) WHERE first IS NOT NULL;
ALTER TABLE state ADD COLUMN layout INTEGER NOT NULL DEFAULT 0;
ALTER TABLE embedders ADD COLUMN current INTEGER NOT NULL DEFAULT 1;
ALTER TABLE tombstones ADD COLUMN other INTEGER;
CREATE TABLE layouts (
  number INTEGER PRIMARY KEY, role TEXT NOT NULL, config TEXT NOT NULL, embedders TEXT NOT NULL,
  shared INTEGER NOT NULL, documents INTEGER NOT NULL, units INTEGER NOT NULL
);
CREATE TABLE other_units (document INTEGER PRIMARY KEY, first INTEGER NOT NULL, passages INTEGER NOT NULL);
CREATE INDEX other_units_first ON other_units (first);
CREATE TABLE unread (
  unit INTEGER, embedder INTEGER, tokens INTEGER NOT NULL, PRIMARY KEY (unit, embedder)
) WITHOUT ROWID;
""",
}
"""What makes the next format of each: a new collection is made in the same steps as an old one is upgraded.

`identity` is that of the collection, for good. Each transaction that takes numbers gets a random `token`, and
`history` has those of the past, back to the last generation but one. A process that knows a number and its token
can tell whether the database is a later state of what they know, or was put back to an older one and went another
way.

A document's `metadata` is what is read and filtered by. Where `update_metadata` was called, `edits` has the fields
that it set, as a JSON object in which null stands for a field that it removed: when the document's source is put
again, they are applied to the metadata that come with it.

A *layout* is a configuration with the units that its splitter and its embedders made of the documents. `state` has
the random number of the current one (0: that of the collection's creation). `layouts` has at most one other: the
one that is being built (`role` is ``next``), or the one before the last switch (``previous``). The units of the
other layout are in `other_units`, a row for each document that is ready in it, unless it has the units of the
current one (`shared`). Their passages and vectors are in the same tables as all others, with their own numbers.
Where a document's units were made later than the document, `first` is the number of its first unit. A tombstone
has the document's number of passages in the `other` layout, if it was ready there.

`unread` has the units of which an embedder did not read all, with the number of tokens that it did not read.
"""

_VECTORS = (
    "CREATE TABLE vectors_{0} (unit INTEGER PRIMARY KEY, digest BLOB NOT NULL, vector BLOB NOT NULL)",
    "CREATE INDEX vectors_{0}_digest ON vectors_{0} (digest) WHERE digest != x''",
)
_OF_VECTORS = re.compile(r"vectors_(0|[1-9][0-9]{0,3})(_digest)?")
_STATISTICS = {  # what ANALYZE makes
    "sqlite_stat1": "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
    "sqlite_stat4": "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
}


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Convert SQLite's failures, and values that hybridrank never wrote, to our own errors."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InputError(f"a lone surrogate is not text: {error}") from error
    except sqlite3.DataError as error:
        raise InputError(f"a value is too large to be stored: {error}") from error
    except sqlite3.Error as error:
        raise failure(path, error) from error


def failure(path: Path, error: sqlite3.Error, *, known: bool = True) -> StorageError:
    """Our own error for one of SQLite's; `known` is whether it is certain that nothing was stored."""
    name = getattr(error, "sqlite_errorname", "")  # Python's own, of text that is none, have no name
    stored = "nothing of this change was stored"
    if not known:
        stored = "it is not known whether this change was stored: make it again, which is safe"
    hint = ""
    if name == "SQLITE_FULL":
        hint = f"; free some space, and try again: {stored}"
    elif name.startswith("SQLITE_IOERR") or not known:
        hint = f"; {stored}"
    elif name == "SQLITE_INTERRUPT":
        hint = " where it went through more than the file can hold: it is damaged"
        hint += "; restore it from a backup that snapshot() made"
    elif name == "SQLITE_ERROR" and "JSON" in str(error):
        hint = "; the metadata of a document is damaged: Collection.documents() names it"
    elif name.startswith("SQLITE_READONLY"):
        hint = "; it can only be read"
    elif name in ("", "SQLITE_ERROR", "SQLITE_NOTADB") or name.startswith(("SQLITE_CORRUPT", "SQLITE_CONSTRAINT")):
        hint = "; restore it from a backup that snapshot() made"
    return StorageError(f"the collection's database {path} failed: {error}{hint}")


class _Bounded(sqlite3.Connection):
    """A connection whose statements terminate, even if pages of a table form a cycle.

    What a statement has to do for each byte of the file grows with its own length: filters take less than a
    hundredth of a step for each of their characters. More than several times that is damage.
    """

    def bound(self, path: Path) -> None:
        """Begin to count the steps of statements; `path` is the database's."""
        self._files = str(path), f"{path}-wal"
        self._bytes = 0
        self._count("BEGIN")

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        self._count(statement)
        return super().execute(statement, parameters)

    def executemany(self, statement: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        self._count(statement)
        return super().executemany(statement, parameters)

    def _count(self, statement: str) -> None:
        if statement.startswith("BEGIN"):
            self._bytes = sum(map(_size, self._files))
        looks = (_STEPS + self._bytes * (128 + len(statement)) // 32) // _LOOK
        # no Python code, in which a signal's handler would run, whose exceptions SQLite's caller does not pass on
        self.set_progress_handler(partial(next, repeat(False, min(looks, _MOST_LOOKS)), True), _LOOK)


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except OSError:  # it is gone: the user of the connection gets the error
        return 0


def connect(path: Path, *, mode: str = "rw", immutable: bool = False) -> sqlite3.Connection:
    """Open the database for use by one thread at a time; the caller begins and ends transactions.

    `mode` is SQLite's: ``"ro"``, ``"rw"``, or ``"rwc"``, the only one that creates a missing file. `path` is
    absolute. An `immutable` database is read without locks: nobody may write to it meanwhile.
    """
    uri = f"{path.as_uri()}?mode={mode}{'&immutable=1' if immutable else ''}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False, factory=_Bounded
    )
    try:
        connection.bound(path)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")  # KiB
        connection.execute("PRAGMA wal_autocheckpoint = 8192")  # pages
    except BaseException:
        connection.close()
        raise
    return connection


def create_tables(connection: sqlite3.Connection) -> None:
    """Create an empty collection's tables in an empty database."""
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.executescript(f"BEGIN IMMEDIATE; {_FIRST} PRAGMA user_version = 1; COMMIT;")
    upgrade(connection, Path())


def create_vectors(connection: sqlite3.Connection, embedder: int) -> None:
    """Create the table of an embedder's vectors."""
    for statement in _VECTORS:
        connection.execute(statement.format(embedder))


def check_schema(connection: sqlite3.Connection, path: Path) -> int:
    """Check that the database has exactly the tables of a collection; returns its format.

    Added views, triggers and tables would be code that runs whenever the collection is used.

    Raises:
        StorageError: this is no collection, a newer version of hybridrank wrote it, or its schema was changed.
    """
    connection.execute("SAVEPOINT look")  # one state, while another process may be upgrading it
    try:
        return _checked_format(connection, path)
    finally:
        connection.execute("RELEASE look")


def _checked_format(connection: sqlite3.Connection, path: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION or version < 1:
        raise StorageError(f"{path} is an SQLite database, but no collection of hybridrank")
    if version > FORMAT:
        raise StorageError(
            f"{path} has format {version}, and this version of hybridrank knows formats up to {FORMAT}: "
            "upgrade hybridrank to open it"
        )
    expected = dict(_expected(version))
    for kind, name, statement in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if statement is None and str(name).startswith("sqlite_autoindex_"):
            continue
        if vectors := _OF_VECTORS.fullmatch(str(name)):
            wanted = _normalized(_VECTORS[vectors[2] is not None].format(vectors[1]))
        else:
            wanted = expected.pop(name, "") or _STATISTICS.get(name, "")
        if not isinstance(statement, str) or _normalized(statement) != wanted:
            raise StorageError(
                f"{path} is damaged: hybridrank did not make its {kind} {name} as it is; "
                "restore it from a backup that snapshot() made"
            )
    if expected:
        raise StorageError(
            f"{path} is damaged: {min(expected)} is missing; restore it from a backup that snapshot() made"
        )
    return int(version)


@lru_cache
def _expected(version: int) -> Mapping[str, str]:
    """The statements that create the tables and indexes of a format, by name."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_FIRST + "".join(_UPGRADES[each] for each in range(1, version)))
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: _normalized(statement) for name, statement in rows}


@lru_cache(maxsize=256)
def _normalized(statement: str) -> str:
    """A statement without its comments, and with single spaces only where words would run together."""
    words = " ".join(re.sub(r"--[^\n]*", "", statement).split())
    return re.sub(r" ?([(),]) ?", r"\1", words)


def upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the tables to this version's format, if they are older.

    Raises:
        StorageError: as for `check_schema`.
    """
    version = check_schema(connection, path)
    while version < FORMAT:
        connection.execute("BEGIN IMMEDIATE")  # another process may be upgrading it too
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < FORMAT:
                for statement in filter(str.strip, _UPGRADES[version].split(";")):
                    connection.execute(statement)
                version += 1
                connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
