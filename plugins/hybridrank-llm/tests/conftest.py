from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import pytest
from hybridrank_llm import LlmReranker
from hybridrank_llm.testing import ChatServer

from hybridrank.types import Candidates, Document, Query, Scores

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


@pytest.fixture(params=["sync", "async"])
def score(request: pytest.FixtureRequest) -> Callable[..., Sequence[Scores]]:
    """Score a batch in each of the two ways."""
    if request.param == "sync":
        return lambda reranker, batch: reranker.score(batch)
    return lambda reranker, batch: asyncio.run(reranker.ascore(batch))


@pytest.fixture
def waste() -> Candidates:
    texts = ["Plastic waste requires recycling.", "A storm is forecast.", "Organic waste can be composted."]
    return Candidates(Query("organic waste"), [Document(f"d{number}", text) for number, text in enumerate(texts)])
