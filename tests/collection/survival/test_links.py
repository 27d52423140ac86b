"""Links in a collection's directory lead to nothing being removed or overwritten; what others put there stays."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from collection.survival.common import Unwilling, arms, assert_whole

from hybridrank import Document, Pipeline
from hybridrank.collection import Collection
from hybridrank.errors import InputError, StorageError

pytestmark = pytest.mark.stress
HELD = {f"d{n}": Document(f"d{n}", f"copy d{n}") for n in range(8)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Collection.create(tmp_path / "c", arms()) as collection:
        collection.add(HELD.values())
        collection.compact()
    return tmp_path / "c"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory of somebody else's, some of it named as hybridrank names its own."""
    victim = tmp_path / "victim"
    for name in ("photos", "7-0123456789ab", ".8-0123456789ab", "photos/0123456789abcdef"):
        (victim / name).mkdir(parents=True)
        (victim / name / "precious").write_text("precious")
    (victim / "manifest.json").write_text('{"files": {"photos/precious": {}}}')
    return victim


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(each.relative_to(folder)): each.read_bytes() if each.is_file() else None for each in folder.rglob("*")
    }


def generation(path: Path) -> Path:
    (found,) = (path / "indexes").iterdir()
    return found


def change_and_save(path: Path) -> None:
    """Open it where the saved indexes cannot be used, change it, save."""
    with Collection.open(path, arms(Unwilling())) as collection:
        collection.delete(["d0"])
        collection.compact()
        collection.compact()
        assert_whole(collection, {name: each for name, each in HELD.items() if name != "d0"})


def test_indexes_that_are_moved_to_another_disk(path: Path, victim: Path) -> None:
    before = contents(victim)
    shutil.move(generation(path), victim)
    (path / "indexes").rmdir()
    (path / "indexes").symlink_to(victim)
    with Collection.open(path, arms(Unwilling())) as collection:
        assert_whole(collection, HELD)
        assert collection.statistics()["bytes"]["indexes"] > 0
    change_and_save(path)
    added = {each.split("/")[0] for each in contents(victim).keys() - before.keys()}
    assert len(added) == 1, "one generation, and not the older ones"
    assert {name: text for name, text in contents(victim).items() if name.split("/")[0] not in added} == before


def test_another_collections_indexes_behind_the_link(path: Path, tmp_path: Path) -> None:
    with Collection.create(tmp_path / "other", arms()) as other:
        other.add(HELD.values())
        other.compact()
    before = contents(tmp_path / "other" / "indexes")
    shutil.rmtree(path / "indexes")
    (path / "indexes").symlink_to(tmp_path / "other" / "indexes")
    change_and_save(path)
    assert before.items() <= contents(tmp_path / "other" / "indexes").items()


def test_a_generation_that_is_a_link(path: Path, victim: Path) -> None:
    before = contents(victim)
    real = generation(path)
    shutil.rmtree(real)
    real.symlink_to(victim)
    (path / "indexes" / "9-0123456789ab").symlink_to(victim)
    (path / "indexes" / ".9-0123456789ab").symlink_to(victim / "photos")
    change_and_save(path)
    assert contents(victim) == before
    assert not generation(path).is_symlink()


def test_links_inside_a_generation(path: Path, victim: Path) -> None:
    before = contents(victim)
    real = generation(path)
    arm = next(each for each in real.iterdir() if each.is_dir())
    file = next(each for each in arm.iterdir() if each.is_file())
    file.unlink()
    file.symlink_to(victim / "photos" / "precious")
    (arm / "more").symlink_to(victim)
    (real / "0123456789abcdef").symlink_to(victim / "photos")
    change_and_save(path)
    assert contents(victim) == before


def test_an_arm_that_is_a_link(path: Path, victim: Path) -> None:
    before = contents(victim)
    arm = next(each for each in generation(path).iterdir() if each.is_dir())
    shutil.rmtree(arm)
    arm.symlink_to(victim)
    change_and_save(path)
    assert contents(victim) == before


@pytest.mark.parametrize(
    "name", ["../../victim/photos/precious", "/etc/hostname", "..", "", "a\\u0000b", "0123456789abcdef/../../x"]
)
def test_a_manifest_that_names_files_elsewhere(path: Path, victim: Path, name: str) -> None:
    before = contents(victim)
    (generation(path) / "manifest.json").write_text(f'{{"files": {{"{name}": {{}}}}}}')
    change_and_save(path)
    assert contents(victim) == before


@pytest.mark.parametrize("text", ["[" * 100_000, '{"files": []}', "[]", "null", '{"files": {"a": 1}}', "\\xff"])
def test_a_manifest_of_another_shape(path: Path, text: str) -> None:
    (generation(path) / "manifest.json").write_text(text)
    change_and_save(path)


@pytest.mark.parametrize("what", ["manifest.json", "*/index.json"])
def test_a_pipe_is_not_waited_for(path: Path, what: str) -> None:
    file = next(generation(path).glob(what))
    file.unlink()
    os.mkfifo(file)
    change_and_save(path)


@pytest.mark.parametrize(
    "name", ["../../victim", "/", "..", "", "a/b", "3-0123456789ab/../../../victim", "\0", 7, b"x"]
)
def test_a_generation_whose_name_is_a_path(path: Path, victim: Path, name: object) -> None:
    before = contents(victim)
    with closing(sqlite3.connect(path / "collection.db")) as connection:
        connection.execute("UPDATE generations SET name = ?", [name])
        connection.commit()
    change_and_save(path)
    assert contents(victim) == before


