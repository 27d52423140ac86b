"""Saved indexes that were damaged are made again, without embedding; a damaged database is said to be one."""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from collection.survival.common import Unwilling, arms, assert_whole, times

from hybridrank import Document, Pipeline
from hybridrank.collection import Collection
from hybridrank.errors import HybridrankError, StorageError

pytestmark = pytest.mark.stress
DOCUMENTS = {
    f"d{number}": Document(f"d{number}", f"copy d{number} of wing {number % 7} and flap {number % 11}")
    for number in range(120)
}
PAGE = 8192  # bytes, of the database
QUERIES = ["copy d17", "wing 3 and flap", "d119", "nothing that is there"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection whose saved indexes have all but the last change."""
    path = tmp_path_factory.mktemp("damage") / "collection"
    documents = list(DOCUMENTS.values())
    with Collection.create(path, arms()) as collection:
        collection.add(documents[:100])
        collection.compact()
        collection.add([Document("gone", "copy gone"), *documents[90:]])
        collection.delete(["gone"])
    return path


def answers(path: Path) -> list[Any]:
    with Pipeline.open(path, retrievers=arms(Unwilling()), reranker=None) as pipeline:
        assert_whole(pipeline.collection, DOCUMENTS, sample=2)
        return [[(s.ids, s.scores) for s in result.trace.stages] for result in pipeline.search_many(QUERIES)]


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def lengthened(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"\0")


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    place = random.Random(file.name).randrange(len(content) * 8)
    content[place // 8] ^= 1 << place % 8
    file.write_bytes(content)


def garbled(file: Path) -> None:
    file.write_bytes(random.Random(file.name).randbytes(file.stat().st_size))


def removed(file: Path) -> None:
    file.unlink()


def made_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("damage", [truncated, emptied, lengthened, flipped, garbled, removed, made_a_folder])
def test_each_saved_file(saved: Path, tmp_path: Path, damage: Callable[[Path], None], caplog: Any) -> None:
    before = answers(saved)
    files = [path.relative_to(saved) for path in (saved / "indexes").rglob("*") if path.is_file()]
    assert len(files) > 2
    for file in files:
        path = tmp_path / "copy"
        shutil.copytree(saved, path)
        damage(path / file)
        caplog.clear()
        assert answers(path) == before, file
        assert [message for message in caplog.messages if "made again" in message], file
        assert {record.levelno for record in caplog.records} == {logging.WARNING}
        caplog.clear()
        assert answers(path) == before, file
        assert caplog.messages == [], f"{file} was not repaired"
        assert len(list((path / "indexes").iterdir())) == 1
        shutil.rmtree(path)


@pytest.mark.parametrize("what", ["indexes", "indexes/*", "indexes/*/*"])
def test_folders_of_saved_files(saved: Path, tmp_path: Path, what: str, caplog: Any) -> None:
    before = answers(saved)
    for folder in [path.relative_to(saved) for path in saved.glob(what) if path.is_dir()]:
        path = tmp_path / "copy"
        shutil.copytree(saved, path)
        shutil.rmtree(path / folder)
        caplog.clear()
        assert answers(path) == before
        assert [message for message in caplog.messages if "made again" in message], folder
        caplog.clear()
        assert answers(path) == before
        assert caplog.messages == []
        shutil.rmtree(path)


def test_an_open_collection_whose_saved_files_go_answers_on(saved: Path, tmp_path: Path) -> None:
    before = answers(saved)
    path = shutil.copytree(saved, tmp_path / "copy")
    with Pipeline.open(path, retrievers=arms(Unwilling()), reranker=None) as pipeline:
        shutil.rmtree(path / "indexes")
        results = pipeline.search_many(QUERIES)
        assert [[(s.ids, s.scores) for s in result.trace.stages] for result in results] == before
        pipeline.delete(["d5"])
        assert len(pipeline) == len(DOCUMENTS) - 1
        pipeline.collection.compact()
    with Collection.open(path, arms(Unwilling())) as collection:
        assert_whole(collection, {doc_id: each for doc_id, each in DOCUMENTS.items() if doc_id != "d5"})


def header_overwritten(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(random.Random(1).randbytes(100) + content[100:])


@pytest.mark.parametrize("damage", [header_overwritten, truncated, emptied, garbled, removed, made_a_folder])
def test_a_damaged_database_is_said_to_be_one(saved: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = shutil.copytree(saved, tmp_path / "copy")
    damage(path / "collection.db")
    with pytest.raises(StorageError, match=r"copy"), Collection.open(path, arms(Unwilling())) as collection:
        list(collection.documents())


def test_damaged_pages_raise_nothing_but_our_own_errors(saved: Path, tmp_path: Path) -> None:
    rng = random.Random(5)
    refused = 0
    for _ in range(times(400, 10)):
        path = shutil.copytree(saved, tmp_path / "copy")
        database = bytearray((path / "collection.db").read_bytes())
        for _ in range(rng.choice((1, 3))):
            start = rng.randrange(0, len(database), PAGE)
            database[start : start + PAGE] = rng.choice((bytes(PAGE), rng.randbytes(PAGE)))
        (path / "collection.db").write_bytes(database)
        if rng.random() < 0.5:
            shutil.rmtree(path / "indexes")
        try:
            with Pipeline.open(path, retrievers=arms(), reranker=None) as pipeline:
                list(pipeline.collection.documents())
                pipeline.search_many(QUERIES)
                pipeline.add([Document("new", "a new one"), DOCUMENTS["d3"]])
                pipeline.delete(["d4"])
                pipeline.collection.compact()
        except HybridrankError:
            refused += 1
        shutil.rmtree(path)
    assert refused


@pytest.mark.parametrize("text", [b"copy d17 of wing", b"tombstones", b'"splitter"'])
def test_text_that_is_no_text_any_more(saved: Path, tmp_path: Path, text: bytes) -> None:
    path = shutil.copytree(saved, tmp_path / "copy")
    database = (path / "collection.db").read_bytes()
    assert text in database
    (path / "collection.db").write_bytes(database.replace(text, b"\xff" * len(text)))
    with pytest.raises(StorageError, match=r"copy"), Collection.open(path, arms(Unwilling())) as collection:
        list(collection.documents())
