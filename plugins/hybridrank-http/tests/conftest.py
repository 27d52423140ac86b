from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from hybridrank_http import HttpReranker
from hybridrank_http.testing import RerankServer

from hybridrank.testing import Way, ascore
from hybridrank.testing import score as score_in_thread
from hybridrank.types import Candidates, Document, Query

KEY = "ht-S3cret.key_for-tests~0123456789+/="


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RerankServer]:
    monkeypatch.setenv("RERANK_KEY", KEY)
    with RerankServer("infinity", key=KEY) as running:
        yield running


@pytest.fixture
def make(server: RerankServer) -> Callable[..., HttpReranker]:
    """Make a reranker of `server`, with short pauses; limits are options here."""

    def make(*, limits: dict[str, object] | None = None, **options: object) -> HttpReranker:
        defaults = {"url": server.url, "flavor": "infinity", "api_key_env": "RERANK_KEY"}
        return HttpReranker(**{**defaults, **options}, limits={"max_wait": 0.05, **(limits or {})})

    return make


@pytest.fixture(params=[score_in_thread, ascore], ids=["sync", "async"])
def score(request: pytest.FixtureRequest) -> Way:
    """Score a batch from a thread, and on a loop."""
    return request.param


@pytest.fixture
def waste() -> Candidates:
    texts = [
        "Plastic waste requires recycling facilities.",
        "Organic waste can be composted.",
        "A storm is forecast.",
    ]
    documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]
    return Candidates(Query("How to process organic waste?"), documents)


class Infinity:
    """Starts real infinity servers."""

    program = Path(__file__).parents[3] / ".venv-infinity" / "bin" / "infinity_emb"
    key = "inf-S3cret.key_for-tests"
    starts = 300  # seconds that the server may take to start, on a busy machine

    def __init__(self, logs: Path) -> None:
        self.logs = logs

    @contextmanager
    def __call__(self, model: Path) -> Iterator[str]:
        """Serve `model` as "tiny", and yield the server's URL."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        log = self.logs / str(port)
        settings = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}
        command = [self.program, "v2", "--model-id", model, "--served-model-name", "tiny", "--host", "127.0.0.1"]
        command += ["--port", str(port), "--engine", "torch", "--device", "cpu", "--dtype", "float32"]
        command += ["--no-bettertransformer", "--no-model-warmup"]
        environment = {**os.environ, **settings, "INFINITY_API_KEY": self.key}
        with log.open("w") as written:
            process = subprocess.Popen(command, env=environment, stdout=written, stderr=written)
        try:
            give_up = time.monotonic() + self.starts
            while not answers(f"http://127.0.0.1:{port}/health"):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < give_up, log.read_text()
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10, trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def infinity(tmp_path_factory: pytest.TempPathFactory) -> Infinity:
    """Starts real servers; tests are skipped where it is not installed."""
    if not Infinity.program.exists():
        pytest.skip("infinity is not installed: `make infinity` makes its environment")
    return Infinity(tmp_path_factory.mktemp("infinity"))
