"""The embedder, with a local server of every flavor."""

from __future__ import annotations

import asyncio
from functools import partial

import numpy as np
import pytest
from hybridrank_http import HttpEmbedder
from hybridrank_http.embedding_flavors import EMBEDDING_FLAVORS
from hybridrank_http.testing import MALFORMED_EMBEDDINGS, MISINDEXED, EmbeddingServer

from hybridrank import Document, Pipeline
from hybridrank.component import AsyncEmbedder
from hybridrank.errors import BackendError, BackendResponseError, ConfigError, InputError
from hybridrank.testing import ServedEmbedder, aembed, checks, embed, parametrize

SERVED = ServedEmbedder(
    server=partial(EmbeddingServer, "openai"),
    embedder=lambda url, **options: HttpEmbedder(url=url, model="any", batch_size=3, **options),
)
TEXTS = ["organic waste is composted", "plastic waste is recycled", "a storm is forecast"]


def embedder(server, flavor="openai", **options):
    limits = {"max_wait": 0.05, **options.pop("limits", {})}
    return HttpEmbedder(url=server.url, flavor=flavor, **{"model": "any", **options}, limits=limits)


@parametrize("remote embedder", [SERVED])
def test_contract(component, check):
    check(component)


@pytest.mark.parametrize("check", checks("embedder"), ids=lambda check: check.name)
@pytest.mark.parametrize("flavor", [name for name in EMBEDDING_FLAVORS if name != "openai"])
def test_contract_of_a_flavor(flavor, check):
    with EmbeddingServer(flavor) as server:
        check(embedder(server, flavor))


@pytest.mark.parametrize("flavor", EMBEDDING_FLAVORS)
def test_vectors_are_the_servers_in_the_order_of_the_texts(flavor):
    with EmbeddingServer(flavor) as server:
        made = embedder(server, flavor)
        alone = np.concatenate([made.embed([text], role="document") for text in TEXTS])
        np.testing.assert_allclose(made.embed(TEXTS, role="document"), alone, atol=1e-6)
        assert alone[0] @ alone[1] > alone[0] @ alone[2]


@pytest.mark.parametrize("way", [embed, aembed])
@pytest.mark.parametrize(
    ("flavor", "fault"),
    [("openai", fault) for fault in (*MALFORMED_EMBEDDINGS, *MISINDEXED, "error body", "endless")]
    + [(flavor, fault) for flavor in ("gemini", "tei") for fault in MALFORMED_EMBEDDINGS],
)
def test_invalid_responses_are_rejected(flavor, fault, way):
    with EmbeddingServer(flavor) as server:
        made = embedder(server, flavor, dimensions=64 if flavor != "tei" else None)
        made.embed(TEXTS, role="document")
        server.faults.append(fault)
        with pytest.raises(BackendResponseError, match=r"the embedder at http://127\.0\.0\.1"):
            way(made, TEXTS)
        assert len(server.received) == 2  # an invalid response is not asked for again


def test_indexes_are_read():
    with EmbeddingServer("openai") as server:
        made = embedder(server)
        expected = made.embed(TEXTS, role="document")
        server.faults.append("another order")
        np.testing.assert_array_equal(made.embed(TEXTS, role="document"), expected)


@pytest.mark.parametrize("flavor", ["voyage", "jina"])
def test_the_role_is_the_flavors_field(flavor):
    with EmbeddingServer(flavor) as server:
        made = embedder(server, flavor)
        made.embed(["a"], role="query")
        made.embed(["a"], role="document")
        name, *values = {
            "voyage": ("input_type", "query", "document"),
            "jina": ("task", "retrieval.query", "retrieval.passage"),
        }[flavor]
        assert [each.body[name] for each in server.received] == values


def test_geminis_fields_are_in_each_request():
    with EmbeddingServer("gemini") as server:
        made = embedder(server, "gemini", dimensions=8)
        assert made.embed(["a", "b"], role="query").shape == (2, 8)
        [received] = server.received
        assert received.body["requests"][1] == {
            "model": "models/any",
            "content": {"parts": [{"text": "b"}]},
            "taskType": "RETRIEVAL_QUERY",
            "outputDimensionality": 8,
        }


def test_a_known_models_prefix_is_sent_unless_another_is_given():
    with EmbeddingServer("vllm") as server:
        for options in ({}, {"query_prefix": "ask: "}, {"query_prefix": ""}):
            made = embedder(server, "vllm", model="intfloat/multilingual-e5-small", **options)
            made.embed(["soil"], role="query")
        made.embed(["soil"], role="document")
        sent = [each.body["input"] for each in server.received]
    assert sent == [["query: soil"], ["ask: soil"], ["soil"], ["passage: soil"]]


def test_a_field_of_the_flavor_can_be_left_out():
    with EmbeddingServer("jina") as server:
        embedder(server, "jina", parameters={"task": None}).embed(["a"], role="query")
        assert "task" not in server.received[0].body


