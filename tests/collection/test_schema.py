"""A database has the tables of a collection and nothing that would run when they are read."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

import pytest
from support import TOPICS, NgramEmbedder

from hybridrank import Collection, Document
from hybridrank.collection.sqlite import schema
from hybridrank.errors import StorageError
from hybridrank.retrieval import BM25, Faiss

ARMS = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Collection.create(tmp_path / "c", ARMS, indexed_fields=["year"]) as collection:
        collection.add(TOPICS)
    return tmp_path / "c"


def run(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path / "collection.db")) as connection:
        connection.executescript(script)


FOREIGN = {
    "a view in place of documents": f"""
        ALTER TABLE documents RENAME TO theirs;
        CREATE VIEW documents AS {ENDLESS} i AS number, i AS id, 0 AS passages, '' AS metadata FROM n;""",
    "a view in place of state": "DROP TABLE state; CREATE VIEW state AS " + ENDLESS + " i AS sequence FROM n;",
    "another view": f"CREATE VIEW more AS {ENDLESS} i FROM n;",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON documents BEGIN DELETE FROM texts; END;",
    "a trigger that has no end": f"""
        CREATE TRIGGER t BEFORE UPDATE ON state BEGIN INSERT INTO settings {ENDLESS} 'n' || i, '' FROM n; END;""",
    "another table": "CREATE TABLE more (a);",
    "a virtual table": "CREATE VIRTUAL TABLE more USING fts5(a);",
    "an index on an expression": "CREATE INDEX more ON documents (json_extract(metadata, '$.a'));",
    "a column more": "ALTER TABLE texts ADD COLUMN more;",
    "a generated column": "ALTER TABLE texts ADD COLUMN more AS (upper(text));",
    "a constraint": """
        PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET sql = replace(sql, 'passages INTEGER', 'passages INTEGER CHECK (1)')
            WHERE name = 'documents';""",
    "a constraint that looks like a comment": """
        PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET sql = replace(sql, 'text TEXT NOT NULL', 'text TEXT NOT NULL DEFAULT ''--''')
            WHERE name = 'texts';""",
    "a missing table": "DROP TABLE tombstones;",
    "a missing index": "DROP INDEX fields_of;",
    "no vectors": "DROP TABLE vectors_0;",
    "vectors of another kind": "DROP TABLE vectors_0; CREATE VIEW vectors_0 AS SELECT 1 AS unit;",
    "an embedder without vectors": "INSERT INTO embedders VALUES (7, 'another', 1);",
    "a schema that is no SQL": """
        PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE TABLE (' WHERE name = 'texts';""",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_schema_that_is_not_ours_is_refused(path: Path, what: str) -> None:
    run(path, FOREIGN[what])
    with pytest.raises(StorageError, match=r"collection\.db.*(damaged|malformed|not a database)"):
        Collection.open(path, ARMS)


def test_an_older_schema_that_is_not_ours_is_not_upgraded(tmp_path: Path) -> None:
    (application,) = struct.unpack(">i", b"hyRq")
    script = f"PRAGMA application_id = {application}; {schema._FIRST} PRAGMA user_version = 1;"
    run(tmp_path, script + "INSERT INTO texts VALUES (1, NULL, 'text');")
    shutil.copy(tmp_path / "collection.db", tmp_path / "sound.db")
    run(tmp_path, "CREATE TRIGGER t AFTER UPDATE ON state BEGIN DELETE FROM texts; END;")
    with pytest.raises(StorageError, match="did not make its trigger t"):
        Collection.open(tmp_path, ARMS)
    with closing(sqlite3.connect(tmp_path / "collection.db")) as connection:
        assert connection.execute("SELECT count(*) FROM texts").fetchone() == (1,)
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    shutil.move(tmp_path / "sound.db", tmp_path / "collection.db")
    with pytest.raises(StorageError, match="the setting 'config' is not one"):  # of no collection that was made
        Collection.open(tmp_path, ARMS)
    with closing(sqlite3.connect(tmp_path / "collection.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.FORMAT,)


def test_what_sqlite_itself_adds_is_accepted(path: Path) -> None:
    run(path, "ANALYZE; VACUUM;")
    with Collection.open(path, ARMS) as collection:
        assert list(collection.documents()) == TOPICS


def test_a_trigger_that_comes_while_it_is_open(path: Path) -> None:
    with Collection.open(path, ARMS) as collection:
        reading = collection.documents()
        next(reading)  # a connection is in use: the next call opens another
        run(path, FOREIGN["a trigger"])
        with pytest.raises(StorageError, match="did not make its trigger t"):
            list(zip(collection.documents(), collection.documents(), strict=True))


def test_a_tombstone_of_more_passages_than_anybody_can_count_to(path: Path) -> None:
    with Collection.open(path, ARMS) as collection:
        collection.compact()
        collection.delete(["blank"])
    run(path, "UPDATE tombstones SET passages = 2000000000")
    with Collection.open(
        path, ARMS
    ) as collection:  # what was removed is not asked for: the indexes are made again
        assert list(collection.documents()) == [each for each in TOPICS if each.id != "blank"]
        with collection.reading() as view:
            assert all(len(index) == len(TOPICS) - 1 for index in view.indexes.values())


def without_end(database: Path, table: str) -> None:
    """Make each inner page of a table have one child many times over, many levels deep."""
    with closing(sqlite3.connect(database)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(database.read_bytes())
    pages = memoryview(content)
    top = pages[(root - 1) * size : root * size]
    assert top[0] == 2, "an inner page of an index"
    (cells,) = struct.unpack_from(">H", top, 3)
    places = [8, *struct.unpack_from(f">{cells}H", top, 12)]  # of the numbers of its children
    children = [struct.unpack_from(">I", top, place)[0] for place in places]
    page = bytes(top)
    for number, child in zip([root, *children[:9]], [*children[:9], children[-1]], strict=True):
        at = (number - 1) * size
        content[at : at + size] = page
        for place in places:
            struct.pack_into(">I", content, at + place, child)
    pages.release()
    top.release()
    database.write_bytes(content)


def test_pages_that_have_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_STEPS", 1 << 20)  # a small database is let go on for long
    path = tmp_path / "c"
    documents = [Document(f"{n:0200}", "text", metadata={"year": n}) for n in range(800)]
    with Collection.create(path, {}, indexed_fields=["year"]) as collection:
        collection.add(documents)
    without_end(path / "collection.db", "fields")
    with Collection.open(path, {}) as collection:
        for condition in ({"$gte": 0}, {"$exists": False}):
            with pytest.raises(StorageError, match="more than the file can hold: it is damaged; restore it"):
                collection.count({"year": condition})
        assert list(collection.documents()) == documents


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")
def test_a_signal_during_a_statement_is_no_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OutOfTimeError(Exception):
        pass

    def handler(*_: object) -> None:
        raise OutOfTimeError

    def count() -> None:
        with closing(schema.connect(path / "collection.db")) as connection:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            connection.execute(f"{ENDLESS} count(*) FROM (SELECT i FROM n LIMIT 800000)").fetchone()
            time.sleep(60)  # where the statement was faster than the signal

    monkeypatch.setattr(schema, "_LOOK", 1000)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(OutOfTimeError):
            count()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
