"""Files that are moved, removed, swapped or put back while a collection is open: an error, or it is reopened."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from collection.survival.common import arms, assert_whole

from hybridrank import Document, Pipeline
from hybridrank.collection import Collection
from hybridrank.errors import InputError, StorageError

pytestmark = pytest.mark.stress
OLD = {f"d{n}": Document(f"d{n}", f"copy d{n}") for n in range(12)}
LATER = Document("later", "copy later")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A collection, with a backup next to it that lacks the last change."""
    with Collection.create(tmp_path / "c", arms()) as collection:
        collection.add(OLD.values())
        collection.compact()
    shutil.copytree(tmp_path / "c", tmp_path / "backup")
    return tmp_path / "c"


def opened(path: Path) -> Pipeline:
    return Pipeline.open(path, retrievers=arms(), reranker=None)


def build(path: Path, count: int) -> None:
    Pipeline.build([Document(f"n{n}", "copy") for n in range(count)], path=path, retrievers=arms()).close()


def removed(path: Path) -> None:
    shutil.rmtree(path)


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def restored(path: Path) -> None:
    path.rename(path.with_name("old"))
    shutil.copytree(path.with_name("backup"), path)


def rebuilt_smaller(path: Path) -> None:
    shutil.rmtree(path)
    build(path, 2)


def rebuilt_larger(path: Path) -> None:
    shutil.rmtree(path)
    build(path, 60)


def log_removed(path: Path) -> None:
    for ending in ("-wal", "-shm"):
        (path / f"collection.db{ending}").unlink()


def copied_in_place(path: Path) -> None:
    shutil.copyfile(path.with_name("backup") / "collection.db", path / "collection.db")
    log_removed(path)


REPLACEMENTS = [removed, moved, restored, rebuilt_smaller, rebuilt_larger, log_removed, copied_in_place]


