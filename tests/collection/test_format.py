"""The format's version: an older collection is upgraded when it is opened, a newer one is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from support import TOPICS

from hybridrank import Collection, Document, Query
from hybridrank.collection.sqlite import schema
from hybridrank.errors import StorageError
from hybridrank.retrieval import BM25

ARMS = {"bm25": BM25()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Collection.create(tmp_path / "c", ARMS, indexed_fields=["year"]) as collection:
        collection.add(TOPICS)
    return tmp_path / "c"


def run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path / "collection.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


STEPS_BACK = (
    # to format 5, which knew one layout
    "DROP TABLE layouts",
    "DROP TABLE other_units",
    "DROP TABLE unread",
    "ALTER TABLE tombstones DROP COLUMN other",
    "ALTER TABLE embedders DROP COLUMN current",
    "ALTER TABLE state DROP COLUMN layout",
    "DROP INDEX documents_first",
    "ALTER TABLE documents DROP COLUMN first",
    # to format 4, which knew no edits
    "ALTER TABLE documents DROP COLUMN edits",
    # to format 3, which knew no identity
    "ALTER TABLE state DROP COLUMN identity",
    "ALTER TABLE state DROP COLUMN token",
    "DROP TABLE history",
    # to format 2, whose declared fields did not know their documents' ids
    "ALTER TABLE fields DROP COLUMN id",
    "ALTER TABLE fields DROP COLUMN passages",
    # to format 1, which knew no sources
    "DROP INDEX documents_of_source",
    "ALTER TABLE documents DROP COLUMN source",
    "DROP TABLE sources",
    "PRAGMA user_version = 1",
)


def test_an_older_collection_is_upgraded(path: Path) -> None:
    run(path, *STEPS_BACK)
    with Collection.open(path) as collection:
        assert list(collection.documents()) == TOPICS
        with collection.reading() as view:
            assert view.resolve(Query("any", filters={"year": 2021})).ids == {"industry"}
        collection.put_source("a.txt", "1", [Document("a", "text")])
        assert collection.sources() == {"a.txt": "1"}
        collection.update_metadata({"a": {"by": "us"}})
        collection.put_source("a.txt", "2", [Document("a", "text")])
        assert collection.get(["a"])["a"].metadata == {"by": "us"}
        assert collection.statistics()["format"] == schema.FORMAT
    with Collection.open(path) as collection:
        assert len(collection) == 8


def test_what_is_upgraded_meanwhile_by_somebody_else_is_not_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(path, *STEPS_BACK)
    asked = schema._expected

    def upgrading(version: int) -> Mapping[str, str]:
        """What a version has, while another process goes to the next."""
        monkeypatch.setattr(schema, "_expected", asked)
        with Collection.open(path) as other:
            assert len(other) == len(TOPICS)
        return asked(version)

    monkeypatch.setattr(schema, "_expected", upgrading)
    with Collection.open(path) as collection:
        assert list(collection.documents()) == TOPICS


def test_a_newer_collection_is_refused(path: Path) -> None:
    newer = schema.FORMAT + 1
    run(path, f"PRAGMA user_version = {newer}")
    with pytest.raises(StorageError, match=rf"has format {newer}, .* formats up to {schema.FORMAT}: upgrade"):
        Collection.open(path)


def test_what_is_no_collection_is_refused(path: Path) -> None:
    run(path, "PRAGMA application_id = 0")
    with pytest.raises(StorageError, match="no collection of hybridrank"):
        Collection.open(path)
    (path / "collection.db").write_text("Dear reader, " * 1000)
    with pytest.raises(StorageError, match=r"not a database.*restore it from a backup"):
        Collection.open(path)
