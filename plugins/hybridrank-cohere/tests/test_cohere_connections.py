"""Connections, at the end of the process and after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

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
