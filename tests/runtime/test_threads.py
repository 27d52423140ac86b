"""Threads for calls: every call is made, however they meet; those that are long take no place from others."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hybridrank.runtime.threads import abandon, submit


def test_every_call_is_made_once_whoever_asks_for_it() -> None:
    made: list[int] = []

    def ask(caller: int) -> int:
        for number in range(500):
            work = submit(lambda number=number: made.append(number) or number, backend=None, purpose="test")
            assert work.wait(60)
            assert work.result() == number
        return caller

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8), timeout=120)) == list(range(8))
    assert len(made) == 8 * 500


def test_calls_that_hang_take_no_place_from_others() -> None:
    go = threading.Event()
    hanging = [submit(lambda: go.wait(120), backend=None, purpose="hanging") for _ in range(100)]
    try:
        assert submit(lambda: "made", backend=None, purpose="hanging").wait(60)
    finally:
        go.set()
    assert all(work.wait(60) for work in hanging)


def test_what_is_left_before_it_began_is_not_made_and_what_failed_says_why() -> None:
    go = threading.Event()
    first = [submit(lambda: go.wait(60), backend=None, purpose="full") for _ in range(32)]
    made: list[str] = []
    last = submit(lambda: made.append("made"), backend=None, purpose="full")
    assert not abandon(last, backend=None)
    go.set()
    assert all(work.wait(60) for work in first)
    assert made == []
    failed = submit(lambda: 1 / 0, backend=None, purpose="full")
    with pytest.raises(ZeroDivisionError):
        failed.result()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_forked_child_makes_calls_in_threads_of_its_own() -> None:
    """A pool that was used before the fork has threads that the child does not."""
    code = """
        import os, threading
        from hybridrank.runtime.threads import abandon, submit
        go = threading.Event()
        assert submit(lambda: 1, backend=None, purpose="used").wait(60)
        backend = object()
        for _ in range(4):  # all that one backend may have
            work = submit(lambda: go.wait(60), backend=backend, purpose="used")
            while not work.begun:
                pass
            assert abandon(work, backend=backend)
        child = os.fork()
        if child == 0:
            free = submit(lambda: 2, backend=backend, purpose="used")
            os._exit(0 if free.wait(30) and free.result() == 2 else 1)
        go.set()
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert (run.returncode, run.stdout) == (0, "0\n"), run.stderr
