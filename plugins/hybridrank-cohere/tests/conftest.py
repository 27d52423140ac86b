from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hybridrank_cohere import CohereReranker
from hybridrank_cohere.testing import RerankServer

from hybridrank.remote import Limits
from hybridrank.testing import Way, ascore
from hybridrank.testing import score as score_in_thread
from hybridrank.types import Candidates, Document, Query

KEY = "co-S3cret.key_for-tests~0123456789+/="


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RerankServer]:
    monkeypatch.setenv("CO_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # whatever proxy the environment names
    monkeypatch.delenv("CO_API_URL", raising=False)
    with RerankServer(key=KEY) as running:
        yield running


@pytest.fixture
def make(server: RerankServer) -> Callable[..., CohereReranker]:
    """Make a reranker of `server`, with short pauses; its limits are options here."""

    def make(**options: object) -> CohereReranker:
        limits = {name: options.pop(name) for name in Limits.model_fields if name in options}
        return CohereReranker(**{"base_url": server.url, **options}, limits={"max_wait": 0.05, **limits})

    return make


@pytest.fixture(params=[score_in_thread, ascore], ids=["sync", "async"])
def score(request: pytest.FixtureRequest) -> Way:
    """Score a batch from a thread, and on a loop."""
    return request.param


@pytest.fixture
def waste() -> Candidates:
    return candidates(
        "How to process organic waste?",
        "Plastic waste requires recycling facilities.",
        "Organic waste can be composted.",
        "A storm is forecast.",
    )


def candidates(query: str, *texts: str) -> Candidates:
    return Candidates(Query(query), [Document(f"d{number}", text) for number, text in enumerate(texts)])
