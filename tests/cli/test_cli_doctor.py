"""``hybridrank doctor``: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json

import pytest
from judged import QUERIES, dataset, write_beir
from support import TOPICS

from hybridrank import Pipeline
from hybridrank.evaluation import record


@pytest.fixture
def made(tmp_path, words_only):
    pipeline = Pipeline.build(TOPICS, config=words_only)
    record(pipeline.replace(fetch_k=2), dataset(), path=tmp_path / "run.jsonl", k=2)
    record(pipeline, dataset(), path=tmp_path / "deep.jsonl", k=2)
    return tmp_path / "run.jsonl"


def test_it_prints_and_writes(run, made, tmp_path):
    code, out, err = run(
        "doctor", made, "-k", 2, "--full", "--queries-out", tmp_path / "q.jsonl",
        "--markdown", tmp_path / "r.md", "--html", tmp_path / "r.html",
    )  # fmt: skip
    assert code == 0, err
    assert out.startswith("Diagnosis of run on waste\n")
    assert "Fates of the relevant documents" in out
    assert "missed: ranks by stage" in out
    lines = [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    assert {line["query_id"] for line in lines} == set(QUERIES)
    assert [line["places_taken"] for line in lines] == sorted(line["places_taken"] for line in lines)
    (lost,) = next(line for line in lines if line["query_id"] == "q4")["lost"]
    assert (lost["document"], lost["fate"], lost["ranks"]) == ("industry", "missed", {})
    assert (tmp_path / "r.md").read_text().startswith("# Diagnosis of run on waste\n")
    assert "Diagnosis of run on waste" in (tmp_path / "r.html").read_text()
    assert f"wrote {tmp_path / 'q.jsonl'} (4 lines)" in err
    short = run("doctor", made, "-k", 2)[1]
    assert "ranks by stage" not in short


def test_a_deeper_recording_and_json(run, made, tmp_path):
    code, out, err = run("doctor", made, "-k", 1, "--deeper", tmp_path / "deep.jsonl", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["fetch_k"], found["deeper_fetch_k"]) == (2, 50)
    assert found["queries"] == len(found["by_query"]) == 4


def test_other_judgments(run, made, tmp_path):
    folder = write_beir(tmp_path / "other", queries={"q2": QUERIES["q2"]}, qrels={"q2": {"nuclear": 1}})
    (folder / "qrels" / "test.synthetic.json").write_text('{"synthetic": "a chat model"}')
    code, out, err = run("doctor", made, "--dataset", folder)
    assert code == 0, err
    assert "SYNTHETIC JUDGMENTS, made by a chat model" in " ".join(out.split())
    assert "one query only" in out
    code, out, err = run("doctor", made, "--queries", 3, "--json")
    assert code == 0, err
    assert json.loads(out)["queries"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jsonl"], "cannot read the recording 'nowhere.jsonl'"),
        (["{made}", "--deeper", "{made}"], "which is no deeper than the 2 of 'run'"),
        (["{made}", "--grade", "7"], "no document of waste has the grade 7 or more"),
        (["{made}", "--topics", "x"], "--topics and --qrels go together"),
        (["{made}", "--queries-out", "{made}/x"], "cannot write"),
    ],
)
def test_what_is_refused(run, made, arguments, message):
    code, out, err = run("doctor", *(each.format(made=made) for each in arguments))
    assert (code, out) == (2, "")
    assert message in err
