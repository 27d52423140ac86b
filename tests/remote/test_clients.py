from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from hybridrank.errors import BackendTimeoutError
from hybridrank.remote.clients import PerLoopClient
from hybridrank.runtime.deadline import limited


class Line:
    """Something to be closed on the loop that it was made for."""

    def __init__(self) -> None:
        self.made_in = threading.current_thread()
        self.closed_on: list[object] = []

    async def close(self) -> None:
        self.closed_on.append(asyncio.get_running_loop())


@pytest.fixture
def lines():
    return []


@pytest.fixture
def held(lines):
    def make():
        lines.append(Line())
        return lines[-1]

    return PerLoopClient(make, Line.close, name="the service")


def test_a_loop_has_one_made_off_the_loop(held, lines):
    async def use():
        found = await asyncio.gather(*[held.get() for _ in range(5)])
        assert set(found) == {await held.get()} == set(lines)
        assert all(line.made_in is not threading.current_thread() for line in lines)

    asyncio.run(use())


def test_the_deadline_does_not_wait_for_it(lines):
    ready = threading.Event()
    held = PerLoopClient(ready.wait, Line.close, name="the service")

    async def use():
        with limited(0.05), pytest.raises(BackendTimeoutError, match="the service: the deadline passed"):
            await held.get()
        ready.set()

    asyncio.run(use())


def test_it_is_closed_with_its_loop_which_is_let_go(held, lines):
    loops = []

    async def use():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        line = await held.get()
        assert line.closed_on == []
        return line

    first, second = asyncio.run(use()), asyncio.run(use())
    assert first is not second
    assert len(first.closed_on) == len(second.closed_on) == 1
    first.closed_on.clear()
    gc.collect()
    assert loops[0]() is None


def test_it_is_closed_on_its_loop_when_nobody_holds_it(lines):
    async def use():
        held = PerLoopClient(Line, Line.close, name="the service")
        line = await held.get()
        del held
        gc.collect()
        while not line.closed_on:
            await asyncio.sleep(0)
        assert line.closed_on == [asyncio.get_running_loop()]

    asyncio.run(asyncio.wait_for(use(), 30))


def test_a_loop_that_ended_without_a_word_is_forgotten(held, lines):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(held.get())
    loop.close()
    gone = weakref.ref(loop)
    del loop
    asyncio.run(held.get())
    gc.collect()
    assert gone() is None
