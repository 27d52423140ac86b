"""The order after each stage: what it was not shown stays behind, and what failed changes nothing."""

from __future__ import annotations

from hybridrank import Stage, Trace
from hybridrank.evaluation import rankings_by_stage
from hybridrank.evaluation.recordings.stage_rankings import fill_stages, stage_kinds


def stage(name, kind, ids, **options):
    return Stage(name, kind, 0.1, tuple(ids), tuple(float(-n) for n in range(len(ids))), **options)


def trace(*stages):
    return Trace("q", 10, 10, 2, 0.2, stages)


ARMS = (stage("bm25", "retrieve", "ab"), stage("dense", "retrieve", "cb"))
FUSED = stage("fusion", "fuse", "bac")


def test_candidates_that_a_stage_was_not_shown_stay_behind():
    orders = rankings_by_stage(trace(*ARMS, FUSED, stage("rerank", "rerank", "ab"), stage("mmr", "adjust", "ba")))
    assert orders == {
        "bm25": ("a", "b"),
        "dense": ("c", "b"),
        "fusion": ("b", "a", "c"),
        "rerank": ("a", "b", "c"),
        "mmr": ("b", "a", "c"),
    }


def test_a_failed_stage_leaves_the_order():
    failed = Stage("rerank", "rerank", 0.1, error="TimeoutError: late", received=2)
    orders = rankings_by_stage(trace(*ARMS, FUSED, failed, stage("mmr", "adjust", "ab")))
    assert orders["rerank"] == ("b", "a", "c")
    assert orders["mmr"] == ("a", "b", "c")


def test_ignored_documents_are_in_no_order():
    orders = rankings_by_stage(trace(*ARMS, FUSED, stage("rerank", "rerank", "ab")), ignored={"a"})
    assert orders == {"bm25": ("b",), "dense": ("c", "b"), "fusion": ("b", "c"), "rerank": ("b", "c")}


def test_a_document_stands_where_its_best_passage_does():
    arm = stage("bm25", "retrieve", ["x#2", "y#0", "x#0"])
    fused = stage("fusion", "fuse", ["y#0", "x#2"])
    parents = {"x#2": "x", "x#0": "x", "y#0": "y"}
    assert rankings_by_stage(trace(arm, fused), parents=parents) == {"bm25": ("x", "y"), "fusion": ("y", "x")}


def test_a_stage_that_one_search_did_not_come_to():
    empty = trace(stage("bm25", "retrieve", ""), stage("dense", "retrieve", ""), stage("fusion", "fuse", ""))
    kinds = stage_kinds([empty, trace(*ARMS, FUSED, stage("rerank", "rerank", "ab"))])
    assert list(kinds) == ["bm25", "dense", "fusion", "rerank"]
    assert fill_stages(rankings_by_stage(empty), kinds)["rerank"] == ()
    only_fused = trace(*ARMS, FUSED)
    assert fill_stages(rankings_by_stage(only_fused), kinds)["rerank"] == ("b", "a", "c")
