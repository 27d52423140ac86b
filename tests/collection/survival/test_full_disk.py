"""A full disk: a clear error, everything acknowledged is there, and all goes on when there is room again."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from collection.survival.common import Unwilling, arms, assert_whole, child
from support import mounted

from hybridrank import Document
from hybridrank.collection import Collection
from hybridrank.errors import StorageError

pytestmark = pytest.mark.stress


def documents(first: int, count: int) -> list[Document]:
    """Documents of some kilobytes that no two have a word in common."""
    return [
        Document(
            f"d{n}", f"copy d{n} " + " ".join(f"{w:x}" for w in random.Random(n).choices(range(2**40), k=150))
        )
        for n in range(first, first + count)
    ]


def fill_and_go_on(path: Path, fill: Callable[[], None], free: Callable[[], None]) -> None:
    held: dict[str, Document] = {}
    with Collection.create(path, arms()) as collection:

        def add(first: int, count: int) -> None:
            some = documents(first, count)
            collection.add(some)
            held.update({each.id: each for each in some})

        add(0, 200)
        collection.compact()
        add(150, 5)
        fill()
        add_on = (add(first, 10) for first in range(1000, 4000, 10))
        with pytest.raises(StorageError, match=r"(full|I/O error).*nothing of this change was stored"):
            list(add_on)
        assert_whole(collection, held)
        for _ in range(3):
            with pytest.raises(StorageError, match=r"cannot be saved|full|I/O error"):
                collection.compact()
            assert_whole(collection, held)
        assert len(list((path / "indexes").iterdir())) == 1, "what could not be saved was left lying"
        with pytest.raises(StorageError):
            collection.snapshot(path.parent / "snapshot")
        assert not list((path.parent / "snapshot").glob("*")), "what could not be copied was left lying"
        with pytest.raises(StorageError):
            add(5000, 200)
        assert_whole(collection, held)
        free()
        add(6000, 10)
        assert collection.delete(["d3"]) == 1
        del held["d3"]
        assert_whole(collection, held)
        collection.compact()
        collection.snapshot(path.parent / "snapshot")
        assert_whole(collection, held)
    for folder in (path, path.parent / "snapshot"):
        with Collection.open(folder, arms(Unwilling())) as collection:
            assert_whole(collection, held)


def save_what_cannot_be_registered(path: Path, fill: Callable[[], None], free: Callable[[], None]) -> None:
    """There is room for the indexes, which are small, and none for the database to say that they are there."""
    held = {f"d{n}": Document(f"d{n}", f"copy d{n} " + "wing " * 4_000) for n in range(20)}
    with Collection.create(path, arms()) as collection:
        collection.add(held.values())
        fill()
        for _ in range(3):
            with pytest.raises(StorageError, match="nothing of this change was stored"):
                collection.compact()
            assert_whole(collection, held)
        assert len(list((path / "indexes").iterdir())) <= 1, "what nobody will open was left lying"
        free()
        collection.compact()
        assert_whole(collection, held)


def limited(path: Path, case: str) -> None:
    """Run as a script, in a process of which no file may grow beyond a certain size."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit() -> None:
        log = (path / "collection.db-wal").stat().st_size
        if case == "grow":
            largest = max(file.stat().st_size for file in (path / "indexes").rglob("*"))
            assert log + 100_000 < largest
            resource.setrlimit(resource.RLIMIT_FSIZE, (log + 100_000, hard))
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (log // 2, hard))

    survive = fill_and_go_on if case == "grow" else save_what_cannot_be_registered
    survive(path, limit, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard)))


@pytest.mark.parametrize("case", ["grow", "register"])
def test_files_that_may_not_grow(tmp_path: Path, case: str) -> None:
    arguments = tmp_path / "collection", case
    process = child("test_full_disk.py", *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = process.communicate()
    assert process.returncode == 0, output


def test_a_full_file_system(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 16) as disk:
        ballast = disk / "ballast"

        def fill() -> None:
            room = os.statvfs(disk)
            with ballast.open("wb") as file:
                file.write(bytes(room.f_bavail * room.f_bsize - 100_000))

        fill_and_go_on(disk / "collection", fill, ballast.unlink)


if __name__ == "__main__":
    limited(Path(sys.argv[1]), sys.argv[2])
