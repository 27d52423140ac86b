"""What cannot be written to is opened, searched, and left as it is."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from collection.survival.common import HERE, Unwilling, arms, assert_whole

from hybridrank import Document, Pipeline
from hybridrank.collection import Collection
from hybridrank.errors import StorageError

pytestmark = pytest.mark.stress
HELD = {f"d{n}": Document(f"d{n}", f"copy d{n}", metadata={"year": n}) for n in range(20)}


def use(what: str, path: Path, elsewhere: Path) -> None:
    """Run as a script, without root's right to write anywhere."""
    before = looked_at(path)
    logging.basicConfig(stream=sys.stdout)
    if what == "refused":
        with pytest.raises(StorageError, match="open and close it once where it can be written"):
            Collection.open(path, arms())
    else:
        read(path, elsewhere)
    if what == "changed":
        change_meanwhile(path)
    else:
        assert looked_at(path) == before


def read(path: Path, elsewhere: Path) -> None:
    with Pipeline.open(path, retrievers=arms(Unwilling()), reranker=None) as pipeline:
        collection = pipeline.collection
        assert isinstance(collection, Collection)
        assert pipeline.search("copy d7", k=1).hits[0].document.id == "d7"
        assert len(pipeline.search("copy", filters={"year": {"$gte": 15}}, k=50).hits) == 5
        statistics = collection.statistics()
        assert statistics["read_only"]
        assert not collection.writable
        assert {document.id: document for document in collection.documents()} == HELD
        for change in (
            lambda: pipeline.add([Document("new", "copy new")]),
            lambda: pipeline.delete(["d1"]),
            lambda: collection.update_metadata({"d1": {"year": 1}}),
            lambda: collection.put_source("s", "1", []),
            lambda: collection.drop_sources(["s"]),
            collection.compact,
        ):
            with pytest.raises(StorageError, match=r"can only be read: .* copy it to where you can write"):
                change()
        collection.snapshot(elsewhere)
    with Collection.open(elsewhere, arms(Unwilling())) as copy:
        copy.delete(["d1"])
        assert_whole(copy, {name: each for name, each in HELD.items() if name != "d1"})


def change_meanwhile(path: Path) -> None:
    with Collection.open(path, arms()) as collection:
        (path / "collection.db").chmod(0o644)
        with (path / "collection.db").open("r+b") as file:  # as its owner would do
            file.write(file.read(100))
        os.utime(path / "collection.db", ns=(1, 1))
        with pytest.raises(StorageError, match="was changed by somebody else while it was open"):
            collection.get(["d1"])


def looked_at(path: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for each in (path, *path.rglob("*")):
        told = each.lstat()
        found[str(each)] = told.st_ino, told.st_size, told.st_mtime_ns
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Collection.create(tmp_path / "c", arms(), indexed_fields=["year"]) as collection:
        collection.add(HELD.values())
        collection.compact()
    return tmp_path / "c"


def protect(path: Path, *, folders: bool = True) -> None:
    for each in (path, *path.rglob("*")):
        if each.is_file():
            each.chmod(0o444)
        elif folders:
            each.chmod(0o555)


def run_without_rights(what: str, path: Path) -> str:
    """Run the script; returns what was logged."""
    command = [sys.executable, str(HERE / "test_read_only.py"), what, str(path), str(path.parent / "elsewhere")]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write anywhere, and there is no setpriv to give that up")
        drop = "-dac_override,-dac_read_search,-fowner"
        command = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}", *command]
    tests = HERE.parent.parent
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    for each in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):
            each.chmod(0o755)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_directory_that_cannot_be_written_to(path: Path) -> None:
    protect(path)
    assert run_without_rights("read", path) == ""


def test_files_that_cannot_be_written_to(path: Path) -> None:
    protect(path, folders=False)
    assert run_without_rights("read", path) == ""


def test_where_another_process_has_it_open(path: Path) -> None:
    with Collection.open(path, arms()) as collection:
        collection.update_metadata({"d3": {"year": 3}})
        protect(path)
        run_without_rights("read", path)
        assert (path / "collection.db-wal").stat().st_size
        assert_whole(collection, HELD)


def test_a_log_that_cannot_be_read_without_writing(path: Path) -> None:
    with Collection.open(path, arms()) as collection:
        collection.update_metadata({"d3": {"year": 33}})
        copy = shutil.copytree(path, path.parent / "copy", ignore=shutil.ignore_patterns("*-shm"))
    protect(copy)
    run_without_rights("refused", copy)


def test_what_somebody_changes_all_the_same(path: Path) -> None:
    protect(path)
    run_without_rights("changed", path)


def test_saved_indexes_that_cannot_be_used_are_made_again_in_memory(path: Path) -> None:
    shutil.rmtree(path / "indexes")
    protect(path)
    assert "cannot be used and are made again" in run_without_rights("read", path)


if __name__ == "__main__":
    use(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
