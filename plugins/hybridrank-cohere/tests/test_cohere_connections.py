"""Connections are kept from search to search, within one limit for threads and loops, and none is left open."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import weakref

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    start = """
        from hybridrank.types import Candidates, Document, Query
        from hybridrank_cohere import CohereReranker
        from hybridrank_cohere.testing import RerankServer
        batch = [Candidates(Query("storm"), [Document("a", "storm"), Document("b", "calm")])]
    """
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(start) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "CO_API_KEY": "test-key", "NO_PROXY": "127.0.0.1"},
    )


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


def test_calls_run_side_by_side(make, score, server, waste):
    server.rendezvous = threading.Barrier(4)  # none is answered before all four have arrived
    score(make(concurrency=4), [waste] * 4)
    assert server.peak == 4


def test_threads_and_loops_share_the_limits(make, server, waste):
    server.rendezvous = threading.Barrier(3)  # none is answered before three have arrived
    reranker = make(concurrency=3)
    threads = [threading.Thread(target=lambda: reranker.score([waste] * 2)) for _ in range(3)]
    threads += [threading.Thread(target=lambda: asyncio.run(reranker.ascore([waste] * 2))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(server.received), server.peak) == (12, 3)


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
    asyncio.run(search())
    gc.collect()
    assert loops[0]() is None


def test_a_burst_leaves_no_thread_and_no_task(make, waste):
    reranker = make()
    reranker.score([waste])
    before = set(threading.enumerate())

    async def burst() -> None:
        await asyncio.gather(*[reranker.ascore([waste]) for _ in range(50)])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(burst())
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert {name for name in left if "process_request_thread" not in name} == set()  # but the server's own


def test_the_end_of_the_process_closes_what_is_open():
    done = run("""
        import asyncio
        with RerankServer() as server:
            reranker = CohereReranker(base_url=server.url)
            print(reranker.score(batch) == asyncio.run(reranker.ascore(batch)))
    """)
    assert (done.stdout.split(), done.stderr) == (["True"], "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_has_connections_of_its_own():
    done = run("""
        import os, warnings
        warnings.simplefilter("ignore")  # about threads and forks
        with RerankServer() as server:
            reranker = CohereReranker(base_url=server.url)
            expected = reranker.score(batch)
            child = os.fork()
            if child == 0:
                os._exit(0 if reranker.score(batch) == expected else 1)
            print(os.waitpid(child, 0)[1], reranker.score(batch) == expected, server.connections)
    """)
    assert done.stdout.split() == ["0", "True", "2"], done.stderr
