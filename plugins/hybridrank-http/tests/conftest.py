from __future__ import annotations

from collections.abc import Callable, Iterator

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
