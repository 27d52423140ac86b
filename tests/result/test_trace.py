from __future__ import annotations

import json

import pytest
from support import Broken

from hybridrank import Ranking, Stage, Trace
from hybridrank.errors import BackendUnavailableError, InputError

QUESTION = "How to process organic waste?"


def test_a_trace_round_trips_through_json(pipeline):
    trace = pipeline.search(QUESTION, k=3).trace
    again = Trace.from_json(trace.to_json())
    assert again == trace
    assert Trace.from_json(trace.to_json(indent=2)) == trace
    assert again.stage("bm25").ranking == Ranking(trace.stage("bm25").ids, trace.stage("bm25").scores)
    assert json.loads(trace.to_json())["k"] == 3


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"query": 3}'])
def test_what_is_no_trace_is_refused(text):
    with pytest.raises(InputError, match="not a trace"):
        Trace.from_json(text)


def test_a_trace_says_how_each_stage_went(pipeline):
    trace = pipeline.search(QUESTION, k=3).trace
    assert [(s.name, s.kind) for s in trace.stages] == [
        ("bm25", "retrieve"),
        ("dense", "retrieve"),
        ("fusion", "fuse"),
        ("rerank", "rerank"),
    ]
    assert all(0 <= stage.seconds <= trace.seconds for stage in trace.stages)
    fusion, rerank = trace.stage("fusion"), trace.stage("rerank")
    assert fusion.received == len(set(trace.stage("bm25").ids) | set(trace.stage("dense").ids))
    assert rerank.details == {"pairs": rerank.received}
    assert (trace.k, trace.fetch_k, trace.rerank_k, trace.query) == (3, 50, 20, QUESTION)
    with pytest.raises(KeyError):
        trace.stage("absent")


def test_a_documents_path_is_its_rank_and_score_at_every_stage(pipeline):
    result = pipeline.search(QUESTION, k=3)
    top = result.hits[0]
    path = result.trace.path(top.document.id)
    assert path["rerank"] == (1, top.score)
    for name, (rank, score) in path.items():
        stage = result.trace.stage(name)
        assert stage.ids[rank - 1] == top.document.id
        assert stage.scores[rank - 1] == score
    assert result.trace.path("absent") == {}


def test_explain_is_a_table_of_every_hit_at_every_stage(pipeline):
    result = pipeline.search(QUESTION, k=4)
    table = result.explain()
    for hit in result.hits:
        (row,) = [line for line in table.splitlines() if hit.document.id in line]
        for rank, score in result.trace.path(hit.document.id).values():
            assert f"{rank} ({score:.3g})" in row
    for name in ("bm25", "dense", "fusion", "rerank"):
        assert name in table
    assert "only dense found it" in pipeline.search("xylophones").explain()
    assert all(len(line) <= 120 for line in result.explain(width=120).splitlines())


def test_explain_says_what_the_reranker_moved(pipeline):
    result = pipeline.replace(rerank_k=3).search(QUESTION, k=5)
    fused, reranked = result.trace.stage("fusion").ids, result.trace.stage("rerank").ids
    assert list(fused[:3]) != list(reranked), "this question was chosen because the reranker moves something"
    table = " ".join(result.explain(width=200).split())
    assert "rerank raised it by" in table
    assert "not shown to the reranker" in table


def test_explain_shows_a_failure_and_takes_text_as_it_is(pipeline):
    failed = pipeline.replace(reranker=Broken(BackendUnavailableError("[bold]down[/bold]"))).search("soil [red]")
    table = failed.explain()
    assert "FAILED: BackendUnavailableError: [bold]down[/bold]" in table
    assert "'soil [red]'" in table
    assert "not reranked" in table


def test_a_result_as_json_values(pipeline):
    result = pipeline.search(QUESTION, k=2)
    again = json.loads(json.dumps(result.to_dict()))
    assert [hit["id"] for hit in again["hits"]] == [hit.document.id for hit in result.hits]
    assert again["hits"][0]["stages"]["rerank"]["rank"] == 1
    assert again["degraded"] == {}
    assert again["query"] == QUESTION


def test_a_failed_stage_is_what_degraded_tells():
    trace = Trace("q", 1, 1, 1, 0.0, (Stage("a", "retrieve", 0.0), Stage("b", "retrieve", 0.0, error="E: gone")))
    assert trace.degraded == {"b": "E: gone"}


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        ({"version": 0}, "version is at least 1, not 0"),
        ({"version": 10**400}, "newer version"),
        (
            {"stages": [{"name": "bm25", "kind": "retrieve", "seconds": 0.0, "ids": ["a"]}]},
            "stage 'bm25' has 1 ids and 0 scores",
        ),
    ],
)
def test_a_trace_that_cannot_be_is_refused(trace, message):
    sound = {"query": "q", "k": 1, "fetch_k": 1, "rerank_k": 1, "seconds": 0.0, "stages": []}
    with pytest.raises(InputError, match=message):
        Trace.from_json(json.dumps({**sound, **trace}))


@pytest.mark.parametrize("field", ["seconds", "start", "scores"])
@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_numbers_of_a_trace_are_finite(field, number):
    stage = Stage("bm25", "retrieve", 0.5, ("a",), (0.25,), start=0.125)
    text = Trace("q", 1, 1, 1, 1.0, (stage,), version=2).to_json()
    value = {"seconds": '"seconds":0.5', "start": '"start":0.125', "scores": '"scores":[0.25]'}[field]
    wrong = text.replace(value, value.replace("0.5", number).replace("0.125", number).replace("0.25", number))
    assert wrong != text
    with pytest.raises(InputError, match="must be finite"):
        Trace.from_json(wrong)
