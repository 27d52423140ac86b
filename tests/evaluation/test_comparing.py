"""Comparing: paired over the same queries, corrected for how many are compared, with examples."""

from __future__ import annotations

import json

import pytest
from judged import QRELS, QUERIES, dataset
from support import SharedWords

from hybridrank.errors import InputError
from hybridrank.evaluation import compare, evaluate, holm, mean_interval, overlap, paired_test, rank_biased_overlap
from hybridrank.evaluation import record as record_one
from hybridrank.evaluation.recordings.recording import Recording


def record(pipeline, name, **options) -> Recording:
    return record_one(pipeline, dataset(**options), name=name)


@pytest.fixture
def three(pipeline):
    return [
        record(pipeline.replace(reranker=None), "fused"),
        record(pipeline, "reranked"),
        record(pipeline.replace(rerank_k=1), "shallow"),
    ]


def test_each_is_compared_with_the_baseline(three):
    found = compare(three, measures=["nDCG@10", "AP"])
    assert found.baseline == "fused"
    assert [(d.name, d.measure) for d in found.differences] == [
        ("reranked", "nDCG@10"), ("shallow", "nDCG@10"), ("reranked", "AP"), ("shallow", "AP"),
    ]  # fmt: skip
    base, other = (evaluate(r).per_query("nDCG@10") for r in three[:2])
    difference = found.difference("reranked")
    gains = {q: other[q] - base[q] for q in QUERIES}
    assert difference.mean == pytest.approx(sum(gains.values()) / 4)
    assert difference.p == paired_test(list(other.values()), list(base.values()))
    assert difference.interval == mean_interval(list(gains.values()))
    raised = holm([found.difference(name).p for name in ("reranked", "shallow")])
    assert [found.difference(name).adjusted_p for name in ("reranked", "shallow")] == raised
    assert difference.wins == sum(gain > 0 for gain in gains.values())
    assert difference.ties == sum(gain == 0 for gain in gains.values())
    assert difference.losses == sum(gain < 0 for gain in gains.values())
    assert [e.query_id for e in difference.gained] == sorted(
        (q for q in gains if gains[q] > 0), key=lambda q: -gains[q]
    )
    assert [e.query_id for e in difference.lost] == sorted((q for q in gains if gains[q] < 0), key=gains.get)
    assert all(e.query == QUERIES[e.query_id] for e in (*difference.gained, *difference.lost))


def test_ties_everywhere(three):
    same = found = compare(three, baseline="fused").difference("shallow")
    assert (same.wins, same.ties, same.losses, same.mean, same.p) == (0, 4, 0, 0.0, 1.0)
    assert same.interval == (0.0, 0.0)
    assert not found.significant()


def test_rankings_are_compared_whatever_is_relevant(three):
    found = compare(three, baseline="reranked", k=2)
    assert [(a.name, a.other) for a in found.agreements] == [("fused", "reranked"), ("shallow", "reranked")]
    orders = [list(r.rankings()["rerank" if "rerank" in r.kinds else "fusion"].values()) for r in three]
    pairs = list(zip(orders[1], orders[0], strict=True))
    assert found.agreements[0].overlap == pytest.approx(sum(overlap(a, b, k=2) for a, b in pairs) / 4)
    assert found.agreements[0].rbo == pytest.approx(sum(rank_biased_overlap(a, b) for a, b in pairs) / 4)


def test_one_query_has_no_statistics(three):
    found = compare(three, dataset=dataset().only(["q1"]))
    difference = found.difference("reranked")
    assert (difference.interval, difference.p, difference.adjusted_p) == (None, None, None)
    assert not difference.significant()
    assert sum("one query only" in warning for warning in found.warnings) == 1  # told once, not for each
    json.dumps(found.to_dict())


def test_only_common_queries_count(pipeline):
    some = record_one(pipeline, dataset().only(["q2", "q3"]), name="some")
    found = compare([record(pipeline, "all"), some])
    assert list(found.dataset.queries) == ["q2", "q3"]
    assert "compared on the 2 queries that all have, of 4" in found.warnings


@pytest.mark.parametrize(
    ("go", "message"),
    [
        (lambda p: compare([record(p, "a")]), "at least two recordings"),
        (lambda p: compare([record(p, "a"), record(p, "a")]), "two recordings are called 'a'"),
        (
            lambda p: compare([record(p, "a"), record(p, "b")], baseline="c"),
            r"no recording 'c' .*\(there are: a, b\)",
        ),
        (lambda p: compare([record(p, "a"), record(p, "b")], prices={"c": {}}), "a price for 'c', and no such"),
        (
            lambda p: compare([record(p, "a"), record(p, "b", qrels={**QRELS, "q2": {"plastic": 1}})]),
            "'a' and 'b' have different judgments of query 'q2'",
        ),
        (
            lambda p: compare(
                [record_one(p, dataset().only(["q1"]), name="a"), record_one(p, dataset().only(["q2"]), name="b")]
            ),
            "no query in common",
        ),
    ],
)
def test_what_cannot_be_compared(pipeline, go, message):
    with pytest.raises(InputError, match=message):
        go(pipeline)


def test_prices_are_by_pipeline(pipeline):
    both = [record(pipeline, "a"), record(pipeline.replace(reranker=SharedWords(), rerank_k=2), "b")]
    found = compare(both, prices={"a": {"pairs": 1.0}, "b": {"pairs": 1.0}})
    assert found.evaluation("b").cost == 2000.0 < found.evaluation("a").cost
    with pytest.raises(KeyError):
        found.evaluation("c")
    with pytest.raises(KeyError):
        found.difference("a")


def test_json_values(three):
    found = compare(three).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["statistics"]["seed"] == 0
