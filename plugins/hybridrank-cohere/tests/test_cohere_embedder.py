"""The embedder, with the conformance kit and a local server."""

from __future__ import annotations

import numpy as np
import pytest
from hybridrank_cohere import CohereEmbedder
from hybridrank_cohere.testing import EmbedServer

from hybridrank.errors import BackendError, BackendResponseError
from hybridrank.testing import ServedEmbedder, aembed, embed, parametrize

KEY = "co-S3cret.key_for-tests~0123456789+/="
TEXTS = ["organic waste is composted", "plastic waste is recycled", "a storm is forecast"]
SERVED = ServedEmbedder(
    server=EmbedServer,
    embedder=lambda url, **options: CohereEmbedder(base_url=url, batch_size=3, **options),
)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("CO_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("CO_API_URL", raising=False)
    with EmbedServer(key=KEY, maximum=1000) as running:
        yield running


def make(server, **options):
    return CohereEmbedder(base_url=server.url, **options, limits={"max_wait": 0.05})


@parametrize("remote embedder", [SERVED])
def test_contract(component, check):
    check(component)


@pytest.mark.parametrize("way", [embed, aembed])
@pytest.mark.parametrize(
    "fault",
    ["list", "no vectors", "short", "null vector", "null number", "nan", "zeros", "another dimension", "not json"],
)
def test_invalid_responses_are_rejected(server, way, fault):
    server.faults.append(fault)
    with pytest.raises(BackendResponseError, match="Cohere"):
        way(make(server), TEXTS)
    assert len(server.received) == 1


def test_roles_and_dimensions_are_sent(server):
    made = make(server, dimensions=256)
    assert made.embed(TEXTS, role="query").shape == (3, 256)
    assert made.embed([], role="document").shape == (0, 256)
    made.embed(TEXTS, role="document")
    assert [each.body["input_type"] for each in server.received] == ["search_query", "search_document"]
    assert server.received[0].body["embedding_types"] == ["float"]


def test_a_long_text_is_rejected_or_truncated(server):
    with pytest.raises(BackendError, match="Cohere answered 400: too many tokens"):
        make(server).embed(["word " * 300], role="document")
    assert len(make(server, truncate=True).embed(["word " * 300], role="document")) == 1


def test_more_texts_than_a_request_takes_are_split_and_counted(server):
    made = make(server)
    texts = [f"text number {number}" for number in range(200)]
    vectors = made.embed(texts, role="document")
    np.testing.assert_allclose(vectors[150], made.embed(texts[150:151], role="document")[0], atol=1e-6)
    used = made.usage({"input_tokens": 0.5})
    assert used == {"texts": 201, "requests": 4, "retries": 0, "input_tokens": 603, "cost": 301.5}


def test_identity_is_of_the_vectors():
    one = CohereEmbedder()
    assert one.identity == CohereEmbedder(base_url="http://proxy", batch_size=7).identity
    assert one.identity != CohereEmbedder(dimensions=256).identity
