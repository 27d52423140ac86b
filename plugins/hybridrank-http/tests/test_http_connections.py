"""Connections are kept from search to search, over threads and event loops, and none is left open."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path

import pytest
from hybridrank_http.testing import RerankServer

from hybridrank.errors import BackendError


def test_connections_are_pooled_across_searches(make, server, waste):
    reranker = make()
    for _ in range(5):
        reranker.score([waste])
    assert (len(server.received), server.connections) == (5, 1)


def test_connections_are_pooled_across_async_searches(make, server, waste):
    reranker = make()

    async def search() -> None:
        for _ in range(5):
            await reranker.ascore([waste])

    asyncio.run(search())
    assert (len(server.received), server.connections) == (5, 1)


def test_threads_share_one_client(make, server, waste):
    reranker = make()
    expected = reranker.score([waste])
    answers: list[object] = []
    threads = [threading.Thread(target=lambda: answers.append(reranker.score([waste]))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 16
    assert server.connections <= reranker.limits.concurrency


def test_calls_run_side_by_side(make, score, server, waste):
    server.rendezvous = threading.Barrier(4)  # none is answered before all four have arrived
    score(make(), [waste] * 4)
    assert server.peak == 4


def test_a_component_outlives_its_event_loops_and_leaves_no_connection_open(make, server, waste):
    reranker = make()
    answers = [asyncio.run(reranker.ascore([waste])) for _ in range(3)]
    assert answers == [reranker.score([waste])] * 3
    assert server.connections == 4  # one a loop, and one for the threads
    del reranker
    gc.collect()  # an open socket would warn here, and a warning fails the test


def test_a_closed_event_loop_is_let_go(make, waste):
    reranker, loops = make(), []

    async def search() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await reranker.ascore([waste])

    asyncio.run(search())
    gc.collect()
    assert loops[0]() is None


def test_loops_in_several_threads_at_once(make, waste):
    reranker = make()
    expected = reranker.score([waste])
    answers: list[object] = []

    def search() -> None:
        answers.append(asyncio.run(reranker.ascore([waste] * 2)))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected * 2] * 4


FAULTY = ["", "400", "429", "503", "hang up", "not json", "307", "endless", "compressed", "silence", "trickle"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="sockets are counted in /proc")
def test_whatever_happened_no_socket_and_no_thread_is_left(make, server, waste):
    def use() -> None:
        reranker = make(limits={"retries": 0, "timeout": 0.5})
        for fault in FAULTY:
            for score in (reranker.score, lambda batch: asyncio.run(reranker.ascore(batch))):
                server.fault = fault or None
                with suppress(BackendError):
                    score([waste])
        server.fault = None
        reranker.score([waste])

    use()  # which starts the loop in the background
    before = settled(server)
    use()
    assert settled(server) == before


def settled(server: RerankServer) -> tuple[int, set[str]]:
    """Open sockets and living threads, when the server's threads have seen that their clients left."""
    gc.collect()
    give_up = time.monotonic() + 30
    while server.living and time.monotonic() < give_up:
        time.sleep(0.01)
    sockets = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            sockets += descriptor.readlink().name.startswith("socket:")
    return sockets, {thread.name for thread in threading.enumerate() if "process_request" not in thread.name}


def test_many_searches_leave_no_thread_and_no_task(make, server, waste):
    reranker = make()
    reranker.score([waste])
    before = set(threading.enumerate())

    async def burst() -> None:
        await asyncio.gather(*[reranker.ascore([waste]) for _ in range(100)])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(burst())
    for _ in range(50):
        reranker.score([waste])
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert {name for name in left if "process_request_thread" not in name} == set()  # but the server's own