def test_what_others_put_beside_and_into_generations_stays(path: Path) -> None:
    mine = [path / "indexes" / "notes.txt", path / "indexes" / "thesis" / "a", generation(path) / "notes.txt"]
    mine += [next(each for each in generation(path).iterdir() if each.is_dir()) / "notes.txt"]
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    with Collection.open(path, arms()) as collection:
        collection.add([Document("new", "copy new")])
        collection.compact()
    assert [file.read_text() for file in mine] == ["mine"] * 4


@pytest.mark.parametrize(
    "name", ["collection.db", "collection.db-wal", "collection.db-shm", "collection.db-journal"]
)
def test_a_database_that_is_a_link_is_refused(path: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    if (path / name).exists():
        shutil.move(path / name, target)
    else:
        target.write_text("precious")
    before = target.read_bytes()
    (path / name).symlink_to(target)
    with pytest.raises(StorageError, match=rf"{name} is a symbolic link.*link the whole directory"):
        Collection.open(path, arms())
    assert target.read_bytes() == before


@pytest.mark.parametrize("link", [os.symlink, os.link])
@pytest.mark.parametrize("made", [True, False])
def test_a_lock_that_is_a_link_is_refused(
    path: Path, tmp_path: Path, link: Callable[[Path, Path], None], made: bool
) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    folder = path if made else tmp_path / "new"
    folder.mkdir(exist_ok=True)
    (folder / "writer.lock").unlink(missing_ok=True)
    link(target, folder / "writer.lock")
    with closing(Collection.open(path, arms())) as collection:

        def write() -> None:
            if made:
                collection.add([Document("new", "copy new")])
            else:
                Collection.create(folder, arms())

        with pytest.raises(StorageError, match=r"writer\.lock.* link"):
            write()
    assert target.read_text() == "precious"


def test_drafts_that_are_links_are_replaced(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    for name in ("new", "snapshot"):
        (tmp_path / name).mkdir()
        for ending in ("", "-wal", "-journal"):
            (tmp_path / name / f".collection.db{ending}").symlink_to(target)
    with Collection.create(tmp_path / "new", arms()) as collection:
        collection.add(HELD.values())
        collection.snapshot(tmp_path / "snapshot")
        assert_whole(collection, HELD)
    assert target.read_text() == "precious"
    with Collection.open(tmp_path / "snapshot", arms()) as collection:
        assert_whole(collection, HELD)


def test_a_lock_that_is_a_pipe(path: Path) -> None:
    (path / "writer.lock").unlink()
    os.mkfifo(path / "writer.lock")
    with Collection.open(path, arms()) as collection:
        with pytest.raises(StorageError, match="no file of its own"):
            collection.add([Document("new", "copy new")])
        assert_whole(collection, HELD)
    assert stat.S_ISFIFO((path / "writer.lock").lstat().st_mode)


def documents(then: Callable[[], None]) -> Iterator[Any]:
    yield from (Document(f"b{n}", f"copy b{n}") for n in range(600))  # the first batch is stored
    then()
    yield from (Document(f"b{n}", f"copy b{n}") for n in range(600, 1200))
    yield "no document"


def failing_build(path: Path, then: Callable[[], None] = lambda: None) -> InputError:
    with pytest.raises(InputError, match="not a Document") as caught:
        Pipeline.build(documents(then), path=path, retrievers=arms(), reranker=None)
    return caught.value


def test_a_failed_build_removes_what_it_made(tmp_path: Path) -> None:
    failing_build(tmp_path / "deep" / "er" / "c")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    failing_build(tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    failing_build(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_failed_build_leaves_others_files(tmp_path: Path) -> None:
    path = tmp_path / "c"

    def put_files() -> None:
        (path / "notes.txt").write_text("mine")
        (path / "indexes").mkdir(exist_ok=True)
        (path / "indexes" / "notes.txt").write_text("mine")

    failing_build(path, put_files)
    assert contents(path) == {"notes.txt": b"mine", "indexes": None, "indexes/notes.txt": b"mine"}


@pytest.mark.parametrize("what", ["add", "delete", "source", "metadata"])
def test_a_failed_build_leaves_what_others_stored(tmp_path: Path, what: str) -> None:
    path = tmp_path / "c"

    def change() -> None:
        with Collection.open(path, arms()) as other:
            while "b3" not in other:  # its batch is being stored
                sleep(0.01)
            match what:
                case "add":
                    other.add([Document("precious", "copy precious")])
                case "delete":
                    other.delete(["b3"])
                case "source":
                    other.put_source("empty", "1", [])
                case "metadata":
                    other.update_metadata({"b3": {"read": True}})

    error = failing_build(path, change)
    assert "was not removed: others have written to it meanwhile" in "".join(error.__notes__)
    with Collection.open(path, arms()) as collection:
        assert len(collection) > 500
        assert ("precious" in collection) == (what == "add")
        assert ("empty" in collection.sources()) == (what == "source")
        collection.add([Document("new", "copy new")])


def test_a_build_that_others_only_read_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "c"
    readers: list[Collection] = []
    failing_build(path, lambda: readers.append(Collection.open(path, arms())))
    assert not path.exists()
    with pytest.raises(StorageError, match="was moved or removed"):
        list(readers[0])
    readers[0].close()