@pytest.mark.parametrize("flavor", [name for name in EMBEDDING_FLAVORS if name != "gemini"])
def test_dimensions_are_asked_for_and_required(flavor):
    with EmbeddingServer(flavor) as server:
        made = embedder(server, flavor, dimensions=16)
        assert made.embed(TEXTS, role="document").shape == (3, 16)
        assert made.embed([], role="query").shape == (0, 16)
        server.faults.append("another dimension")
        with pytest.raises(BackendResponseError, match="65 dimensions for text 2 of 3, expected 16"):
            made.embed(TEXTS, role="document")


def test_batches_have_so_many_texts_and_tokens():
    with EmbeddingServer("openai") as server:
        embedder(server, batch_size=2).embed(TEXTS, role="document")
        assert sorted(len(each.body["input"]) for each in server.received) == [1, 2]
        server.received.clear()
        made = embedder(server, batch_tokens=30)
        vectors = made.embed([*TEXTS, "long " * 100, "short"], role="document")
        assert len(vectors) == 5
        assert sorted(len(each.body["input"]) for each in server.received) == [1, 1, 1, 2]
        assert made.usage()["texts"] == 5


def test_no_texts_ask_once_for_the_dimension():
    with EmbeddingServer("openai") as server:
        made = embedder(server)
        assert made.embed([], role="document").shape == made.embed([], role="query").shape == (0, 64)
        assert [each.body["input"] for each in server.received] == [["."]]


@pytest.mark.parametrize(
    ("flavor", "refuses"), [("openai", True), ("voyage", True), ("jina", True), ("tei", True)]
)
def test_a_long_text_is_rejected_by_default(flavor, refuses):
    with EmbeddingServer(flavor, maximum=100) as server:
        with pytest.raises(BackendError, match="answered 413: a text has more than 100 characters"):
            embedder(server, flavor).embed(["x " * 200], role="document")
        if flavor != "openai":
            embedder(server, flavor, on_long="truncate").embed(["x " * 200], role="document")


def test_usage_and_cost():
    with EmbeddingServer("openai") as server:
        made = embedder(server, batch_size=2)
        server.faults.append("503")
        made.embed(TEXTS, role="document")
        used = made.usage({"total_tokens": 0.02})
        assert used == {
            "texts": 3, "requests": 2, "retries": 1, "prompt_tokens": 12, "total_tokens": 12, "cost": 0.24,
        }  # fmt: skip
        with pytest.raises(InputError, match="nothing was counted as 'tokens'"):
            made.usage({"tokens": 1.0})


def test_azures_former_path_has_its_version():
    with EmbeddingServer("azure", key="k-12345678") as server:
        server.dialect = type(server.dialect)(
            "/openai/deployments/any/embeddings", server.dialect.takes, ("input",), server.dialect.answer,
            server.dialect.refusal, key_header="api-key",
        )  # fmt: skip
        path = "/openai/deployments/any/embeddings?api-version=2024-10-21"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AZURE_KEY", "k-12345678")
            made = embedder(server, "azure", path=path, api_key_env="AZURE_KEY")
            assert made.embed(TEXTS, role="document").shape == (3, 64)


@pytest.mark.parametrize(
    ("options", "path", "says"),
    [
        ({"flavor": "openai"}, "$.model", "needs the name of a model"),
        ({"flavor": "gemini", "model": "m", "on_long": "raise"}, "$.on_long", "cannot raise"),
        ({"model": "m", "parameters": {"input": []}}, "$.parameters", "a field of every request"),
        ({"model": "m", "query_parameters": {"dimensions": 2}}, "$.query_parameters", "what dimensions sets"),
        ({"model": "m", "flavor": "tei", "parameters": {"truncate": True}}, "$.parameters", "on_long decides"),
    ],
)
def test_options_that_contradict_one_another(options, path, says):
    with pytest.raises(ConfigError, match=says) as caught:
        HttpEmbedder(url="http://localhost", **options)
    assert path in str(caught.value)


def test_identity_is_of_the_vectors():
    one = HttpEmbedder(url="http://one", flavor="vllm", model="m")
    assert one.identity == one.model_copy(update={"url": "http://two", "batch_size": 7}).identity
    for change in ({"model": "n"}, {"dimensions": 8}, {"query_prefix": "q: "}, {"flavor": "ollama"}):
        assert (
            one.identity
            != HttpEmbedder(**{"url": "http://one", "flavor": "vllm", "model": "m", **change}).identity
        )
    unnamed = HttpEmbedder(url="http://one", flavor="tei")
    assert unnamed.identity != HttpEmbedder(url="http://two", flavor="tei").identity


def test_it_can_be_awaited():
    with EmbeddingServer("tei") as server:
        made = embedder(server, "tei", model=None)
        assert isinstance(made, AsyncEmbedder)
        assert asyncio.run(made.aembed(TEXTS, role="query")).shape == (3, 64)


def test_a_pipeline_searches_with_it():
    with EmbeddingServer("openai") as server:
        documents = [Document(f"d{number}", text) for number, text in enumerate(TEXTS)]
        options = {"use": "faiss", "embedder": {"use": "http", "url": server.url, "model": "any"}}
        pipeline = Pipeline.build(documents, retrievers={"dense": options}, reranker=None)
        assert next(iter(pipeline.search("composted organic waste", k=2))).id == "d0"
