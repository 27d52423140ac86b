"""What a mistake is answered with: its place, what is allowed, what was given; in no library's own words."""

from __future__ import annotations

import re

import numpy as np
import pytest
from support import TOPICS, Broken, SharedWords

from hybridrank import Candidates, Document, Pipeline, Query
from hybridrank.adjust import Recency
from hybridrank.component.validation import validate_scores
from hybridrank.errors import BackendResponseError, ConfigError, InputError
from hybridrank.evaluation import QueryLog, compare, record
from hybridrank.fusion import RRF
from hybridrank.pipeline.config import PipelineConfig

FOREIGN = re.compile(
    r"constrained|function-|nput should|value_error|pydantic|validation|tuple should|dictionary|__init__"
)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"blend": 2}, r'^\$\.blend: give the weight of the fused order, from 0 .* to 1 .*"confidence".*, not 2$'),
        ({"blend": "none"}, r"^\$\.blend: .*from 0 \(the reranker alone\).*not 'none'"),
        ({"blend": float("nan")}, r"^\$\.blend: .*not nan"),
        (
            {"blend": {"weight_if_confident": 2}},
            r"^\$\.blend\.weight_if_confident: must be less than or equal to 1, not 2",
        ),
        ({"blend": {"score_range": [1]}}, r"^\$\.blend\.score_range\[1\]: the list is too short"),
        ({"stop": "none"}, r'^\$\.stop: give "early-stopping".*not \'none\''),
        ({"adjust": "mmr"}, r"^\$\.adjust: must be a list, as in \['mmr'\], not 'mmr'"),
        ({"adjust": {"use": "mmr"}}, r"^\$\.adjust: must be a list, as in \[\{'use': 'mmr'\}\]"),
        (
            {"adjust": Recency(field="date", half_life=7)},
            r"^\$\.adjust: must be a list, as in \[Recency\(…\)\], not one adjuster",
        ),
        ({"adjust": [3]}, r"^\$\.adjust\[0\]: 3 is no adjuster"),
        ({"indexed_fields": "year"}, r"^\$\.indexed_fields: must be a list, as in \['year'\]"),
        ({"retrievers": "bm25"}, r"^\$\.retrievers: must be a table, not 'bm25'"),
        ({"retrievers": {}}, r"^\$\.retrievers: must have at least 1 item, not 0"),
        ({"retrievers": {3: "bm25"}}, r"^\$\.retrievers\[3\]: must be a string, not 3"),
        ({"retrievers": {"a": {"use": "bm25", "k1": "x"}}}, r"^\$\.retrievers\.a\.k1: must be a number, not 'x'"),
        ({"fetch_k": "5"}, r"^\$\.fetch_k: must be a whole number of at least 1, not '5'"),
        ({"fetch_k": True}, r"^\$\.fetch_k: .*not True"),
        ({"rerank_k": 2.0}, r"^\$\.rerank_k: .*not 2\.0"),
        ({"fusion": {"use": "rrf", "weights": [1]}}, r"^\$\.fusion\.weights: must be a table"),
        ({"fusion": RRF}, r"^\$\.fusion: .*RRF.* is no fusion"),
        ({"splitter": "x"}, r'^\$\.splitter: no splitter is registered as "x"'),
        (
            {"reranker": {"use": "cascade", "stages": ["cross-encoder"], "keep": 5}},
            r"stages: must have at least 2 items",
        ),
        ({"reranker": {"use": "fallback", "rerankers": "cross-encoder"}}, r"rerankers: must be a list, as in \["),
        ({"rerankr": "cohere"}, r'did you mean "reranker"\?'),
    ],
)
def test_a_wrong_option_is_told_in_plain_words(options, said):
    with pytest.raises(ConfigError, match=said) as refused:
        PipelineConfig(**options)
    assert not FOREIGN.search(str(refused.value))


def test_a_pipeline_takes_its_options_by_name():
    with pytest.raises(ConfigError, match="by name"):
        PipelineConfig({"fetch_k": 3})
    for source in (3, ["fetch_k"], b"x.toml"):
        with pytest.raises(ConfigError, match="give a TOML file's path, a mapping of options or a PipelineConfig"):
            PipelineConfig.load(source)


