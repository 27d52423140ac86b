"""Children that are forked while other threads are at work search, rerank, add and load like their parent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from collection.survival.common import child, times

from hybridrank.runtime.fork import hold_forks

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]


@pytest.mark.parametrize("kind", ["memory", "disk", "cross-encoder", "loading"])
def test_children_answer_like_their_parent(kind: str, tmp_path: Path) -> None:
    forks = times(100, 8)
    with child("forking.py", kind, forks, tmp_path, stdout=-1, stderr=-1) as process:
        told, errors = process.communicate(timeout=1500)
    assert told == f"{forks} of {forks}\n", errors


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of just what is tested
def test_a_fork_waits_for_what_holds_it_off_and_is_not_kept_by_its_own_thread() -> None:
    import threading
    import time

    inside, go_on, left = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with hold_forks():
            inside.set()
            go_on.wait(30)
            left.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(30)
    threading.Timer(0.2, go_on.set).start()
    with hold_forks():  # by the thread that forks, which knows what it does
        pid = os.fork()
        if not pid:
            os._exit(0 if left.is_set() and time.monotonic() else 1)
    assert os.waitpid(pid, 0)[1] == 0
    thread.join()
