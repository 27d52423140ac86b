"""A server that takes too long is left, and sees that it was; so it does when a search is cancelled."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap

import pytest

from hybridrank import Pipeline
from hybridrank.deadline import limited
from hybridrank.errors import BackendTimeoutError, RateLimitedError

HUNG = 30  # seconds after which a test that hangs fails; none that passes waits for them


@pytest.fixture(autouse=True)
def _ready(make, server, waste):
    """The SDK takes long to import, which would be part of the first search."""
    make().score([waste])
    server.received.clear()


@pytest.mark.parametrize("fault", ["silence", "trickle"])
def test_a_slow_server_is_left_at_the_deadline(make, score, server, waste, fault):
    reranker = make(timeout=HUNG)
    server.fault = fault
    with limited(1.0), pytest.raises(BackendTimeoutError, match="Cohere did not answer within"):
        score(reranker, [waste] * 3)
    assert server.left_one.wait(HUNG)


@pytest.mark.parametrize("fault", ["silence", "trickle"])
def test_a_slow_server_is_left_at_the_end_of_an_attempt(make, score, server, waste, fault):
    server.fault = fault
    with pytest.raises(BackendTimeoutError):
        score(make(timeout=0.5, retries=0), [waste])
    assert server.left_one.wait(HUNG)


def test_past_the_deadline_nobody_is_asked(make, score, server, waste):
    with limited(0.0), pytest.raises(BackendTimeoutError):
        score(make(), [waste])
    assert server.received == []


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_pause_beyond_the_deadline_is_not_begun(make, score, server, waste, status):
    server.fault = f"{status} retry-after 60"
    with limited(HUNG), pytest.raises(RateLimitedError) as caught:
        score(make(max_wait=120.0), [waste])
    assert caught.value.retry_after == 60.0
    assert len(server.received) == 1


def test_the_limit_of_calls_a_minute_is_kept_by_threads_and_loops(make, server, waste):
    reranker = make(per_minute=2)
    reranker.score([waste])
    asyncio.run(reranker.ascore([waste]))
    with limited(HUNG), pytest.raises(RateLimitedError, match="2 calls a minute"):
        reranker.score([waste])
    assert len(server.received) == 2


def test_a_late_search_is_answered_with_the_fused_order(make, server, waste):
    server.fault = "silence"
    pipeline = Pipeline.build(waste.documents, retrievers={"bm25": "bm25"}, reranker=make(timeout=HUNG))
    result = pipeline.search(waste.query.text, deadline=1.0)
    assert [hit.document.id for hit in result.hits] == ["d1", "d0"]
    assert "rerank" in result.degraded
    assert server.left_one.wait(HUNG)


# --- cancellation


def test_cancelling_stops_the_request_and_leaves_the_client_usable(make, server, waste):
    reranker = make(timeout=HUNG)

    async def search() -> object:
        server.faults.append("silence")
        task = asyncio.create_task(reranker.ascore([waste]))
        while not server.received:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.left_one.wait, HUNG)
        return await reranker.ascore([waste])

    assert asyncio.run(search()) == reranker.score([waste])


def test_cancelling_at_any_point_leaves_nothing_behind(make, server, waste):
    reranker = make(concurrency=1, timeout=HUNG, max_wait=0.001)

    async def every_point() -> int:
        expected = await reranker.ascore([waste])
        for steps in range(10_000):
            server.faults.append("503")
            task = asyncio.create_task(reranker.ascore([waste] * 2))
            for _ in range(steps):
                await asyncio.sleep(0)
            early = task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled() is early
            server.faults.clear()
            async with asyncio.timeout(HUNG):
                assert await reranker.ascore([waste]) == expected
            assert asyncio.all_tasks() == {asyncio.current_task()}
            if not early or steps > 60:
                return steps
        raise AssertionError("it never ended")

    assert asyncio.run(every_point()) > 10


def test_a_failed_call_stops_the_others(make, score, server, waste):
    server.faults.extend(["silence", "400"])
    with pytest.raises(Exception, match="told to answer 400"):
        score(make(timeout=HUNG), [waste] * 2)
    assert server.left_one.wait(HUNG)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupting_stops_the_request():
    code = """
        import signal, threading
        from hybridrank.types import Candidates, Document, Query
        from hybridrank_cohere import CohereReranker
        from hybridrank_cohere.testing import RerankServer
        batch = [Candidates(Query("storm"), [Document("a", "storm")])]
        with RerankServer() as server:
            reranker = CohereReranker(base_url=server.url, limits={"timeout": 60})
            reranker.score(batch)
            server.faults.append("silence")
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
            def interrupt():
                while len(server.received) < 2:
                    threading.Event().wait(0.01)
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            threading.Thread(target=interrupt).start()
            try:
                reranker.score(batch)
            except KeyboardInterrupt:
                print(server.left_one.wait(30), reranker.score(batch))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "CO_API_KEY": "test-key", "NO_PROXY": "127.0.0.1"},
    )
    assert (done.stdout.split(), done.stderr) == (["True", "[(1.0,)]"], "")
