"""Whatever a server does, no connection is left open."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hybridrank_http.testing import RerankServer

from hybridrank.errors import BackendError

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