BATCH = [Candidates(Query("waste"), TOPICS[:3])]


@pytest.mark.parametrize("flat", [[0.1, 0.2, 0.3], (1, 2), [np.float32(0.5)], [0.5]])
def test_a_flat_list_of_scores_is_called_so(flat):
    with pytest.raises(
        BackendResponseError, match=rf"flat list of {len(flat)} scores: it is given a batch, .*\[\[0.3"
    ):
        validate_scores(flat, BATCH, source="the reranker")


def test_a_search_says_so_too():
    pipeline = Pipeline.build(TOPICS, retrievers={"bm25": "bm25"}, reranker=Broken([0.1] * 5))
    assert "flat list of 5 scores" in pipeline.search("waste").degraded["rerank"]


def test_importing_what_lacks_a_field(run, tmp_path, words_only):
    for line, lacking in (('{"id": "a"}', "'text'"), ('{"text": "a"}', "'id'")):
        (tmp_path / "x.jsonl").write_text(line)
        code, _, err = run("import", tmp_path / "x.jsonl", "--into", tmp_path / "col", "--config", words_only)
        assert code == 2
        assert f"it has no {lacking}" in err
        assert "__init__" not in err


def test_comparing_without_judgments_says_what_would_help():
    pipeline = Pipeline.build(TOPICS, retrievers={"bm25": "bm25"}, reranker=SharedWords())
    log = QueryLog.of(["soil", "waste"])
    made = [record(pipeline, log, name="a"), record(pipeline.replace(reranker=None), log, name="b")]
    with pytest.raises(InputError, match=r"no judgments.*hybridrank judge.*--unsupervised.*diff"):
        compare(made)


# Naming the default


@pytest.mark.parametrize("named", ["rrf", {"use": "rrf"}])
def test_naming_the_default_gives_the_default(arms, named):
    default = PipelineConfig(retrievers=arms)
    assert PipelineConfig(retrievers=arms, fusion=named) == default
    assert (
        PipelineConfig.load({"fusion": named}).fusion
        == PipelineConfig().fusion
        == RRF(k=5, weights={"dense": 2.0})
    )
    assert PipelineConfig(retrievers={"bm25": "bm25"}, fusion=named).fusion == RRF(k=5)
    other = PipelineConfig.load(PipelineConfig(fusion=named), retrievers={"a": "bm25", "b": "bm25"})
    assert other.fusion == RRF(k=5)  # it follows the arms, as what is left out does
    docs = [Document(f"d{n}", f"worms {n} soil {n % 3}") for n in range(9)]
    built = [
        Pipeline.build(docs, retrievers=arms, reranker=None, **o).search("soil 2") for o in ({}, {"fusion": named})
    ]
    assert built[0].to_dict()["hits"] == built[1].to_dict()["hits"]


def test_naming_every_default_gives_the_default():
    named = PipelineConfig(
        retrievers={"bm25": "bm25", "dense": "faiss"},
        fusion="rrf",
        reranker="cross-encoder",
        blend="confidence",
        adjust=[],
    )
    assert named == PipelineConfig()
    assert PipelineConfig.load(named.to_config()) == named


def test_an_option_of_the_fusion_or_an_object_is_taken_as_it_is():
    assert PipelineConfig(fusion={"use": "rrf", "k": 60}).fusion == RRF() == PipelineConfig(fusion=RRF()).fusion
    stored = PipelineConfig(fusion=RRF()).to_config()
    assert stored["fusion"] == {
        "use": "rrf",
        "k": 60,
        "weights": {},
    }  # whole, so that a stored one stays what it was
    assert PipelineConfig.load(stored).fusion == RRF()


def test_numpy_numbers_are_numbers():
    config = PipelineConfig(fetch_k=np.int64(7), blend=np.float32(0.5))
    assert (type(config.fetch_k), config.fetch_k, config.blend) == (int, 7, 0.5)
    assert PipelineConfig.load(config.to_config()) == config
