"""``hybridrank calibrate``, and what ``search`` says of relevance and answers."""

from __future__ import annotations

import json
import tomllib

import pytest
from judged import write_beir

from hybridrank import Pipeline
from hybridrank.collection import Collection

BOUND = ("--max-refused", 0.4, "--confidence", 0)


@pytest.fixture
def beir(tmp_path):
    return write_beir(tmp_path / "beir")


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "words.toml"
    path.write_text('[retrievers.bm25]\nuse = "bm25"\n')
    return path


@pytest.fixture
def col(run, beir, config, tmp_path):
    code, _, err = run("index", beir / "corpus.jsonl", "--into", tmp_path / "col", "--config", config)
    assert code == 0, err
    return tmp_path / "col"


def test_it_is_stored_with_the_collection(run, beir, col, config, tmp_path):
    recorded = tmp_path / "a.jsonl"
    code, out, err = run("calibrate", col, "--dataset", beir, "--recording", recorded, *BOUND)
    assert code == 0, err
    assert out.startswith("4 questions, ")
    assert "answered: refuses at most 0.4 of answerable questions on average" in out
    assert "warning: only " in err
    assert f"stored in {col}" in err
    stored = Collection.stored_config(col)["relevance"]
    assert (stored["max_refused"], len(stored["questions"])) == (0.4, 4)
    with Pipeline.open(col) as pipeline:
        assert pipeline.config.relevance.to_config() == stored
    # Adding with the same configuration goes on working, and the recording alone is enough.
    assert run("index", beir / "corpus.jsonl", "--into", col, "--config", config)[0] == 0
    code, out, _ = run("calibrate", col, "--recording", recorded, *BOUND, "--json")
    assert code == 0
    assert json.loads(out)["relevance"] == stored


def test_it_is_written_for_a_configuration(run, beir, config, tmp_path):
    code, out, err = run("calibrate", "--dataset", beir, "--config", config, "--recording", tmp_path / "a.jsonl")
    assert code == 0, err
    assert "takes 59 questions with answers, and there are 4" in err
    assert "nothing was stored: give a collection, or write a file with --toml" in err
    toml = tmp_path / "relevance.toml"
    code, _, err = run("calibrate", "--recording", tmp_path / "a.jsonl", "--toml", toml, *BOUND)
    assert code == 0, err
    assert tomllib.loads(toml.read_text())["relevance"]["use"] == "relevance"
    code, out, err = run("search", beir / "corpus.jsonl", "composting organic waste", "--config", toml, "--json")
    assert code == 0, err
    assert json.loads(out)["answered"] is True


def test_what_is_missing_is_said(run, col, tmp_path):
    for arguments, problem in (
        ((col,), "say which questions are judged: --dataset, or --topics and --qrels; or a --recording"),
        ((col, "--recording", tmp_path / "no.jsonl"), "cannot read the recording"),
        ((col, "--recording", "a.jsonl", "--reranker", "none"), "--reranker is for searching"),
    ):
        code, out, err = run("calibrate", *arguments)
        assert (code, out) == (2, "")
        assert problem in err


def test_a_search_says_whether_it_is_answered(run, col):
    code, out, _ = run("search", col, "How to process organic waste?")
    assert code == 0
    assert "relevance 0." in out
    assert "probably none" not in out
    code, out, _ = run("search", col, "Who won the world cup of waste paper football?", "--json")
    found = json.loads(out)
    assert (code, found["answered"]) == (3, False)
    assert all(0 < hit["relevance"] < 0.1 for hit in found["hits"])
    code, out, _ = run("search", col, "Who won the world cup of waste paper football?", "--explain")
    assert code == 3
    assert "probably none of these answers the question" in out
    assert "answered: no" in out
    code, out, _ = run("search", col, "How to process organic waste?", "zebra", "--json")
    assert code == 3  # one of them has no answer
    code, out, _ = run("search", col, "How to process organic waste?", "--reranker", "none", "--json")
    assert (code, json.loads(out)["answered"]) == (0, None)


def test_hits_of_low_relevance_are_left_out_on_request(run, col):
    asked = ("search", col, "How to process organic waste?", "--json")
    every = json.loads(run(*asked)[1])["hits"]
    code, out, _ = run(*asked, "--min-relevance", 0.2)
    kept = json.loads(out)["hits"]
    assert code == 0
    assert [hit["id"] for hit in kept] == [hit["id"] for hit in every if hit["relevance"] >= 0.2] != []
    assert len(kept) < len(every)
    code, _, err = run(*asked, "--min-relevance", 0.2, "--reranker", "none")
    assert code == 2
    assert "hybridrank calibrate" in err
