"""Checks of a remote component's connections, and of the resources that it releases."""

# ruff: noqa: ARG001  (every check takes what is served and the tolerances)

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
import weakref
from typing import Any

from hybridrank.testing.kit import THREADS, Tolerances, in_threads, require
from hybridrank.testing.served import ServedComponent, answer, in_own_thread, needs_async, same, soon

__all__ = [
    "a_burst_leaves_nothing_running",
    "calls_run_in_parallel",
    "closed_loops_are_released",
    "connections_are_kept",
    "threads_and_loops_at_once",
]


def connections_are_kept(served: ServedComponent, tolerances: Tolerances) -> None:
    """Searches reuse connections, across threads and on an event loop."""
    why = "A connection costs round trips, which a search waits for: keep one client for all searches"
    with served.start() as (server, make):
        component, blocking = make(concurrency=2), served.ways()[0]
        for _ in range(5):
            answer(blocking, component)
        what = "searches one after another, each in a thread of its own,"
        require(server.connections == 1, f"5 {what} opened {server.connections} connections, expected 1. {why}")
        in_threads(lambda _: answer(blocking, component))
        what = f"{THREADS} threads at once, with concurrency = 2, opened {server.connections} connections"
        require(server.connections <= 2, f"{what}, expected at most 2. {why}")
    if len(served.ways()) == 1:
        return
    with served.start() as (server, make):
        component = make()

        async def search() -> None:
            for _ in range(5):
                await served.await_answer(component)

        in_own_thread(lambda: asyncio.run(search()), searches=5)
        what = f"5 searches, one after another on one event loop, opened {server.connections} connections"
        require(server.connections == 1, f"{what}, expected 1. {why}")


def calls_run_in_parallel(served: ServedComponent, tolerances: Tolerances) -> None:
    """At most `limits.concurrency` calls run concurrently, over all threads and event loops."""
    ways = served.ways()
    with served.start() as (server, make):
        fourth = threading.Event()

        def look() -> None:
            fourth.wait(0 if fourth.is_set() else 0.3)  # a moment for a call too many to arrive
            fourth.set()

        component = make(concurrency=3)
        answer(ways[0], component)  # which imports and connects
        server.received.clear()
        server.rendezvous = threading.Barrier(3, action=look)  # no response before three have arrived
        in_threads(lambda number: answer(ways[number % len(ways)], component, requests=3, what="calling thrice"))
        require(
            server.peak == 3 and len(server.received) == 3 * THREADS,
            f"{3 * THREADS} calls with concurrency = 3 came as {len(server.received)} requests, {server.peak} at "
            "one time, expected 3: services count what their users do at one time, whatever thread it comes from",
        )


def threads_and_loops_at_once(served: ServedComponent, tolerances: Tolerances) -> None:
    """Threads and event loops that search concurrently get the same scores as alone."""
    ways = served.ways()
    with served.start() as (_, make):
        component = make()
        together = in_threads(lambda number: answer(ways[number % len(ways)], component, requests=2))
        for number, rows in enumerate(together):
            alone = answer(ways[number % len(ways)], component)
            same(rows, [*alone] * 2, tolerances, f"with {THREADS} threads and event loops at once")


def closed_loops_are_released(served: ServedComponent, tolerances: Tolerances) -> None:
    """Connections end with their event loop, all others with the component, and neither stays in memory."""
    needs_async(served)
    gc.collect()  # resources that others left open warn now
    loops: list[weakref.ref[Any]] = []
    with served.start() as (server, make), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        held = [make()]

        async def search() -> Any:
            loops.append(weakref.ref(asyncio.get_running_loop()))
            return await served.await_answer(held[0])

        def open_ones() -> int:
            gc.collect()
            return server.living

        expected = answer(served.ways()[0], held[0])
        for _ in range(3):
            rows = in_own_thread(lambda: asyncio.run(search()))
            same(rows, expected, tolerances, "on one event loop after another")
        what = "an event loop was closed, and what it opened was not: use hybridrank.remote.PerLoopClient"
        require(soon(lambda: open_ones() <= 1), what)
        require(all(loop() is None for loop in loops), "an event loop that was closed is still in memory")
        held.clear()
        require(soon(lambda: open_ones() == 0), "the component is gone, and a connection of its is open")
        left = [str(each.message) for each in warned if issubclass(each.category, ResourceWarning)]
        require(not left, f"what was opened was dropped, not closed: {'; '.join(left[:3])}")


def a_burst_leaves_nothing_running(served: ServedComponent, tolerances: Tolerances) -> None:
    """Fifty concurrent searches on an event loop leave no task and no thread."""
    needs_async(served)
    with served.start() as (_, make):
        component = make()
        for way in served.ways():
            answer(way, component)
        before = set(threading.enumerate())

        async def burst() -> set[asyncio.Task[Any]]:
            await asyncio.gather(*[served.await_answer(component) for _ in range(50)])
            return asyncio.all_tasks() - {asyncio.current_task()}

        tasks = in_own_thread(lambda: asyncio.run(burst()), searches=50)
        for _ in range(5):
            answer(served.ways()[0], component)
        require(not tasks, f"after 50 searches at once run on: {tasks}")

        def threads() -> list[str]:
            """But the server's own."""
            left = [thread.name for thread in set(threading.enumerate()) - before]
            return [name for name in left if "process_request_thread" not in name]

        require(soon(lambda: not threads()), f"after 50 searches at once run on the threads {threads()}")
