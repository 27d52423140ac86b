from __future__ import annotations

import json
import tomllib

import pytest
import tomli_w
from support import NgramEmbedder, SharedWords

from hybridrank.errors import ConfigError
from hybridrank.fusion import RRF
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank import CrossEncoder
from hybridrank.retrieval import BM25, Faiss
from hybridrank.types import Query, Ranking

TOML = """
fetch_k = 30
[retrievers.words]
use = "bm25"
k1 = 0.9
language = "none"
[retrievers.dense]
use = "faiss"
embedder = { use = "onnx", model = "BAAI/bge-small-en-v1.5" }
[fusion]
use = "rrf"
weights = { dense = 2.0 }
[reranker]
use = "cross-encoder"
model = "cross-encoder/ms-marco-MiniLM-L6-v2"
"""


def test_a_file_says_the_same_as_python(tmp_path):
    path = tmp_path / "hybridrank.toml"
    path.write_text(TOML)
    in_python = PipelineConfig(
        retrievers={"words": BM25(k1=0.9, language=None), "dense": Faiss()},
        fusion=RRF(weights={"dense": 2.0}),
        reranker=CrossEncoder(model="cross-encoder/ms-marco-MiniLM-L6-v2"),
        fetch_k=30,
    )
    assert PipelineConfig.load(path) == in_python
    assert PipelineConfig.load(str(path)) == in_python
    assert PipelineConfig.load(tomllib.loads(TOML)) == in_python


@pytest.mark.parametrize(
    "config", [PipelineConfig(), PipelineConfig(reranker=None), PipelineConfig.load(tomllib.loads(TOML))]
)
def test_a_configuration_round_trips(config):
    written = config.to_config()
    assert PipelineConfig.load(json.loads(json.dumps(written))) == config
    assert PipelineConfig.load(tomllib.loads(tomli_w.dumps(written))) == config


def test_the_defaults_are_the_designs():
    config = PipelineConfig()
    assert config.to_config()["retrievers"]["bm25"]["use"] == "bm25"
    assert config.to_config()["retrievers"]["dense"]["use"] == "faiss"
    assert config.fusion == RRF(k=5, weights={"dense": 2.0})
    assert PipelineConfig(retrievers={"words": "bm25"}).fusion == RRF(k=5)
    assert config.to_config()["reranker"]["use"] == "cross-encoder"


def test_what_one_arm_alone_finds_first_is_among_the_first_ten():
    config = PipelineConfig()
    scores = tuple(map(float, range(config.fetch_k, 0, -1)))
    words, vectors = (Ranking(tuple(f"{arm}{n:02}" for n in range(config.fetch_k)), scores) for arm in "wv")
    first = config.fusion.fuse({"bm25": words, "dense": vectors}, query=Query("soil")).ids[:10]
    assert {"w00", "v00"} <= set(first)


@pytest.mark.parametrize("source", [None, {"fetch_k": 30}, PipelineConfig(fetch_k=30)])
def test_options_go_before_what_a_source_says(source):
    config = PipelineConfig.load(source, retrievers={"words": "bm25"}, rerank_k=5)
    assert list(config.retrievers) == ["words"]
    assert config.fusion == RRF(k=5)  # the default for these retrievers, not for the ones replaced
    assert config.rerank_k == 5
    assert config.fetch_k == (50 if source is None else 30)


def test_no_reranker_is_called_none_in_a_file():
    assert PipelineConfig(reranker="none").reranker is None
    assert PipelineConfig(reranker=None).to_config()["reranker"] == "none"


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"fetchk": 3}, "$.fetchk", 'did you mean "fetch_k"?'),
        ({"fetch_k": 0}, "$.fetch_k", "whole number of at least 1"),
        ({"on_rerank_error": "ignore"}, "$.on_rerank_error", "'fused' or 'raise'"),
        ({"retrievers": {}}, "$.retrievers", "at least 1"),
        ({"retrievers": {"fusion": "bm25"}}, "$.retrievers", "cannot be called 'fusion'"),
        ({"retrievers": {"": "bm25"}}, "$.retrievers", "give it a name"),
        ({"retrievers": {"dense": {"use": "fais"}}}, "$.retrievers.dense", 'did you mean "faiss"?'),
        ({"retrievers": {"dense": {"use": "faiss", "embedder": {"use": "onnx", "modle": 1}}}},
         "$.retrievers.dense.embedder.modle", 'did you mean "model"?'),
        ({"reranker": {"use": "cross-encoder", "modle": "x"}}, "$.reranker.modle", 'did you mean "model"?'),
        ({"fusion": {"use": "rrf", "weights": {"dens": 2}}}, "$.fusion.weights", "no retriever is called 'dens'"),
        ({"fusion": SharedWords()}, "$.fusion", "an object with fuse()"),
    ],
)  # fmt: skip
def test_a_wrong_option_says_where_and_what_to_do(options, path, said):
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.load(options)
    assert caught.value.path == path
    assert said in str(caught.value)


def test_an_unreadable_file_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.toml"):
        PipelineConfig.load(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("fetch_k = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        PipelineConfig.load(tmp_path / "bad.toml")


def test_objects_that_are_no_components_have_no_configuration():
    config = PipelineConfig(reranker=SharedWords())
    with pytest.raises(ConfigError, match="SharedWords is not a registered component"):
        config.to_config()
    nested = PipelineConfig(retrievers={"dense": Faiss(embedder=NgramEmbedder())})
    assert nested.to_config()["retrievers"]["dense"]["embedder"] == {"use": "ngram", "dim": 64}
