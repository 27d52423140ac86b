"""Reuse: what was scored once is not scored again, and the trace is what the pipeline would have given alone."""

from __future__ import annotations

import pytest
from judged import QUERIES, dataset
from support import TOPICS, SharedWords

from hybridrank import Pipeline, Scores
from hybridrank.errors import InputError
from hybridrank.evaluation import Reuse, build_all, compare, evaluate, record, record_all
from hybridrank.fusion import RRF
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank.early_stopping import EarlyStopping
from hybridrank.retrieval import BM25


class Counting(SharedWords):
    """Says that it is pointwise, and counts characters; or that it is not."""

    def __init__(self, pointwise=True, identity="counting"):
        super().__init__()
        self.pointwise = pointwise
        self.identity = identity

    def score(self, batch):
        answers = super().score(batch)
        return [
            Scores(scores, details={"pairs": len(c), "characters": sum(len(d.content) for d in c.documents)})
            for scores, c in zip(answers, batch, strict=True)
        ]


def plain(recording):
    """Everything in the traces but the times and what was counted."""
    return {
        query_id: [(s.name, s.kind, s.ids, s.scores, s.received, s.error) for s in search.trace.stages]
        for query_id, search in recording.searches.items()
    }


@pytest.mark.parametrize("pointwise", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {"rerank_k": 2},
        {"fusion": RRF(weights={"dense": 3.0})},
        {"fusion": RRF(k=5), "rerank_k": 3},
        {"reranker": None},
        {"fetch_k": 12},
        {"blend": 0.5},
        {"blend": "confidence"},
    ],
    ids=str,
)
def test_what_is_shared_changes_nothing(pipeline, changes, pointwise):
    reranker = Counting(pointwise)
    base = pipeline.replace(reranker=reranker)
    other = base.replace(**changes)
    alone = record(other, dataset())
    asked = sum(map(len, reranker.seen))
    reranker.seen.clear()
    _, shared = record_all({"base": base, "other": other}, dataset())
    again = sum(map(len, reranker.seen))
    assert plain(shared) == plain(alone)
    counted, counted_alone = evaluate(shared).usage, evaluate(alone).usage
    assert counted["documents"] == counted_alone["documents"]
    if "rerank_k" not in changes:  # all that was scored is taken over, and with it all that was counted
        assert counted.get("pairs") == pytest.approx(counted_alone.get("pairs"))
        assert counted.get("characters") == pytest.approx(counted_alone.get("characters"))
    if pointwise:
        base_only = sum(len(s.trace.stage("rerank").ids) for s in record(base, dataset()).searches.values())
        assert again <= base_only + asked
        if "fetch_k" not in changes:
            assert again == base_only  # nothing was asked for twice


@pytest.mark.parametrize("stopped_first", [True, False])
def test_reranking_that_stops_shares_what_it_came_to(pipeline, stopped_first):
    whole = pipeline.replace(reranker=Counting())
    stops = whole.replace(stop=EarlyStopping(patience=1, step=1))
    alone = record(stops, dataset(), k=2)
    assert any("stopped" in search.trace.stage("rerank").details for search in alone.searches.values())
    whole.config.reranker.seen.clear()
    pipelines = {"stops": stops, "whole": whole} if stopped_first else {"whole": whole, "stops": stops}
    shared = {recording.name: recording for recording in record_all(pipelines, dataset(), k=2)}
    assert plain(shared["stops"]) == plain(alone)
    pairs = sum(len(search.trace.stage("rerank").ids) for search in shared["whole"].searches.values())
    assert sum(map(len, whole.config.reranker.seen)) == pairs  # each once


def test_arms_are_asked_once(arms):
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=None)
    first, second = record_all({"a": pipeline, "b": pipeline.replace(fusion=RRF(k=3))}, dataset())
    for query_id, search in second.searches.items():
        for arm in ("bm25", "dense"):
            stage, source = search.trace.stage(arm), first.searches[query_id].trace.stage(arm)
            assert stage.seconds == source.seconds  # the very ones
            assert stage.details == {**source.details, "shared": len(source.ids)}
        assert search.trace.seconds >= sum(s.seconds for s in search.trace.stages if s.kind != "retrieve")
    assert any("reuse stages or scores" in warning for warning in evaluate(second).warnings)


def test_times_are_those_of_where_it_was_made(pipeline):
    reranker = Counting()
    base = pipeline.replace(reranker=reranker)
    whole, half = record_all({"whole": base, "half": base.replace(rerank_k=2)}, dataset())
    for query_id, search in half.searches.items():
        made = whole.searches[query_id].trace.stage("rerank")
        taken = search.trace.stage("rerank")
        if len(made.ids) > 2:
            assert taken.details["shared"] == 2
            assert "shared_seconds" not in taken.details
            chars = whole.searches[query_id].chars
            size = {d: len(QUERIES[query_id]) + chars[d] for d in made.ids}
            share = made.seconds * sum(size[d] for d in taken.ids) / sum(size.values())
            assert taken.seconds >= share * (1 - 1e-9)


def test_another_reranker_shares_no_score(pipeline):
    one, two = Counting(identity="one"), Counting(identity="two")
    record_all({"one": pipeline.replace(reranker=one), "two": pipeline.replace(reranker=two)}, dataset())
    assert sum(map(len, one.seen)) == sum(map(len, two.seen)) > 0


def test_it_goes_on_from_files(pipeline, tmp_path):
    reranker = Counting()
    base = pipeline.replace(reranker=reranker)
    record(base, dataset(), path=tmp_path / "base.jsonl")
    reranker.seen.clear()
    pipelines = {"base": base, "other": base.replace(fusion=RRF(k=2))}
    paths = {name: tmp_path / f"{name}.jsonl" for name in pipelines}
    record_all(pipelines, dataset(), paths=paths)
    assert sum(map(len, reranker.seen)) == 0  # the file had every pair
    assert paths["other"].exists()


def test_batches_are_not_shared(pipeline):
    with pytest.raises(InputError, match="leave batch out"):
        record(pipeline, dataset(), batch=2, reuse=Reuse())


def test_indexes_are_built_once(arms):
    embedded = []

    class Watched(type(arms["dense"].embedder)):
        def embed(self, texts, *, role):
            embedded.extend(texts if role == "document" else [])
            return super().embed(texts, role=role)

    dense = type(arms["dense"])(embedder=Watched())
    configs = {
        "a": PipelineConfig(retrievers={"bm25": BM25(), "dense": dense}, reranker=None),
        "b": PipelineConfig(retrievers={"lexical": BM25(k1=0.5), "dense": dense}, reranker=None),
        "c": PipelineConfig(retrievers={"lexical": BM25(), "other": BM25(b=0.1)}, reranker=None),
    }
    steps = []
    pipelines = build_all(iter(TOPICS), configs, progress=lambda done, total: steps.append((done, total)))
    assert len(embedded) == len([d for d in TOPICS if d.content.strip()]) or len(embedded) == len(TOPICS)
    assert steps == sorted(steps)
    assert steps[-1] == (7, 7)
    for name, pipeline in pipelines.items():
        alone = Pipeline.build(TOPICS, config=configs[name])
        for text in QUERIES.values():
            hits = [(hit.document.id, hit.score) for hit in pipeline.search(text).hits]
            assert hits == [(hit.document.id, hit.score) for hit in alone.search(text).hits]
    recordings = record_all(pipelines, dataset())
    assert compare(recordings).evaluation("c").kinds == {
        "lexical": "retrieve",
        "other": "retrieve",
        "fusion": "fuse",
    }
    with pytest.raises(InputError, match="no documents"):
        build_all([], configs)
