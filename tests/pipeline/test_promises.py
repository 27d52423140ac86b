"""What a search promises where a part is missing, late, or far away; `degraded` says so."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import ClassVar

import numpy as np
import pytest
from support import TOPICS, Broken, Elsewhere, SharedWords

from hybridrank import Component, Document, Pipeline
from hybridrank.collection.indexes.view import View
from hybridrank.errors import AuthenticationError, BackendUnavailableError, InputError
from hybridrank.pipeline.stages import retrieve
from hybridrank.remote.api_keys import api_key
from hybridrank.rerank import Cached, Cascade, Fallback

QUESTION = "How to process organic waste?"


def ids(result):
    return [hit.document.id for hit in result.hits]


# Usage


def test_warming_up_is_counted(arms):
    reranker = SharedWords()
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=reranker, rerank_k=3)
    pipeline.warm_up()
    used = pipeline.usage({"pairs": 2.0})
    assert used["searches"] == len(reranker.seen) == 3
    assert used["pairs"] == sum(map(len, reranker.seen)) == 8
    assert used["cost"] == 16.0
    other = pipeline.replace(rerank_k=2)
    other.warm_up()
    assert pipeline.usage()["searches"] == 3  # each pipeline counts its own
    assert other.usage()["searches"] == 3


def test_a_failure_is_counted_as_one(pipeline):
    failing = pipeline.replace(reranker=Broken(BackendUnavailableError("gone")))
    failing.search(QUESTION, deadline=60)
    used = failing.usage()
    assert (used["failures"], used["shortened"]) == (1, 0)
    assert "FAILED: BackendUnavailableError: gone" in failing.search(QUESTION).explain()


# Thresholds


@pytest.mark.parametrize("failure", [BackendUnavailableError("gone"), [[float("nan")] * 7], [0.5]])
def test_a_threshold_that_cannot_be_applied_leaves_nothing_out(pipeline, failure):
    failing = pipeline.replace(reranker=Broken(failure))
    fused = pipeline.replace(reranker=None).search(QUESTION)
    searches = [
        failing.search(QUESTION, min_score=0.9),
        failing.search_many([QUESTION], min_score=0.9)[0],
        asyncio.run(failing.asearch(QUESTION, min_score=0.9)),
    ]
    for result in searches:
        assert ids(result) == ids(fused)
        assert result.degraded["rerank"].endswith("; min_score was not applied")
        assert {hit.scored_by for hit in result.hits} == {"fusion"}
    with pytest.raises(Exception, match=r"gone|scores|finite"):
        failing.replace(on_rerank_error="raise").search(QUESTION, min_score=0.9)


def test_a_threshold_leaves_out_what_was_not_come_to(pipeline):
    class OneCall(SharedWords):
        pointwise = True

        def score(self, batch):
            if self.seen:
                raise BackendUnavailableError("gone")
            return super().score(batch)

    result = pipeline.replace(reranker=OneCall()).search(QUESTION, min_score=0.0, deadline=60)
    assert set(ids(result)) == set(result.trace.stage("rerank").ids)
    assert 0 < len(result.hits) < len(TOPICS)
    assert result.degraded == {"rerank": "BackendUnavailableError: gone"}  # it was applied to the fused scores


# Numbers


@pytest.mark.parametrize("k", [np.int64(3), np.uint8(3), 3])
def test_numpy_numbers_are_numbers(pipeline, k):
    assert ids(pipeline.search(QUESTION, k=k)) == ids(pipeline.search(QUESTION, k=3))
    least = np.float32(0.2)
    assert ids(pipeline.search(QUESTION, min_score=least)) == ids(
        pipeline.search(QUESTION, min_score=float(least))
    )


@pytest.mark.parametrize("k", [0, -1, True, 2.0, "3", None, float("nan"), [3]])
def test_a_wrong_k_is_named(pipeline, k):
    for search in (pipeline.search, lambda q, k: pipeline.search_many([q], k=k)):
        with pytest.raises(InputError, match="k must be a whole number of at least 1, not"):
            search(QUESTION, k=k)


@pytest.mark.parametrize("k", [10**12, 2**70])
def test_any_k_finds_everything(pipeline, arms, k):
    assert len(pipeline.search(QUESTION, k=k).hits) == len(TOPICS)
    remote = Pipeline.build(TOPICS, retrievers={**arms, "far": Elsewhere(TOPICS)}, reranker=None, fetch_k=k)
    assert len(remote.search(QUESTION, k=k).hits) == len(TOPICS)


@pytest.mark.parametrize("queries", [None, 3, {"a": "query"}])
def test_several_queries_come_in_their_order(pipeline, queries):
    with pytest.raises(InputError, match="queries must be several queries"):
        pipeline.search_many(queries)


@pytest.mark.parametrize("wrong", ["yes", 1, None])
def test_a_switch_is_true_or_false(pipeline, wrong):
    with pytest.raises(InputError, match="per_document must be True or False"):
        pipeline.search(QUESTION, per_document=wrong)
    assert pipeline.search(QUESTION, per_document=np.True_).hits


@pytest.mark.parametrize("prices", [3, [("pairs", 1)], {"pairs": "x"}, {"pairs": -1}, {"pairs": float("inf")}])
def test_wrong_prices_are_named(pipeline, prices):
    pipeline.search(QUESTION)
    with pytest.raises(InputError, match=r"prices must map|the price of 'pairs' must be"):
        pipeline.usage(prices)


# Keys


class Service(Component):
    use = "service"
    api_key_env: str = "SERVICE_KEY"
    pointwise: ClassVar[bool] = True

    def check_setup(self):
        api_key(self.api_key_env, who="the service")

    def score(self, batch):
        return [[0.0] * len(candidates) for candidates in batch]


class Word(Service):
    """An arm that asks a service."""

    use = "word"

    def retrieve(self, queries, *, k):
        return Elsewhere(TOPICS).retrieve(queries, k=k)


@pytest.mark.parametrize(
    "options",
    [
        {"reranker": Service()},
        {"reranker": Cached(reranker=Service())},
        {"reranker": Cascade(stages=[SharedWords(), Service()], keep=[2])},
        {"reranker": Fallback(rerankers=[Service(), SharedWords()])},
        {"reranker": Fallback(rerankers=[SharedWords(), Cached(reranker=Service())])},
        {"retrievers": {"bm25": "bm25", "far": Word()}, "reranker": None},
    ],
)
def test_a_missing_key_is_told_when_the_pipeline_is_made(options, monkeypatch, tmp_path):
    monkeypatch.delenv("SERVICE_KEY", raising=False)
    options = {"retrievers": {"bm25": "bm25"}, **options}

    def said():
        return pytest.raises(AuthenticationError, match=r"the service needs an API key: set .* SERVICE_KEY")

    with said():
        Pipeline.build(TOPICS, path=tmp_path / "col", **options)
    assert not (tmp_path / "col").exists()  # nothing was indexed
    if "reranker" in options and options["reranker"] is not None:
        plain = Pipeline.build(TOPICS, path=tmp_path / "col", retrievers=options["retrievers"], reranker=None)
        with said():
            plain.replace(reranker=options["reranker"])
        plain.close()
        with said():
            Pipeline.open(tmp_path / "col", reranker=options["reranker"])
    for empty in ("", " \n", "two words"):
        monkeypatch.setenv("SERVICE_KEY", empty)
        with pytest.raises(AuthenticationError, match="SERVICE_KEY"):
            Pipeline.build(TOPICS, **options)
    monkeypatch.setenv("SERVICE_KEY", "secret")
    Pipeline.build(TOPICS, **options)


# Remote arms


def test_an_arm_whose_documents_nobody_holds_is_degraded(arms):
    strangers = [d for d in TOPICS if d.id in ("compost", "plastic")]
    held = [d for d in TOPICS if d not in strangers]
    pipeline = Pipeline.build(
        held, retrievers={**arms, "far": Elsewhere(strangers, bring=False)}, reranker=SharedWords(), blend=0
    )
    result = pipeline.search(QUESTION)
    alone = Pipeline.build(held, retrievers=arms, reranker=SharedWords(), blend=0, fusion={"use": "rrf", "k": 5})
    assert set(ids(result)) == set(ids(alone.search(QUESTION)))
    assert result.degraded.keys() == {"far"}
    assert "none of its 2 documents is held here" in result.degraded["far"]
    assert result.trace.stage("fusion").details["unknown_documents"] == 2
    assert "FAILED" in result.explain()
    only = Pipeline.build(held, retrievers={"far": Elsewhere(strangers, bring=False)}, reranker=None)
    assert (only.search(QUESTION).hits, only.search(QUESTION).degraded.keys()) == ([], {"far"})


def test_an_arm_with_some_documents_that_nobody_holds_is_sound(arms):
    pipeline = Pipeline.build(
        TOPICS[1:], retrievers={**arms, "far": Elsewhere(TOPICS, bring=False)}, reranker=None
    )
    result = pipeline.search(QUESTION)
    assert result.degraded == {}
    assert result.trace.stage("fusion").details["unknown_documents"] == 1


@pytest.fixture
def fetched(monkeypatch):
    """The ids that searches fetch from a collection, whatever they make of them."""
    ids = []

    class Watched(View):
        def __init__(self, *indexes, units, **options):
            super().__init__(*indexes, units=lambda wanted: ids.extend(wanted) or units(wanted), **options)

    monkeypatch.setattr("hybridrank.collection.memory.View", Watched)
    monkeypatch.setattr("hybridrank.collection.indexes.live.View", Watched)
    return ids


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("bring", [False, True])
def test_a_remote_arm_does_not_make_every_local_candidate_be_fetched(arms, fetched, tmp_path, durable, bring):
    documents = [Document(f"d{n:03}", f"worms and soil {'waste ' * (n % 7)}{n}") for n in range(120)]
    far = Elsewhere(
        [documents[7], Document("far", "waste waste waste waste waste waste waste waste")], bring=bring
    )
    options = {"path": tmp_path / "col"} if durable else {}
    fusion = {"use": "rrf", "k": 5, "weights": {"far": 9.0}}
    pipeline = Pipeline.build(documents, retrievers={**arms, "far": far}, fusion=fusion, reranker=None, **options)
    for k in (3, 10):
        fetched.clear()
        result = pipeline.search("waste soil", k=k)
        assert len(set(fetched)) <= 3 * k + 2  # the top of each arm, and what the fusion shows
        assert len(result.hits) == k
        assert result.degraded == {}
        assert ("far" in ids(result)) is bring
        assert ids(result) == list(result.trace.stage("fusion").ids[:k])
        assert "d007" in ids(result)
    for options in ({"reranker": SharedWords(), "rerank_k": 6}, {"adjust": ["mmr"]}):
        assert len(pipeline.replace(**options).search("waste soil", k=4).hits) == 4
    pipeline.close()


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("k", [1, 20])
def test_what_changes_while_a_remote_arm_works_is_seen_whole(arms, tmp_path, durable, k, monkeypatch):
    """Rankings and documents are of one state, before the change or after it."""
    documents = [Document(f"d{n}", f"worms {n} soil {'soil' * (n > 0)}") for n in range(9)]

    class Changing(Elsewhere):
        def retrieve(self, queries, *, k):
            if "d3" in pipeline.collection:
                begun.wait(5)
                pipeline.delete(["d3", "d4"])
                pipeline.add([Document("d5", "waste"), Document("new", "worms soil soil")])
            return super().retrieve(queries, k=k)

    begun = Event()
    bm25 = arms["bm25"]
    options = {"path": tmp_path / "col"} if durable else {}
    pipeline = Pipeline.build(
        documents,
        retrievers={"bm25": bm25, "far": Changing([documents[0]], bring=False)},
        fusion={"use": "rrf", "weights": {"far": 9.0}},
        reranker=None,
        **options,
    )
    retrieve_local = retrieve._Retrieval._retrieve_local

    def then_begin(self):
        try:
            return retrieve_local(self)
        finally:
            begun.set()

    monkeypatch.setattr(retrieve._Retrieval, "_retrieve_local", then_begin)
    result = pipeline.search("worms soil", k=k)
    before, after = {f"d{n}" for n in range(9)}, {"d0", "d1", "d2", "d6", "d7", "d8", "new"}
    assert set(result.trace.stage("bm25").ids) == (before if k == 20 else after)
    assert ids(result)[0] == "d0"
    if k == 20:  # every document was fetched with the rankings
        assert set(ids(result)) == before
    pipeline.close()
