"""Replays: what a pipeline with other choices would have found, without its indexes and models."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import QUERIES, dataset
from support import TOPICS, Broken, NgramEmbedder, SharedWords

from hybridrank import Pipeline, Stage, Trace
from hybridrank.adjust import MMR
from hybridrank.blend import ConfidenceBlend
from hybridrank.errors import BackendError, InputError
from hybridrank.evaluation import Variant, evaluate, record, replay, replay_all
from hybridrank.fusion import RRF, ScoreFusion
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.rerank.early_stopping import EarlyStopping
from hybridrank.retrieval import BM25, Faiss


class Telling(SharedWords):
    """Scores as shared words, each document for itself, and says when it is sure."""

    pointwise = True
    confidence_range = (0.1, 0.9)


def orders(trace):
    """Everything in a trace but the times and the notes."""
    return [(s.name, s.kind, s.ids, s.scores, s.received, s.error) for s in trace.stages]


CHANGES = [
    {},
    {"rerank_k": 2},
    {"rerank_k": 1, "blend": 0.4},
    {"fusion": RRF(k=5, weights={"dense": 3.0}), "rerank_k": 3},
    {"fusion": ScoreFusion(weights={"bm25": 0.5}), "blend": 0.2},
    {"fusion": ScoreFusion(normalize="dbsf", combine="mnz"), "fetch_k": 3},
    {"blend": ConfidenceBlend(), "rerank_k": 4},
    {"blend": ConfidenceBlend(score_range=(0.2, 0.3)), "fetch_k": 2},
    {"blend": 1.0},
    {"stop": EarlyStopping(patience=1, step=1)},
    {"stop": EarlyStopping(patience=2, step=1), "blend": 0.3},
    {"reranker": None},
    {"reranker": None, "fetch_k": 1},
]


@pytest.fixture
def deep(arms):
    """Every candidate is fetched and scored."""
    return Pipeline.build(TOPICS, retrievers=arms, reranker=Telling(), fetch_k=20, rerank_k=20, blend=0)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("query", QUERIES.values())
def test_a_replay_is_what_the_pipeline_would_have_found(deep, changes, query):
    other = deep.replace(**changes)
    result = other.search(query, k=2)
    recorded = deep.search(query, k=5).trace
    replayed = replay(recorded, Variant.of(other.config), k=2)
    assert orders(replayed) == orders(result.trace)
    assert (replayed.k, replayed.fetch_k) == (2, max(2, other.config.fetch_k))
    last = replayed.stages[-1]
    assert [hit.document.id for hit in result.hits] == [*last.ids, *replayed.stage("fusion").ids][:2] or any(
        stage.kind == "rerank" for stage in replayed.stages
    )


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_replaying_with_its_own_choices_changes_nothing(deep, changes):
    pipeline = deep.replace(**changes)
    for query in QUERIES.values():
        trace = pipeline.search(query, k=3).trace
        same = replay(trace, Variant.of(pipeline.config))
        assert orders(same) == orders(trace)
        assert same.seconds == pytest.approx(trace.seconds)
        assert [stage.details for stage in same.stages] == [stage.details for stage in trace.stages]


@pytest.mark.parametrize("arm", ["bm25", "dense"])
def test_arms_can_be_left_out(deep, arms, arm):
    alone = Pipeline.build(
        TOPICS, retrievers={arm: arms[arm]}, fusion=RRF(), reranker=Telling(), fetch_k=3, rerank_k=3, blend=0.5
    )
    variant = Variant.of(alone.config)
    for query in QUERIES.values():
        assert orders(replay(deep.search(query).trace, variant, k=4)) == orders(alone.search(query, k=4).trace)


words = st.lists(st.sampled_from(["compost", "soil", "waste", "nuclear", "safety", "the", "industry"]), min_size=1)


@given(
    query=words.map(" ".join),
    fetch_k=st.integers(1, 7),
    rerank_k=st.integers(1, 8),
    blend=st.floats(0, 1) | st.just(ConfidenceBlend()),
    weight=st.floats(0, 5),
    k=st.integers(1, 7),
)
@settings(max_examples=60, deadline=None)
def test_any_choices(query, fetch_k, rerank_k, blend, weight, k):
    changes = {
        "fetch_k": fetch_k, "rerank_k": rerank_k, "blend": blend, "fusion": RRF(weights={"dense": weight}),
    }  # fmt: skip
    other = DEEP.replace(**changes)
    recorded = DEEP.search(query, k=7).trace
    assert orders(replay(recorded, Variant.of(other.config), k=k)) == orders(other.search(query, k=k).trace)


DEEP = Pipeline.build(
    TOPICS,
    retrievers={"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())},
    reranker=Telling(),
    fetch_k=7,
    rerank_k=14,
    blend=0,
)


def test_what_was_not_scored_is_counted_and_stays_behind(deep):
    shallow = deep.replace(rerank_k=2)
    trace = shallow.search(QUERIES["q1"], k=3).trace
    scored = set(trace.stage("rerank").ids)
    variant = Variant.of(shallow.config, rerank_k=5, fusion=RRF(weights={"bm25": 5.0}))
    replayed = replay(trace, variant)
    stage = replayed.stage("rerank")
    shown = replayed.stage("fusion").ids[:5]
    assert set(stage.ids) == scored & set(shown)
    assert stage.details["unscored"] == len(set(shown) - scored) > 0
    assert stage.received == 5
    whole = replay_all(record(shallow, dataset()), variant)
    assert "have no recorded score" in whole.warnings[0]
    order = whole.searches["q1"].rankings()["rerank"]
    left = [doc_id for doc_id in replayed.stage("fusion").ids if doc_id not in scored]
    assert list(order[len(stage.ids) :]) == left


def test_a_recording_is_replayed_whole(deep):
    recording = record(deep, dataset(), k=5)
    variant = Variant.of(deep.config, rerank_k=2, blend=0.3)
    replayed = replay_all(recording, variant, name="other")
    direct = record(deep.replace(rerank_k=2, blend=0.3), dataset(), k=5)
    assert replayed.rankings() == direct.rankings()
    assert evaluate(replayed).values == evaluate(direct).values
    assert (replayed.name, replayed.header.settings["rerank_k"], replayed.header.settings["blend"]) == (
        "other",
        2,
        0.3,
    )
    pairs = evaluate(replayed).usage["pairs"]
    assert pairs == evaluate(direct).usage["pairs"]
    assert Variant.recorded(replayed.header).blend == 0.3


def test_passages_are_grouped_as_they_were(arms):
    long = [replace(d, text=" ".join([d.text, *(t.text for t in TOPICS if t.id > d.id)])) for d in TOPICS]
    pipeline = Pipeline.build(
        long,
        retrievers=arms,
        reranker=Telling(),
        fetch_k=12,
        rerank_k=40,
        blend=0,
        splitter=Splitter(max_tokens=32, overlap=0),
    )
    recording = record(pipeline, dataset(), k=3)
    assert any("passages" in s.trace.stage("fusion").details for s in recording.searches.values())
    exact = 0
    for changes in ({"fetch_k": 3}, {"fusion": RRF(k=2, weights={"bm25": 2.0}), "rerank_k": 4}):
        other = record(pipeline.replace(**changes), dataset(), k=3)
        variant = Variant.of(pipeline.config, **changes)
        replayed = replay_all(recording, variant)
        for query_id, search in replayed.searches.items():
            direct = other.searches[query_id].trace
            assert search.trace.stage("fusion").ids == direct.stage("fusion").ids
            # another passage may now stand for a document, which was never scored
            missing = search.trace.stage("rerank").details.get("unscored", 0)
            assert missing == len(set(direct.stage("rerank").ids) - set(search.trace.stage("rerank").ids))
            exact += not missing
    assert exact >= 4
    own = Variant.of(pipeline.config)
    assert replay_all(recording, own).rankings() == recording.rankings()
    grouped = next(s.trace for s in recording.searches.values() if "passages" in s.trace.stage("fusion").details)
    with pytest.raises(InputError, match="a trace alone does not say whose they are"):
        replay(grouped, variant)


def test_a_failed_arm_stays_failed(deep, arms):
    remote = {**arms, "remote": Broken(BackendError("down"))}
    pipeline = Pipeline.build(TOPICS, retrievers=remote, reranker=Telling(), blend=0.5)
    trace = pipeline.search("nuclear waste").trace
    same = replay(trace, Variant.of(pipeline.config, rerank_k=2))
    assert "down" in same.degraded["remote"]
    assert len(same.stage("rerank").ids) == 2


def test_a_failed_reranker_gives_no_scores(arms):
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=Broken(BackendError("down")))
    trace = pipeline.search("nuclear waste").trace
    same = replay(trace, Variant.of(pipeline.config, rerank_k=3))
    assert same.stage("rerank").ids == ()
    assert same.stage("rerank").details["unscored"] == 3
    assert "down" in same.degraded["rerank"]


def test_what_cannot_be_replayed_is_refused(deep, arms):
    trace = deep.search("nuclear waste", k=3).trace
    variant = Variant.of(deep.config)
    with pytest.raises(InputError, match="each arm fetched 20 candidates here, and 21 are wanted"):
        replay(trace, replace(variant, fetch_k=21))
    with pytest.raises(InputError, match="each arm fetched 20 candidates here, and 30 are wanted"):
        replay(trace, variant, k=30)
    with pytest.raises(InputError, match="there is no arm 'splade' here \\(there are: bm25, dense\\)"):
        replay(trace, replace(variant, arms=("bm25", "splade")))
    with pytest.raises(InputError, match="at least one arm"):
        replay(trace, replace(variant, arms=()))
    with pytest.raises(InputError, match="nothing was reranked here"):
        replay(deep.replace(reranker=None).search("nuclear waste").trace, variant)
    adjusted = deep.replace(adjust=[MMR()])
    with pytest.raises(InputError, match="adjusters \\(mmr\\) read what no recording holds"):
        Variant.of(adjusted.config)
    with pytest.raises(InputError, match="record without them"):
        replay(adjusted.search("nuclear waste").trace, variant)


def test_an_object_that_told_how_sure_it_is_has_to_be_given_again(deep):
    recording = record(deep.replace(blend=ConfidenceBlend()), dataset())
    with pytest.raises(InputError, match="give the pipeline's configuration"):
        Variant.recorded(recording.header)
    fixed = record(deep.replace(blend=0.5), dataset())
    assert Variant.recorded(fixed.header) == replace(Variant.of(deep.config, blend=0.5), confidence_range=None)


def test_seconds_are_predicted_by_what_is_read():
    def stage(name, kind, seconds, ids, **more):
        return Stage(name, kind, seconds, ids, tuple(float(-n) for n in range(len(ids))), **more)

    ids = ("a", "b", "c", "d")
    trace = Trace(
        "four", 4, 4, 4, 1.3,
        (
            stage("bm25", "retrieve", 0.1, ids),
            stage("dense", "retrieve", 0.2, ids),
            stage("fusion", "fuse", 0, ids),
            stage("rerank", "rerank", 1.0, ids, received=4, details={"tokens_read": 100, "search_units": 1}),
        ),
    )  # fmt: skip
    variant = Variant(("bm25", "dense"), RRF(), 4, 4, blend=0)
    chars = {"a": 16, "b": 6, "c": 6, "d": 6}
    half = replay(trace, replace(variant, rerank_k=1), chars=chars)
    assert half.stage("rerank").seconds == pytest.approx(20 / 50)
    assert half.seconds == pytest.approx(0.3 + 0.4)
    assert half.stage("rerank").details == {"tokens_read": 40, "search_units": 1}
    alone = replay(trace, replace(variant, arms=("bm25",), rerank_k=0), chars=chars)
    assert alone.seconds == pytest.approx(0.2)
    assert [s.name for s in alone.stages] == ["bm25", "fusion"]
