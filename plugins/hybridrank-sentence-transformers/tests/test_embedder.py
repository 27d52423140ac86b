"""The embedder against sentence-transformers itself, and against a forward pass pooled by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hybridrank_sentence_transformers import SentenceTransformerEmbedder
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from hybridrank.component import create, validate_vectors

TEXTS = ("Organic waste makes compost.", "", "  \n", "plastic " * 200, "nuclear safety", "廃棄物 \x00 naïve")


def pooled(path, text):
    tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
    with torch.no_grad():
        states = model(**tokenizer([text], truncation=True, max_length=64, return_tensors="pt")).last_hidden_state
    mean = states[0].mean(dim=0).numpy()
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize(("role", "prompt"), [("query", "query: "), ("document", "passage: ")])
def test_vectors_are_mean_pooled_states_of_the_prompted_text(embedding_model, role, prompt):
    vectors = SentenceTransformerEmbedder(model=str(embedding_model)).embed(TEXTS, role=role)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 32)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(vector, pooled(embedding_model, prompt + text), atol=1e-5)
    model = SentenceTransformer(str(embedding_model))
    encode = model.encode_query if role == "query" else model.encode_document
    np.testing.assert_allclose(vectors, encode(list(TEXTS), normalize_embeddings=True), atol=1e-6)


def test_prefixes_replace_the_models_prompts(embedding_model):
    embedder = SentenceTransformerEmbedder(model=str(embedding_model), query_prefix="", document_prefix="soil: ")
    np.testing.assert_allclose(
        embedder.embed(["compost"], role="query")[0], pooled(embedding_model, "compost"), atol=1e-5
    )
    np.testing.assert_allclose(
        embedder.embed(["compost"], role="document")[0], pooled(embedding_model, "soil: compost"), atol=1e-5
    )


def test_a_batch_gives_the_vectors_of_its_texts_alone(embedding_model):
    embedder = SentenceTransformerEmbedder(model=str(embedding_model), batch_size=2)
    together = embedder.embed(TEXTS, role="document")
    alone = np.concatenate([embedder.embed([text], role="document") for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert embedder.embed([], role="query").shape == (0, 32)


def test_thirty_two_threads_get_the_vectors_of_one(embedding_model):
    embedder = SentenceTransformerEmbedder(model=str(embedding_model), batch_size=2)
    with ThreadPoolExecutor(32) as pool:
        rows = list(pool.map(lambda turn: embedder.embed(TEXTS[turn % 6 :], role="document"), range(64)))
    expected = SentenceTransformerEmbedder(model=str(embedding_model)).embed(TEXTS, role="document")
    for turn, vectors in enumerate(rows):
        np.testing.assert_allclose(vectors, expected[turn % 6 :], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_vectors_are_float32_and_of_unit_length_in_every_dtype(embedding_model, dtype):
    embedder = SentenceTransformerEmbedder(model=str(embedding_model), dtype=dtype)
    vectors = validate_vectors(embedder.embed(TEXTS, role="document"), count=len(TEXTS), source="the embedder")
    exact = SentenceTransformerEmbedder(model=str(embedding_model)).embed(TEXTS, role="document")
    assert (vectors * exact).sum(axis=1).min() > 0.99


def test_configuration_round_trips(embedding_model):
    embedder = create("embedder", {"use": "sentence-transformers", "model": str(embedding_model), "batch_size": 7})
    assert isinstance(embedder, SentenceTransformerEmbedder)
    assert SentenceTransformerEmbedder.from_config(embedder.to_config()) == embedder


def test_the_identity_is_what_decides_the_vectors():
    one = SentenceTransformerEmbedder()
    same = SentenceTransformerEmbedder(model=one.model, device="cpu", batch_size=7, max_tokens=None)
    assert one.identity == same.identity
    others = [
        {"model": "some/other"},
        {"revision": "main"},
        {"dtype": "float16"},
        {"trust_remote_code": True},
        {"max_tokens": 64},
        {"query_prefix": ""},
        {"document_prefix": ""},
    ]
    assert len({one.identity, *(SentenceTransformerEmbedder(**options).identity for options in others)}) == 8
    assert set().union(*others) | {"device", "batch_size"} == set(SentenceTransformerEmbedder.model_fields)
