"""Calls to the operating system that fail: what was refused is not there later, what was acknowledged is.

strace lets chosen calls of a child process fail, as a disk or a file system would.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from collection.survival.common import HERE, times

from hybridrank import Document
from hybridrank.collection import Collection
from hybridrank.errors import HybridrankError
from hybridrank.retrieval import BM25

pytestmark = pytest.mark.stress
ARMS = {"bm25": BM25()}
HELD = {f"d{n}": Document(f"d{n}", f"copy d{n} " + "wing " * 200) for n in range(20)}
NEW = {f"n{n}": Document(f"n{n}", f"copy n{n} " + "flap " * 3000) for n in range(8)}


def work(what: str, path: str) -> None:
    """Run as a script, under strace: change a collection, and tell what came of it."""
    logging.basicConfig(stream=sys.stderr)
    outcomes: list[str] = []

    def attempt(step: Any) -> None:
        try:
            step()
            outcomes.append("")
        except HybridrankError as error:
            outcomes.append(str(error))

    if what == "create":
        attempt(lambda: Collection.create(path, ARMS))
    else:
        collection = Collection.open(path, ARMS)
        if what == "snapshot":
            attempt(lambda: collection.snapshot(path + "-snapshot"))
        else:
            attempt(lambda: collection.add(NEW.values()))
            if what == "add twice":
                attempt(lambda: collection.add([Document("more", "copy more")]))
    sys.stdout.write(json.dumps(outcomes))
    sys.stdout.flush()
    os._exit(0)  # as if it were killed: nothing is tidied up


def run(path: Path, what: str, *, calls: str, how: str, on: list[Path]) -> tuple[list[str], str]:
    """What came of the steps, and what was logged, where `calls` on the files `on` fail as `how` says."""
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:{how}"]
    command += [part for file in on for part in ("-P", str(file))]
    tests = HERE.parent.parent
    done = subprocess.run(
        [*command, sys.executable, str(HERE / "test_failing_disk.py"), what, str(path)],
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module", autouse=True)
def strace() -> None:
    if shutil.which("strace") is None or subprocess.run(["strace", "-qq", "true"], check=False).returncode:
        pytest.skip("strace is not here, or may not trace")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Collection.create(tmp_path / "c", ARMS) as collection:
        collection.add(HELD.values())
    return tmp_path / "c"


def assert_holds(path: Path, *, new: bool) -> None:
    with Collection.open(path, ARMS) as collection:
        expected = {**HELD, **(NEW if new else {})}
        assert {document.id: document for document in collection.documents()} == expected
        assert len(collection) == len(expected)
        collection.add([Document("last", "copy last")])
        assert "last" in collection


CALLS = [("fdatasync,fsync", "EIO", n) for n in range(1, times(5, 4))]
CALLS += [("pwrite64", error, n) for error in ("EIO", "ENOSPC") for n in times(list(range(1, 14)), [1, 3, 6, 11])]


@pytest.mark.parametrize(("calls", "error", "at"), CALLS)
def test_a_change_that_was_refused_is_not_there_later(path: Path, calls: str, error: str, at: int) -> None:
    (outcome,), _ = run(path, "add", calls=calls, how=f"error={error}:when={at}", on=[path / "collection.db-wal"])
    assert outcome == "" or "nothing of this change was stored" in outcome
    assert_holds(path, new=not outcome)


@pytest.mark.parametrize(
    ("calls", "error"), [("fdatasync,fsync", "EIO"), ("pwrite64", "ENOSPC"), ("pwrite64", "EIO")]
)
@pytest.mark.parametrize("since", [1, 2, 7])
def test_where_everything_fails_from_then_on(path: Path, calls: str, error: str, since: int) -> None:
    (outcome,), _ = run(
        path, "add", calls=calls, how=f"error={error}:when={since}+", on=[path / "collection.db-wal"]
    )
    if outcome or since < 3:  # else so many calls are not made
        assert re.search("nothing of this change was stored|not known whether this change was stored", outcome)
    assert_holds(path, new=not outcome)


def test_a_lock_that_cannot_be_given_back(path: Path) -> None:
    outcomes, logged = run(path, "add twice", calls="flock", how="error=ENOLCK:when=2", on=[path / "writer.lock"])
    assert outcomes == ["", ""]
    assert "could not be unlocked, and is closed instead" in logged
    with Collection.open(path, ARMS) as collection:
        assert set(collection) == {*HELD, *NEW, "more"}


@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_a_file_system_without_locks(path: Path, error: str) -> None:
    (outcome,), _ = run(path, "add", calls="flock", how=f"error={error}", on=[path / "writer.lock"])
    assert re.search(r"cannot be locked for writing .*if its file system has no locks, move", outcome)
    assert_holds(path, new=False)


@pytest.mark.parametrize("what", ["create", "snapshot"])
@pytest.mark.parametrize("place", ["directory", "parent", "parent's parent"])
def test_directories_that_cannot_be_synced(path: Path, tmp_path: Path, what: str, place: str) -> None:
    source = path if what == "snapshot" else None
    made = tmp_path / "deep" / "er"
    target = Path(f"{path}-snapshot") if source else made
    folder = {"directory": target, "parent": target.parent, "parent's parent": target.parent.parent}[place]
    if source and place == "parent's parent":
        pytest.skip("that was there before")
    (outcome,), _ = run(source or target, what, calls="fsync", how="error=EIO", on=[folder])
    assert re.search("no (collection|snapshot) can be made in", outcome)
    assert not target.exists(), "what was refused is there"
    if source is None:
        assert not (tmp_path / "deep").exists()
        with Collection.create(target, ARMS) as collection:
            collection.add(HELD.values())
            assert len(collection) == len(HELD)
    else:
        assert_holds(source, new=False)


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2])