@pytest.mark.parametrize("replace", REPLACEMENTS)
def test_every_call_says_so_at_once(path: Path, tmp_path: Path, replace: Callable[[Path], None]) -> None:
    pipeline = opened(path)
    collection = pipeline.collection
    assert isinstance(collection, Collection)
    pipeline.add([LATER])
    list(zip(collection.documents(), collection.documents(), strict=True))  # more than one connection
    replace(path)
    outcomes: list[str] = []

    def search() -> None:
        with pytest.raises(StorageError, match="while it was open: close it, and open it again") as caught:
            pipeline.search("copy")
        outcomes.append(str(caught.value))

    threads = [threading.Thread(target=search) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 12
    for work in (
        lambda: pipeline.add([Document("nowhere", "copy nowhere")]),
        lambda: pipeline.delete(["d1"]),
        lambda: collection.put_source("s", "1", []),
        lambda: collection.get(["d1"]),
        lambda: len(collection),
        lambda: collection.snapshot(tmp_path / "snapshot"),
        collection.compact,
        collection.statistics,
        lambda: pipeline.search("copy", deadline=5.0),
        lambda: asyncio.run(pipeline.asearch("copy")),
    ):
        with pytest.raises(StorageError, match="while it was open"):
            work()

    def files() -> set[str]:
        return {file.name for file in path.iterdir()} - {"costs.json"} if path.exists() else set()

    before = files()
    pipeline.close()
    assert files() == before
    if before:
        with opened(path) as again:
            expected = set(OLD) if replace in (restored, copied_in_place) else set(again.collection)
            assert set(again.collection) == expected
            again.add([Document("new", "copy new")])
            assert_whole(again.collection, again.collection.get(again.collection), telling=False)


def test_what_a_replaced_collection_closes_leaves_the_new_ones_log_alone(path: Path) -> None:
    old = opened(path)
    old.add([LATER])
    restored(path)
    with opened(path) as new:
        new.add([Document("new", "copy new")])
        old.close()
        assert (path / "collection.db-wal").stat().st_size > 0
        new.add([Document("newer", "copy newer")])
        expected = {**OLD, **{name: Document(name, f"copy {name}") for name in ("new", "newer")}}
        assert_whole(new.collection, expected)
    with opened(path) as new:
        assert_whole(new.collection, expected)
    with opened(path.with_name("old")) as kept:
        assert_whole(kept.collection, {**OLD, "later": LATER})


def test_a_collection_that_is_moved_away_and_back_goes_on(path: Path) -> None:
    with opened(path) as pipeline:
        moved(path)
        with pytest.raises(StorageError, match="was moved or removed"):
            pipeline.search("copy")
        path.with_name("elsewhere").rename(path)
        pipeline.add([LATER])
        assert_whole(pipeline.collection, {**OLD, "later": LATER})


@pytest.mark.parametrize("grow", [0, 1, 30])
def test_a_backup_that_is_restored_by_sqlite_is_taken_over(path: Path, grow: int) -> None:
    """SQLite's own way to restore into an open database; then others change it, or do not."""
    with opened(path) as pipeline:
        pipeline.add([LATER])
        assert pipeline.search("later", k=1).hits[0].document.id == "later"
        with (
            closing(sqlite3.connect(path.with_name("backup") / "collection.db")) as source,
            closing(sqlite3.connect(path / "collection.db")) as target,
        ):
            source.backup(target)
        others = {f"o{n}": Document(f"o{n}", f"copy o{n}") for n in range(grow)}
        if others:
            with Collection.open(path, arms()) as other:
                other.add(others.values())
        assert "later" not in [hit.document.id for hit in pipeline.search("later", k=50).hits]
        assert_whole(pipeline.collection, {**OLD, **others})
        pipeline.add([Document("new", "copy new")])
        assert_whole(pipeline.collection, {**OLD, **others, "new": Document("new", "copy new")})


def test_two_histories_of_one_collection_are_told_apart_at_the_same_number(path: Path) -> None:
    with opened(path) as pipeline:
        pipeline.add([LATER])
        with Collection.open(path.with_name("backup"), arms()) as other:
            other.add([Document("other", "copy other")])
            assert other.statistics()["sequence"] == pipeline.collection.statistics()["sequence"]
        with (
            closing(sqlite3.connect(path.with_name("backup") / "collection.db")) as source,
            closing(sqlite3.connect(path / "collection.db")) as target,
        ):
            source.backup(target)
        assert_whole(pipeline.collection, {**OLD, "other": Document("other", "copy other")})


def test_a_path_is_bound_when_the_collection_is_opened(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    build(other / "c", 3)
    monkeypatch.chdir(tmp_path)
    pipeline = opened(Path("c"))
    assert pipeline.collection.path == path
    monkeypatch.chdir(other)
    documents = pipeline.collection.documents()
    next(documents)  # a connection is in use: others are opened
    pipeline.add([LATER])
    assert pipeline.search("later", k=1).hits[0].document.id == "later"
    list(documents)
    pipeline.collection.compact()
    pipeline.collection.snapshot("snapshot")
    assert (other / "snapshot" / "collection.db").is_file()
    pipeline.close()
    assert sorted(file.name for file in (other / "c").iterdir()) == ["collection.db", "costs.json", "writer.lock"]
    with opened(path) as pipeline:
        assert_whole(pipeline.collection, {**OLD, "later": LATER})


def test_a_current_directory_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    before = Path.cwd()
    os.chdir(gone)
    try:
        gone.rmdir()
        with pytest.raises(StorageError, match="relative to a current directory that is gone"):
            Collection.create("c", arms())
        with pytest.raises(StorageError, match="relative to a current directory that is gone"):
            Collection.open("c", arms())
    finally:
        os.chdir(before)


@pytest.mark.parametrize("name", ["a?b#c%41 d", "mode=ro&x", "\u00e9", os.fsdecode(b"caf\xe9"), "%00", "file:x"])
def test_paths_of_every_spelling(tmp_path: Path, name: str) -> None:
    with Collection.create(tmp_path / name, arms()) as collection:
        collection.add(OLD.values())
        assert_whole(collection, OLD, sample=1)
        collection.snapshot(tmp_path / f"{name} copy")
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"{name} copy"])
    with opened(tmp_path / f"{name} copy") as pipeline:
        assert set(pipeline.collection) == set(OLD)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "long" * 100, "d/" * 3000])
def test_a_path_that_is_none(path: Path, tmp_path: Path, name: str) -> None:
    with opened(path) as pipeline, pytest.raises(StorageError):
        pipeline.collection.snapshot(f"{tmp_path}/{name}")
    for work in (Collection.open, Collection.create):
        with pytest.raises(StorageError):
            work(f"{tmp_path}/{name}", arms())


@pytest.mark.parametrize("other", [None, 5, b"bytes"])
def test_a_path_of_another_type(other: Any) -> None:
    for work in (Collection.open, Collection.create):
        with pytest.raises(InputError, match="must be a str or a Path, not"):
            work(other, arms())


@pytest.mark.parametrize("at", ["before", "behind"])
def test_a_directory_that_a_link_leads_to(path: Path, tmp_path: Path, at: str) -> None:
    link = tmp_path / "link"
    if at == "before":
        link.symlink_to(path)
        through = link
    else:
        link.symlink_to(tmp_path)
        through = link / "c"
    with opened(through) as pipeline:
        pipeline.add([LATER])
        assert_whole(pipeline.collection, {**OLD, "later": LATER})
        link.unlink()
        link.symlink_to(path.with_name("backup") if at == "before" else tmp_path / "nowhere")
        with pytest.raises(StorageError, match="while it was open"):
            pipeline.add([Document("astray", "copy astray")])
    with opened(path) as pipeline:
        assert_whole(pipeline.collection, {**OLD, "later": LATER})
