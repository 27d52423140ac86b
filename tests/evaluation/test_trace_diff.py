"""What differs between two searches for one query."""

from __future__ import annotations

import json

import pytest
from judged import QUERIES

from hybridrank import Stage, Trace
from hybridrank.errors import InputError
from hybridrank.evaluation import Variant, diff, overlap, rank_biased_overlap, replay
from hybridrank.evaluation.comparison.trace_diff import Move
from hybridrank.fusion import RRF


def found(*ids, query="soil", **settings):
    stage = Stage("fusion", "fuse", 0.0, ids, tuple(float(-n) for n in range(len(ids))))
    return Trace(query, 3, settings.get("fetch_k", 5), 5, 0.0, (stage,))


def test_what_entered_left_and_moved():
    one = diff(found("a", "b", "c", "d"), found("b", "a", "d", "e", fetch_k=4), k=3)
    assert one.entered == (Move("d", 4, 3),)
    assert one.left == (Move("c", 3, None),)
    assert one.moved == (Move("b", 2, 1), Move("a", 1, 2))
    assert one.overlap == overlap("abcd", "bade", k=3)
    assert one.rbo == rank_biased_overlap("abcd", "bade")
    assert one.settings == {"fetch_k": (5, 4)}
    assert (one.stage, one.same) == ("fusion", False)
    assert json.loads(json.dumps(one.to_dict()))["left"] == [{"doc_id": "c", "before": 3, "after": None}]


def test_the_same_twice(pipeline):
    trace = pipeline.search("nuclear waste").trace
    same = diff(trace, trace)
    assert (same.same, same.stage, same.settings, same.rbo, same.overlap) == (True, None, {}, 1.0, 1.0)


def test_the_stage_at_which_two_part(pipeline):
    trace = pipeline.search(QUERIES["q1"]).trace
    variant = Variant.of(pipeline.config, fusion=RRF(weights={"bm25": 9.0}))
    assert diff(trace, replay(trace, variant)).stage == "fusion"
    blended = diff(trace, replay(trace, Variant.of(pipeline.config, blend=1.0)))
    assert blended.stage == "blend"
    assert blended.settings["blend"] == (None, 1.0)
    unranked = diff(trace, replay(trace, Variant.of(pipeline.config, rerank_k=0)))
    assert unranked.stage == "rerank"


def test_different_queries_do_not_compare():
    with pytest.raises(InputError, match="different queries: 'soil' and 'air'"):
        diff(found("a"), found("a", query="air"))


def test_nothing_found():
    assert diff(found(), found()).same
    assert diff(found(), found("a")).entered == (Move("a", None, 1),)
