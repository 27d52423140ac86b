"""A process that changes a collection is killed at random moments, many times: nothing acknowledged is lost."""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from collection.survival.changes import State, change, states
from collection.survival.common import Unwilling, arms, assert_whole, child, times

from hybridrank.collection import Collection
from hybridrank.errors import StorageError

pytestmark = pytest.mark.stress
SEED = 20260901
AIMED = ["compact", "snapshot", "add batches", "compact", "put source"]


def run_and_kill(
    path: Path, snapshots: Path, log: Path, first: int, rng: random.Random, attempt: int
) -> list[str]:
    """What the log says when the child has been killed: while it opens, at any moment, or in a chosen change."""
    log.unlink(missing_ok=True)
    with (log.with_suffix(".err")).open("w") as errors:
        process = child("changing.py", path, snapshots, log, SEED, first, stderr=errors)
        try:
            awaited = "ready"
            if attempt % 5 == 4:
                awaited = "" if rng.random() < 0.5 else "begin"
            elif attempt % 2:
                awaited = AIMED[attempt // 2 % len(AIMED)]
            while awaited and process.poll() is None and not (log.exists() and awaited in log.read_text()):
                time.sleep(0.001)
            time.sleep(rng.uniform(0, {"": 1.0, "ready": 1.0, "begin": 0.1}.get(awaited, 0.06)))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
    assert status == -signal.SIGKILL, Path(errors.name).read_text()
    return log.read_text().splitlines() if log.exists() else []


def test_a_killed_process_loses_nothing_and_leaves_nothing_half_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, snapshots, log = tmp_path / "collection", tmp_path / "snapshots", tmp_path / "log"
    snapshots.mkdir()
    Collection.create(path, arms()).close()
    rng = random.Random(SEED)
    state, number = State(), 0
    done: dict[str, int] = {}
    for attempt in range(times(200, 6)):
        lines = run_and_kill(path, snapshots, log, number, rng, attempt)
        begun = [line for line in lines if line.startswith("begin ")]
        acknowledged = sum(line.startswith("done ") for line in lines)
        possible, taken = [state], None
        for at in range(number, number + len(begun)):
            this = change(SEED, at)
            steps = states(possible[-1], this)
            possible = [steps[-1]] if at < number + acknowledged else steps
            done[this.kind] = done.get(this.kind, 0) + 1
            if this.kind == "snapshot":
                if taken is not None:
                    shutil.rmtree(snapshots / str(taken[0]))
                taken = at, steps[0], at < number + acknowledged
        number += len(begun)

        with caplog.at_level(logging.WARNING), Collection.open(path, arms(Unwilling())) as collection:
            held, sources = {each.id: each for each in collection.documents()}, collection.sources()
            found = [each for each in possible if each.documents == held and each.sources == sources]
            assert found, f"attempt {attempt}: {lines[-3:]}"
            state = found[-1]
            assert_whole(collection, state.documents)
        assert caplog.messages == [], "the saved indexes were not whole"
        if taken is not None:
            assert_snapshot(snapshots / str(taken[0]), taken[1], finished=taken[2])

    with Collection.open(path, arms(Unwilling())) as collection:
        collection.compact()
        assert_whole(collection, state.documents)
    assert len(list((path / "indexes").iterdir())) == 1
    with Collection.open(path, arms(Unwilling())) as collection:
        assert_whole(collection, state.documents)
    assert done.keys() >= {"compact", "snapshot", "add batches"}


def assert_snapshot(folder: Path, state: State, *, finished: bool) -> None:
    """A snapshot that was acknowledged is the whole collection, and any other is that or nothing."""
    if finished or (folder / "collection.db").exists():
        with Collection.open(folder, arms(Unwilling())) as restored:
            assert_whole(restored, state.documents)
            assert restored.sources() == state.sources
    else:
        with pytest.raises(StorageError):
            Collection.open(folder, arms())
    shutil.rmtree(folder, ignore_errors=True)
