"""Whatever a server does, the deadline holds; what is interrupted, forked or let go leaves no trace."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack

import pytest
from hybridrank_http import HttpReranker
from hybridrank_http.testing import RerankServer

from hybridrank.errors import BackendError, BackendTimeoutError
from hybridrank.runtime import limited

DEADLINE = 6.0  # seconds
HUNG = 30  # seconds after which a test that hangs fails; none that passes waits for them


def test_whatever_the_server_does_the_deadline_holds(make, waste):
    """Within a tenth of it: of a long one, for a busy machine is late by some tenths of a second as it is."""
    make().score([waste])  # which loads the client
    faults = [
        "silence",
        "trickle",
        "hang up",
        "endless",
        "429 retry-after 2",
        "429",
        "500",
        "503",
        "not json",
        "307",
    ]

    async def timed(fault: str, server: RerankServer) -> float:
        server.fault = fault
        reranker = HttpReranker(url=server.url, flavor="tei", limits={"retries": 10, "timeout": 2 * DEADLINE})
        began = time.monotonic()
        with pytest.raises(BackendError):
            await reranker.ascore([waste])
        return time.monotonic() - began

    async def all_at_once(servers: list[RerankServer]) -> list[float]:
        with limited(DEADLINE):
            return await asyncio.gather(*map(timed, faults, servers))

    with ExitStack() as stack:
        servers = [stack.enter_context(RerankServer("tei")) for _ in faults]
        took = asyncio.run(all_at_once(servers))
    assert max(took) <= DEADLINE * 1.1, dict(zip(faults, took, strict=True))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupting_stops_the_request():
    code = """
        import os, signal, threading
        from hybridrank.types import Candidates, Document, Query
        from hybridrank_http import HttpReranker
        from hybridrank_http.testing import RerankServer
        batch = [Candidates(Query("storm"), [Document("a", "storm")])]
        with RerankServer("tei") as server:
            reranker = HttpReranker(url=server.url, flavor="tei", limits={"timeout": 60})
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
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.split(), done.stderr) == (["True", "[(1.0,)]"], "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_has_connections_of_its_own():
    code = """
        import os
        from hybridrank.types import Candidates, Document, Query
        from hybridrank_http import HttpReranker
        from hybridrank_http.testing import RerankServer
        batch = [Candidates(Query("storm"), [Document("a", "storm"), Document("b", "calm")])]
        with RerankServer("tei") as server:
            reranker = HttpReranker(url=server.url, flavor="tei")
            expected = reranker.score(batch)
            child = os.fork()
            if child == 0:
                os._exit(0 if reranker.score(batch) == expected else 1)
            print(os.waitpid(child, 0)[1], reranker.score(batch) == expected, server.connections)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["0", "True", "2"], done.stderr


def test_a_burst_that_is_let_go_leaves_no_connection(make, server, waste):
    reranker = make(limits={"concurrency": 20, "timeout": HUNG})

    async def burst() -> None:
        await reranker.ascore([waste])  # which loads the client
        server.fault = "silence"
        with limited(2.0):
            answers = await asyncio.gather(*[reranker.ascore([waste]) for _ in range(100)], return_exceptions=True)
        assert {type(answer) for answer in answers} == {BackendTimeoutError}
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(burst())
    assert server.left_one.wait(HUNG)
    server.fault = None
    assert len(reranker.score([waste])[0]) == 3
