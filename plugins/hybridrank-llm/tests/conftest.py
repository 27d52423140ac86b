from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hybridrank_llm import LlmReranker
from hybridrank_llm.testing import ChatServer

from hybridrank.testing import Way, ascore
from hybridrank.testing import score as score_in_thread
from hybridrank.types import Candidates, Document, Query

KEY = "sk-S3cret.key_for-tests~0123456789+/="


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("LLM_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # whatever proxy the environment names
    with ChatServer(key=KEY) as running:
        yield running


@pytest.fixture
def make(server: ChatServer) -> Callable[..., LlmReranker]:
    """Make a reranker of `server`, with short pauses."""

    def made(*, limits: dict[str, float] | None = None, **options: object) -> LlmReranker:
        standard = {"url": server.url, "model": "test-model", "api_key_env": "LLM_KEY"}
        return LlmReranker(**{**standard, "limits": {"max_wait": 0.02, **(limits or {})}, **options})

    return made


@pytest.fixture(params=[score_in_thread, ascore], ids=["sync", "async"])
def score(request: pytest.FixtureRequest) -> Way:
    """Score a batch from a thread, and on a loop."""
    return request.param


@pytest.fixture
def waste() -> Candidates:
    texts = ["Plastic waste requires recycling.", "A storm is forecast.", "Organic waste can be composted."]
    return Candidates(Query("organic waste"), [Document(f"d{number}", text) for number, text in enumerate(texts)])
