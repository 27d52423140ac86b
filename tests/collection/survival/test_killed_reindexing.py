"""A process that reindexes is killed at random moments, while another writes: old or new, never a mix."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from collection.survival.common import STRESS, Unwilling, arms, assert_whole, child, times

from hybridrank import Document
from hybridrank.collection import Collection

pytestmark = pytest.mark.stress


def text(rng: random.Random, name: str) -> str:
    return (
        f"# Copy {name}\n\ncopy{name} " + " ".join(rng.choices(("air", "wing", "lift", "drag"), k=60)) + ". Flow."
    )


def test_a_killed_reindex_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    path, log = tmp_path / "c", tmp_path / "log"
    rng = random.Random(20260902)
    held = {f"d{n}": Document(f"d{n}", text(rng, f"d{n}"), metadata={"n": n}) for n in range(700)}
    forms = set()
    with Collection.create(path, arms(), splitter=None, indexed_fields=["n"]) as collection:
        collection.add(held.values())
        for attempt in range(times(120, 5)):
            log.unlink(missing_ok=True)
            with (tmp_path / "err").open("w") as errors:
                process = child("reindexing.py", path, log, attempt, stderr=errors)
                try:
                    while not log.exists() and process.poll() is None:
                        time.sleep(0.005)
                    until = time.monotonic() + rng.uniform(0.0, 3.0)
                    while time.monotonic() < until and process.poll() is None:
                        for name in (f"d{rng.randrange(700)}" for _ in range(3)):
                            held[name] = Document(name, text(rng, name), metadata={"n": attempt})
                            collection.add([held[name]])
                        gone = rng.choice(sorted(held))
                        assert collection.delete([gone]) == 1
                        del held[gone]
                finally:
                    os.killpg(process.pid, signal.SIGKILL)
                    status = process.wait()
            assert status == -signal.SIGKILL, (tmp_path / "err").read_text()
            assert_whole(collection, held, telling=False)
            with Collection.open(path, arms(Unwilling())) as opened:
                assert_whole(opened, held, telling=False)
                assert opened.count({"n": attempt}) == sum(each.metadata["n"] == attempt for each in held.values())
                forms.add(str(opened.splitter))
    assert len(forms) > 1 or not STRESS
