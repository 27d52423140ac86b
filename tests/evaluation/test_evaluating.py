"""An evaluation: each stage's measures, latencies of single searches, what was used and what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from judged import QRELS, dataset
from support import TOPICS, Broken, SharedWords

from hybridrank import Pipeline
from hybridrank.errors import BackendUnavailableError, InputError
from hybridrank.evaluation import Evaluator, Latency, evaluate, record


def test_every_stage_is_measured(pipeline):
    made = record(pipeline, dataset())
    found = evaluate(made)
    assert list(found.kinds) == ["bm25", "dense", "fusion", "rerank"]
    assert found.result == "rerank"
    assert found.measures == ("nDCG@10", "RR@10", "AP", "Success@10", "R@50")
    measuring = Evaluator(QRELS, ["nDCG@10", "R@50"])
    for stage in ("bm25", "dense", "fusion"):
        rankings = {query_id: search.trace.stage(stage).ids for query_id, search in made.searches.items()}
        assert found.values[stage]["nDCG@10"] == measuring.per_query(rankings)["nDCG@10"]
        assert found.mean("R@50", stage=stage) == measuring.means(rankings)["R@50"]
    assert found.mean("nDCG@10") == sum(found.per_query("nDCG@10").values()) / 4
    assert found.interval("nDCG@10") is not None


def test_a_shallow_reranker_keeps_the_rest(pipeline):
    """What it was not shown stays behind, and what retrieval missed is nowhere."""
    deep, shallow = (evaluate(record(pipeline.replace(rerank_k=k), dataset())) for k in (7, 1))
    assert shallow.mean("R@50") == deep.mean("R@50")
    assert shallow.values["rerank"]["nDCG@10"] == shallow.values["fusion"]["nDCG@10"]  # one document has one order
    nothing = Pipeline.build(TOPICS, retrievers={"bm25": "bm25"}, reranker=SharedWords())
    assert evaluate(record(nothing, dataset())).per_query("nDCG@10")["q4"] == 0.0  # BM25 finds no zebra


def test_what_is_ignored_is_in_no_ranking(pipeline):
    with_all = evaluate(record(pipeline, dataset()))
    aside = evaluate(record(pipeline, dataset(ignored={"q2": frozenset({"nuclear"})})))
    assert with_all.per_query("RR@10")["q2"] == 1.0
    assert aside.per_query("RR@10")["q2"] == 0.0


def test_latencies_are_of_single_searches(pipeline):
    made = record(pipeline, dataset())
    found = evaluate(made)
    seconds = sorted(s.trace.seconds for q, s in made.searches.items() if q != "q1")  # the first loads models
    assert found.latencies["search"] == Latency(3, seconds[1], seconds[2], seconds[2])
    assert set(found.latencies) == {"search", "bm25", "dense", "fusion", "rerank"}
    assert any("latencies are of 3 searches" in warning for warning in found.warnings)
    batched = evaluate(record(pipeline, dataset(), batch=4))
    assert batched.latencies == {}
    assert any("searched for in batches" in warning for warning in batched.warnings)


def test_percentiles_are_times_that_were_taken():
    assert Latency.of([float(n) for n in range(1, 101)]) == Latency(100, 50.0, 95.0, 99.0)
    assert Latency.of([0.5]) == Latency(1, 0.5, 0.5, 0.5)


def test_usage_and_cost(pipeline):
    made = record(pipeline, dataset())
    pairs = sum(len(search.trace.stage("rerank").ids) for search in made.searches.values())
    found = evaluate(made, prices={"pairs": 0.01})
    assert found.usage["documents"] == found.usage["pairs"] == pairs
    assert found.cost == pytest.approx(0.01 * pairs / 4 * 1000)
    assert evaluate(made).cost is None
    with pytest.raises(InputError, match="nothing was counted as 'search_units'"):
        evaluate(made, prices={"search_units": 0.002})


def test_degraded_searches_are_told(pipeline):
    broken = pipeline.replace(reranker=Broken(BackendUnavailableError("down")))
    found = evaluate(record(broken, dataset()))
    assert found.degraded == 4
    assert any("4 searches were degraded, such as that for 'q1' (rerank: BackendUnav" in w for w in found.warnings)
    assert found.values["rerank"]["nDCG@10"] == found.values["fusion"]["nDCG@10"]


def test_another_dataset_chooses_and_judges(pipeline):
    made = record(pipeline, dataset())
    one = evaluate(made, dataset=dataset().only(["q2"]))
    assert list(one.queries) == ["q2"]
    assert one.interval("AP") is None
    assert any("one query only" in warning for warning in one.warnings)
    stricter = evaluate(made, dataset=dataset(qrels={**QRELS, "q2": {"plastic": 1}}))
    assert stricter.per_query("AP")["q2"] < 1


def test_json_values(pipeline):
    import json

    found = evaluate(record(pipeline, dataset()), measures=["P@1", "AP(rel=2)"]).to_dict()
    assert json.loads(json.dumps(found)) == found
    measured = found["stages"]["rerank"]["measures"]["P@1"]
    assert measured["mean"] == sum(measured["queries"].values()) / 4
    assert found["interval"]["seed"] == 0


def test_a_cache_is_told(pipeline):
    made = record(pipeline, dataset())
    searches = {}
    for query_id, search in made.searches.items():
        stages = [replace(s, details={"cache_hits": 3}) if s.name == "rerank" else s for s in search.trace.stages]
        searches[query_id] = replace(search, trace=replace(search.trace, stages=tuple(stages)))
    told = evaluate(replace(made, searches=searches)).warnings
    assert any("3 of 3 searches found scores in a cache: their latencies are too low" in w for w in told)
