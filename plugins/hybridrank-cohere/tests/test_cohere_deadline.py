"""A server that takes too long is left, by a pipeline that has a deadline and by a user who interrupts it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from hybridrank import Pipeline

HUNG = 30  # seconds after which a test that hangs fails; none that passes waits for them


def test_a_late_search_is_answered_with_the_fused_order(make, server, waste):
    make().score([waste])  # which imports the SDK, and would take long
    server.fault = "silence"
    pipeline = Pipeline.build(waste.documents, retrievers={"bm25": "bm25"}, reranker=make(timeout=HUNG))
    result = pipeline.search(waste.query.text, deadline=1.0)
    assert [hit.document.id for hit in result.hits] == ["d1", "d0"]
    assert "rerank" in result.degraded
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
