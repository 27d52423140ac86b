"""What a signal handler raises in the main thread, at any moment of a call, leaves nothing held or half made."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from collection.survival.common import child, times

from hybridrank import Collection, Document, Pipeline

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that signal"),
]


@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.parametrize("seed", range(times(4, 1)))
def test_a_storm_of_interrupts_beside_searching_threads(kind: str, seed: int, tmp_path: Path) -> None:
    where = "memory" if kind == "memory" else tmp_path / "collection"
    with child("interrupting.py", where, times(4000, 150), seed, stdout=-1, stderr=-1) as process:
        told, errors = process.communicate(timeout=1500)
    assert re.fullmatch(r"[1-9][0-9]* whole\n", told), errors


class Interrupted(Exception):
    pass


# Python drops what a handler raises while it calls back for an object that is gone: that call goes on to its end.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_build_that_is_interrupted_can_be_done_again(tmp_path: Path, arms: dict[str, Any]) -> None:
    """What an interrupted call made is removed before its exception is there."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    random = Random(7)
    documents = [Document(str(n), f"compost {n}") for n in range(40)]
    before, interrupted, left = signal.signal(signal.SIGALRM, interrupt), 0, 0
    try:
        for attempt in range(times(400, 30)):
            path = tmp_path / str(attempt)
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.05))
                made = Collection.create(path, arms)
                signal.setitimer(signal.ITIMER_REAL, 0)
                made.close()
            except Interrupted:
                interrupted += 1
                left += path.exists()
                if not path.exists():
                    Pipeline.build(documents, path=path, retrievers=arms, reranker=None).close()
            with Pipeline.open(path, retrievers=arms, reranker=None) as pipeline:
                assert len(pipeline) in (0, len(documents))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 1
    assert left <= 1  # interrupted between the end of the call and the next line here
