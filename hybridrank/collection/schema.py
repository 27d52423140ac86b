"""The tables of a collection, in SQLite: the only truth there is; everything else can be made from them again.

A *unit* is what the indexes hold: a document, or where the collection splits, a passage. Every change takes the
next numbers of one sequence: a document's number is that of its first unit, a later version has a higher one,
and what was removed leaves a tombstone with a number of its own. So an index that knows all up to number n
catches up from the rows after n.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hybridrank.errors import InputError, StorageError

__all__ = ["FORMAT", "connect", "create_tables", "told", "upgrade"]

FORMAT = 3
_APPLICATION = 0x68795271  # "hyRq": what SQLite's file header says that the file is

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
}
"""What makes the next format of each: a new collection is made in the same steps as an old one is upgraded."""


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say SQLite's failures as our own."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InputError(f"a lone surrogate is not text: {error}") from error
    except sqlite3.DataError as error:
        raise InputError(f"a value is too large to be stored: {error}") from error
    except sqlite3.DatabaseError as error:
        hint, name = "", getattr(error, "sqlite_errorname", "")  # Python's own, of text that is none, have no name
        if name == "SQLITE_FULL":
            hint = "; free some space, and try again: nothing of this change was stored"
        elif name.startswith("SQLITE_IOERR"):
            hint = "; nothing of this change was stored"
        elif name in ("", "SQLITE_CORRUPT", "SQLITE_NOTADB"):
            hint = "; restore it from a backup that snapshot() made"
        raise StorageError(f"the collection's database {path} failed: {error}{hint}") from error


def connect(path: Path) -> sqlite3.Connection:
    """Open the database for use by one thread at a time; transactions are begun and ended by hand."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")  # KiB
        connection.execute("PRAGMA wal_autocheckpoint = 8192")  # pages
    except BaseException:
        connection.close()
        raise
    return connection


def create_tables(connection: sqlite3.Connection) -> None:
    """Make an empty collection's tables in an empty database."""
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.executescript(f"BEGIN IMMEDIATE; {_FIRST} PRAGMA user_version = 1; COMMIT;")
    upgrade(connection, Path())


def upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the tables to this version's format, if they are older.

    Raises:
        StorageError: this is no collection, or a newer version of hybridrank wrote it.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION or not version:
        raise StorageError(f"{path} is an SQLite database, but no collection of hybridrank")
    if version > FORMAT:
        raise StorageError(
            f"{path} has format {version}, and this version of hybridrank knows formats up to {FORMAT}: "
            "upgrade hybridrank to open it"
        )
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
            connection.execute("ROLLBACK")
            raise
