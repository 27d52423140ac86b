"""The commands record, replay and tune: what they write and print, exit statuses, and what they refuse."""

from __future__ import annotations

import json
import tomllib

import pytest
from judged import write_beir

from hybridrank.evaluation import Recording, load_beir


@pytest.fixture
def waste(tmp_path):
    return write_beir(tmp_path / "waste")


@pytest.fixture
def two_arms(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(
        'reranker = "none"\nfetch_k = 3\n[fusion]\nuse = "rrf"\nweights = { b = 4.0 }\n'
        '[retrievers.a]\nuse = "bm25"\n[retrievers.b]\nuse = "bm25"\nk1 = 2.0\nb = 0.0\n'
    )
    return path


@pytest.fixture
def recording(run, waste, two_arms, tmp_path):
    code, _, err = run(
        "record", "--dataset", waste, "--config", two_arms, "--deep", 7, "--to", tmp_path / "deep.jsonl"
    )
    assert (code, "recorded 4 searches" in err) == (0, True), err
    return tmp_path / "deep.jsonl"


def test_record_is_deep_and_goes_on(run, waste, two_arms, recording):
    made = Recording.load(recording)
    assert made.header.own["fetch_k"] == 3
    assert {search.trace.fetch_k for search in made.searches.values()} == {10}  # as many as results
    before = recording.read_bytes()
    code, _, err = run("record", "--dataset", waste, "--config", two_arms, "--deep", 7, "--to", recording)
    assert (code, f"going on with {recording}" in err, recording.read_bytes() == before) == (0, True, True)


def test_what_cannot_be_searched_costs_no_recording(run, waste, recording, tmp_path):
    before = recording.read_bytes()
    (tmp_path / "wrong.toml").write_text("fetch = 3\n")
    wrong = ["--config", tmp_path / "wrong.toml"]
    code, _, err = run("record", "--dataset", waste, *wrong, "--to", recording, "--no-resume")
    assert (code, "did you mean" in err) == (2, True), err
    assert recording.read_bytes() == before


def test_a_query_log_is_recorded(run, waste, two_arms, tmp_path):
    (tmp_path / "log.txt").write_text("nuclear waste\nsoil\nzebra\n")
    one = ["record", waste / "corpus.jsonl", "--log", tmp_path / "log.txt", "--config", two_arms]
    code, _, err = run(*one, "--to", tmp_path / "log.jsonl", "--queries", 2)
    assert code == 0, err
    assert len(Recording.load(tmp_path / "log.jsonl")) == 2
    code, _, err = run("tune", tmp_path / "log.jsonl")
    assert (code, "tune by the reranker's own scores (unsupervised)" in err) == (2, True)
    code, _, err = run("tune", tmp_path / "log.jsonl", "--unsupervised")
    assert (code, "there are no scores to agree with" in err) == (2, True)


def test_tune_prints_and_writes(run, recording, tmp_path):
    code, out, err = run("tune", recording, "--write", tmp_path / "tuned.toml", "--markdown", tmp_path / "r.md")
    assert code == 0, err
    assert out.startswith("Tuning deep on waste/test\n")
    assert "Keep the default" in out or "Use " in out
    assert set(tomllib.loads((tmp_path / "tuned.toml").read_text())["retrievers"]) <= {"a", "b"}
    assert f"wrote {tmp_path / 'tuned.toml'}" in err
    assert (tmp_path / "r.md").read_text().startswith("# Tuning deep on waste/test\n")
    code, out, _ = run("tune", recording, "--json", "--folds", 2, "--seed", 3, "--objective", "RR@10")
    found = json.loads(out)
    assert (found["objective"], found["held_out"]["folds"], found["statistics"]["seed"]) == ("RR@10", 2, 3)
    assert found["default"]["variant"]["fusion"] == {"use": "rrf", "k": 60, "weights": {"b": 4.0}}
    code, out, err = run("tune", recording, "--json", "--default", tmp_path / "tuned.toml")
    assert code == 0, err


def test_replay_compares_and_holds_to_bounds(run, recording, tmp_path):
    (tmp_path / "even.toml").write_text('fetch_k = 5\nreranker = "none"\n[fusion]\nuse = "rrf"\n')
    one = ["replay", recording, "--config", tmp_path / "even.toml"]
    code, out, err = run(*one)
    assert code == 0, err
    assert out.startswith("replayed: rrf 1 : 1 (k 5) of 5, not reranked\n")
    assert "of 4 queries have another first 10" in out
    assert "Differences from deep" in out
    code, out, err = run(*one, "--fail-below", "nDCG@10=0.99", "--max-drop", "RR@10=0.9", "--json")
    found = json.loads(out)
    assert code == 1
    assert [(b["kind"], b["measure"], b["kept"]) for b in found["bounds"]] == [
        ("fail-below", "nDCG@10", False),
        ("max-drop", "RR@10", True),
    ]
    assert "BROKEN: nDCG@10 is 0." in err
    assert found["variant"]["fetch_k"] == 5
    code, out, err = run("replay", recording, "--against", recording, "--fail-below", "nDCG@10=0.01")
    assert (code, "kept: nDCG@10 is" in err) == (0, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[retrievers.c]\nuse = "bm25"\n', "arm 'c' was not recorded with these options"),
        ('[retrievers.a]\nuse = "bm25"\nk1 = 9.0\n', "arm 'a' was not recorded with these options"),
        ('reranker = "cross-encoder"\n', "this reranker was not recorded"),
        ('fetch_k = 50\nreranker = "none"\n', "10 candidates here, and 50 are wanted: record deeper"),
        ('adjust = ["recency"]\nreranker = "none"\n', "adjust"),
        ("fetch_k = 0\n", "$.fetch_k"),
    ],
)
def test_what_was_not_recorded_cannot_be_replayed(run, recording, tmp_path, text, message):
    (tmp_path / "new.toml").write_text(text)
    code, _, err = run("replay", recording, "--config", tmp_path / "new.toml")
    assert (code, message in err) == (2, True), err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune", "none.jsonl"], "cannot read the recording"),
        (["tune", "{recording}", "--cost", "5"], "there are no prices"),
        (["tune", "{recording}", "--price", "x:tokens=5"], "--price takes no pipeline here"),
        (
            ["tune", "{recording}", "--p95", "0.0000001"],
            "nothing has a p95 of 1e-07 s or less: the least is p95 of",
        ),
        (["tune", "{recording}", "--objective", "nDGC@10"], "did you mean 'nDCG@10'"),
        (["replay", "{recording}", "--fail-below", "nDCG@10"], "--fail-below is as in nDCG@10=0.70"),
        (["replay", "{recording}", "--json", "--markdown", "x.md"], "not with --json"),
        (["record", "--log", "x.txt", "--to", "x.jsonl"], "say which collection or files"),
        (
            ["record", "--log", "x.txt", "--dataset", "{waste}", "--to", "x.jsonl"],
            "leave --dataset and its like out",
        ),
    ],
)
def test_what_is_refused(run, recording, waste, arguments, message):
    code, out, err = run(*(each.format(recording=recording, waste=waste) for each in arguments))
    assert (code, out) == (2, "")
    assert message in err


def test_the_dataset_is_whole(waste, recording):
    assert Recording.load(recording).dataset.digest == load_beir(waste).digest
