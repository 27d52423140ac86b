from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support import TOPICS, AsyncElsewhere, AsyncSharedWords, Broken, Elsewhere, NgramEmbedder, SharedWords

from hybridrank import Candidates, Document, Pipeline, Query, Ranking
from hybridrank.collection.memory import MemoryCollection
from hybridrank.component.protocols import DocumentStore
from hybridrank.errors import (
    BackendResponseError,
    BackendUnavailableError,
    ConfigError,
    InputError,
    ModelError,
    SearchError,
)
from hybridrank.fusion import RRF, ScoreFusion
from hybridrank.retrieval import BM25, Faiss

QUESTION = "How to process organic waste?"


def ids(result):
    return [hit.document.id for hit in result.hits]


def told(result):
    """A result without its times."""
    return (
        [(hit.rank, hit.score, hit.document, hit.scored_by) for hit in result.hits],
        [(s.name, s.kind, s.ids, s.scores, s.received, s.error, s.details) for s in result.trace.stages],
    )


# What a search is made of


def test_a_search_is_its_stages_one_after_the_other(pipeline):
    result = pipeline.search(QUESTION, k=3)
    query = Query(QUESTION)
    (words,) = pipeline.retrievers["bm25"].retrieve([query], k=50)
    (dense,) = pipeline.retrievers["dense"].retrieve([query], k=50)
    fused = RRF(k=5, weights={"dense": 2.0}).fuse({"bm25": words, "dense": dense}, query=Query("soil"))
    documents = [pipeline.get([doc_id])[doc_id] for doc_id in fused.ids]
    (scores,) = SharedWords().score([Candidates(query, documents)])
    expected = Ranking.of(zip(fused.ids, scores, strict=True), k=3)
    assert ids(result) == list(expected.ids)
    assert [hit.score for hit in result.hits] == list(expected.scores)
    assert [hit.rank for hit in result.hits] == [1, 2, 3]
    assert {hit.scored_by for hit in result.hits} == {"rerank"}
    assert result.trace.stage("bm25").ids == words.ids
    assert result.trace.stage("dense").ids == dense.ids
    assert result.trace.stage("fusion").ids == fused.ids
    assert not result.degraded


def test_without_a_reranker_results_are_in_fused_order(pipeline):
    result = pipeline.replace(reranker=None).search(QUESTION, k=4)
    assert ids(result) == list(result.trace.stage("fusion").ids[:4])
    assert {hit.scored_by for hit in result.hits} == {"fusion"}
    assert [stage.name for stage in result.trace.stages] == ["bm25", "dense", "fusion"]


def test_the_reranker_sees_rerank_k_candidates_and_the_rest_follow(pipeline):
    reranker = SharedWords()
    result = pipeline.replace(reranker=reranker, rerank_k=2).search(QUESTION, k=5)
    fused = result.trace.stage("fusion").ids
    assert reranker.seen == [list(fused[:2])]
    assert sorted(ids(result)[:2]) == sorted(fused[:2])
    assert ids(result)[2:] == list(fused[2:5])
    assert [hit.scored_by for hit in result.hits] == ["rerank"] * 2 + ["fusion"] * 3
    assert result.trace.stage("rerank").received == 2


def test_fetch_k_bounds_each_arm_and_never_falls_below_k(pipeline):
    result = pipeline.replace(fetch_k=2).search(QUESTION, k=1)
    assert len(result.trace.stage("bm25").ids) <= 2
    assert len(result.trace.stage("dense").ids) == 2
    assert len(pipeline.replace(fetch_k=1, reranker=None).search(QUESTION, k=6).hits) == 6


def test_k_larger_than_the_corpus_returns_what_there_is(pipeline):
    assert len(pipeline.search(QUESTION, k=1000).hits) == len(TOPICS)


def test_a_query_that_no_word_matches_still_finds_by_vector(pipeline):
    result = pipeline.search("xylophones", k=3)
    assert result.trace.stage("bm25").ids == ()
    assert len(result.hits) == 3
    assert not result.degraded


def test_a_given_vector_and_given_ids_reach_the_arms(pipeline):
    vector = NgramEmbedder().embed(["Nuclear waste storage is a complex safety issue."], role="document")[0]
    result = pipeline.search(Query("unrelated", vector=vector))
    assert result.trace.stage("dense").ids[0] == "nuclear"
    chosen = {"plastic", "garden"}
    result = pipeline.search(Query(QUESTION, ids=chosen), k=5)
    assert set(ids(result)) == chosen
    assert all(set(stage.ids) <= chosen for stage in result.trace.stages)


class Inventor(RRF):
    """A fusion that adds a document of its own."""

    def fuse(self, rankings, *, query):
        return Ranking.of({**dict.fromkeys(super().fuse(rankings, query=query).ids, 1.0), "invented": 2.0})


def test_a_fusion_that_invents_documents_is_not_believed(pipeline):
    with pytest.raises(BackendResponseError, match="no retriever had found"):
        pipeline.replace(fusion=Inventor()).search(QUESTION)


def test_fusion_can_be_swapped_and_weighted(pipeline):
    only_words = pipeline.replace(fusion=RRF(weights={"dense": 0.0}), reranker=None)
    result = only_words.search(QUESTION, k=2)
    assert ids(result) == list(result.trace.stage("bm25").ids[:2])
    by_score = pipeline.replace(fusion=ScoreFusion(normalize="dbsf"), reranker=None).search(QUESTION)
    assert set(ids(by_score)) == set(ids(only_words.search(QUESTION)))
    assert pipeline.config.fusion == RRF(k=5, weights={"dense": 2.0})


@pytest.mark.parametrize("blend", [0, 0.5, "confidence"])
def test_a_threshold_is_on_the_rerankers_own_scores(pipeline, blend):
    pipeline = pipeline.replace(rerank_k=4, blend=blend, adjust=[])
    everything = pipeline.search(QUESTION, k=7)
    scores = dict(zip(everything.trace.stage("rerank").ids, everything.trace.stage("rerank").scores, strict=True))
    assert len(scores) == 4 < len(everything.hits)
    for least in [*scores.values(), max(scores.values()) + 1]:
        expected = [doc_id for doc_id in ids(everything) if scores.get(doc_id, -1.0) >= least]
        result = pipeline.search(QUESTION, k=7, min_score=least)
        assert ids(result) == expected  # what was not reranked is left out, too
        assert [hit.rank for hit in result.hits] == list(range(1, len(expected) + 1))
        assert ids(pipeline.search(QUESTION, k=2, min_score=least)) == expected[:2]
        assert ids(pipeline.search_many([QUESTION], k=7, min_score=least)[0]) == expected
        assert ids(asyncio.run(pipeline.asearch(QUESTION, k=7, min_score=least))) == expected


def test_a_threshold_needs_scores(pipeline):
    with pytest.raises(InputError, match="no reranker"):
        pipeline.replace(reranker=None).search(QUESTION, min_score=0.5)
    for wrong in (float("nan"), "0.5", True):
        with pytest.raises(InputError, match="min_score must be a number"):
            pipeline.search(QUESTION, min_score=wrong)
    result = pipeline.replace(reranker=Broken(BackendUnavailableError("down"))).search(QUESTION, min_score=0.0)
    assert result.degraded == {"rerank": "BackendUnavailableError: down; min_score was not applied"}
    assert ids(result) == ids(pipeline.replace(reranker=None).search(QUESTION))


def test_replace_shares_the_documents(pipeline):
    other = pipeline.replace(reranker=None)
    pipeline.add([Document("new", "Worms turn organic waste into castings.")])
    assert "new" in ids(other.search("worms castings"))
    assert len(other) == len(pipeline) == len(TOPICS) + 1
    with pytest.raises(ConfigError, match=r"Pipeline\.build"):
        pipeline.replace(retrievers={"bm25": BM25()})
    with pytest.raises(ConfigError, match="did you mean"):
        pipeline.replace(rerankr=None)


# One plan, two drivers


def test_async_and_batched_searches_give_the_same(pipeline):
    questions = [QUESTION, "nuclear safety", "soil", "xylophones"]
    one_by_one = [pipeline.search(question, k=4) for question in questions]
    batched = pipeline.search_many(questions, k=4)

    async def together():
        return await asyncio.gather(*(pipeline.asearch(question, k=4) for question in questions))

    for one, many, awaited in zip(one_by_one, batched, asyncio.run(together()), strict=True):
        assert told(one)[0] == told(many)[0] == told(awaited)[0]
        assert told(one) == told(awaited)
    assert pipeline.search_many([]) == []


def test_a_batch_is_one_call_for_every_stage(arms):
    calls = []

    class Counted(SharedWords):
        def score(self, batch):
            calls.append(len(batch))
            return super().score(batch)

    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=Counted())
    results = pipeline.search_many([QUESTION, "soil"])
    assert calls == [2]
    asked = [s for result in results for s in result.trace.stages if s.kind in ("retrieve", "rerank")]
    assert {stage.batch for stage in asked} == {2}


def test_native_async_is_used_where_there_is_one(arms):
    reranker, engine = AsyncSharedWords(), AsyncElsewhere(TOPICS)
    pipeline = Pipeline.build(TOPICS, retrievers={**arms, "engine": engine}, reranker=reranker)
    awaited = asyncio.run(pipeline.asearch(QUESTION))
    assert reranker.awaited == 1
    assert told(awaited) == told(pipeline.search(QUESTION))
    assert reranker.awaited == 1


def rendezvous(count):
    """Retrievers that answer only when all of them are at work at once."""
    gate = threading.Barrier(count)

    class Meeting:
        def retrieve(self, queries, *, k):
            gate.wait(timeout=20)
            return [Ranking(("d",), (1.0,), {"d": Document("d", "met")}) for _ in queries]

    return {f"arm{number}": Meeting() for number in range(count)}


def test_remote_arms_run_beside_each_other_in_both_drivers():
    pipeline = Pipeline.build([], retrievers=rendezvous(4), reranker=None)
    assert ids(pipeline.search("q")) == ["d"]
    assert ids(asyncio.run(pipeline.asearch("q"))) == ["d"]


def test_local_arms_run_beside_each_other_in_both_drivers():
    gate = threading.Barrier(2)

    class Meeting(NgramEmbedder):
        def embed(self, texts, *, role):
            if role == "query":
                gate.wait(timeout=20)
            return super().embed(texts, role=role)

    arms = {"left": Faiss(embedder=Meeting()), "right": Faiss(embedder=Meeting(dim=32))}
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=None)
    assert pipeline.search(QUESTION).hits
    assert asyncio.run(pipeline.asearch(QUESTION)).hits


def test_a_slow_model_leaves_the_event_loop_free(arms):
    started, release = threading.Event(), threading.Event()

    class Slow(SharedWords):
        def score(self, batch):
            started.set()
            release.wait(timeout=20)
            return super().score(batch)

    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=Slow())

    async def main():
        search = asyncio.create_task(pipeline.asearch(QUESTION))
        while not started.is_set():
            await asyncio.sleep(0.001)
        assert not search.done()  # the loop turns while the model is held
        release.set()
        return await search

    assert asyncio.run(main()).hits


# Failures


def test_an_arm_that_fails_degrades_the_search(arms, caplog):
    broken = Broken(BackendUnavailableError("the engine is down"))
    pipeline = Pipeline.build(TOPICS, retrievers={**arms, "engine": broken}, reranker=None)
    with caplog.at_level(logging.WARNING, logger="hybridrank"):
        result = pipeline.search(QUESTION)
    assert result.hits
    assert result.degraded == {"engine": "BackendUnavailableError: the engine is down"}
    assert result.trace.stage("engine").ids == ()
    assert "engine" in caplog.text
    assert told(asyncio.run(pipeline.asearch(QUESTION))) == told(result)


@pytest.mark.parametrize(
    "garbage", [None, [], [Ranking(("a",), (float("nan"),))], [Ranking(("a", "b"), (1.0, 2.0))]]
)
def test_an_arm_that_returns_garbage_is_not_believed(arms, garbage):
    pipeline = Pipeline.build(TOPICS, retrievers={**arms, "engine": Broken(garbage)}, reranker=None)
    result = pipeline.search(QUESTION)
    assert "BackendResponseError" in result.degraded["engine"]
    assert result.hits


def test_all_arms_failing_raises_with_every_cause():
    arms = {"a": Broken(OSError("no route")), "b": Broken(BackendUnavailableError("busy"))}
    pipeline = Pipeline.build([], retrievers=arms, reranker=None)
    with pytest.raises(SearchError, match=r"no route.*busy") as caught:
        pipeline.search("q")
    assert set(caught.value.causes) == {"a", "b"}
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(SearchError):
        asyncio.run(pipeline.asearch("q"))


@pytest.mark.parametrize(
    "failure", [BackendUnavailableError("down"), RuntimeError("bug"), None, [[0.0, float("nan")]], [[1.0]]]
)
def test_a_reranker_that_fails_leaves_the_fused_order_and_says_so(arms, failure, caplog):
    pipeline = Pipeline.build(TOPICS[:2], retrievers=arms, reranker=Broken(failure))
    with caplog.at_level(logging.WARNING, logger="hybridrank"):
        result = pipeline.search(QUESTION)
    assert ids(result) == list(result.trace.stage("fusion").ids)
    assert set(result.degraded) == {"rerank"}
    assert "the reranker failed" in caplog.text
    assert result.trace.stage("rerank").received == 2


@pytest.mark.parametrize("failure", [BackendUnavailableError("down"), RuntimeError("bug")])
def test_a_reranker_that_fails_can_raise(arms, failure):
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=Broken(failure), on_rerank_error="raise")
    with pytest.raises(type(failure), match=re.escape(str(failure))):
        pipeline.search(QUESTION)
    with pytest.raises(type(failure), match=re.escape(str(failure))):
        asyncio.run(pipeline.asearch(QUESTION))


def test_garbage_from_a_reranker_is_a_response_error(arms):
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=Broken([[float("nan")]]), on_rerank_error="raise")
    with pytest.raises(BackendResponseError, match="the reranker returned 1 scores"):
        pipeline.search(QUESTION)


@pytest.mark.parametrize("failure", [ModelError("no such model"), ConfigError("no"), InputError("too long")])
def test_a_setup_that_cannot_work_raises_whatever_the_policy(arms, failure):
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=Broken(failure))
    with pytest.raises(type(failure), match=re.escape(str(failure))):
        pipeline.search(QUESTION)


class Wordless(Exception):
    """An exception whose message cannot be read."""

    def __str__(self):
        raise ValueError("no words")


def test_a_failure_that_cannot_be_put_into_words_is_a_failure_like_any_other():
    documents = [Document("d", "word")]
    pipeline = Pipeline.build(
        documents, retrievers={"bm25": BM25(), "other": Broken(Wordless())}, reranker=Broken(Wordless())
    )
    result = pipeline.search("word")
    assert [hit.document.id for hit in result.hits] == ["d"]
    assert dict(result.degraded) == {"other": "Wordless", "rerank": "Wordless"}
    alone = Pipeline.build(documents, retrievers={"other": Broken(Wordless())}, reranker=None)
    with pytest.raises(SearchError, match="other: Wordless"):
        alone.search("word")


def test_the_reranker_is_not_asked_about_nothing():
    pipeline = Pipeline.build([Document("d", "word")], retrievers={"bm25": BM25()}, reranker=Broken(OSError()))
    result = pipeline.search("absent")
    assert result.hits == []
    assert not result.degraded
    assert result.explain()


# Remote engines


def test_a_remote_arm_brings_its_documents(arms):
    elsewhere = Elsewhere([*TOPICS, Document("far", "Organic waste in far places.")])
    pipeline = Pipeline.build(TOPICS, retrievers={**arms, "engine": elsewhere}, reranker=None)
    result = pipeline.search("far places")
    assert "far" in ids(result)
    assert result.trace.stage("engine").details == {"engine": "elsewhere"}
    assert isinstance(pipeline.retrievers["engine"], Elsewhere)


def test_ids_that_nobody_knows_are_dropped_and_counted(arms):
    elsewhere = Elsewhere([Document("ghost", "organic organic organic")], bring=False)
    pipeline = Pipeline.build(TOPICS, retrievers={**arms, "engine": elsewhere}, reranker=SharedWords())
    result = pipeline.search("organic", k=3)
    assert "ghost" not in ids(result)
    assert result.trace.stage("fusion").details == {"unknown_documents": 1}


@pytest.mark.parametrize("engine", [Elsewhere(TOPICS), AsyncElsewhere(TOPICS)])
def test_an_arm_that_ignores_the_querys_ids_is_not_believed(arms, engine):
    pipeline = Pipeline.build(TOPICS, retrievers={**arms, "engine": engine}, reranker=None)
    query = Query("waste", ids={"plastic"})
    for result in (pipeline.search(query), asyncio.run(pipeline.asearch(query))):
        assert ids(result) == ["plastic"]
        assert "not among the query's ids" in result.degraded["engine"]


def test_a_pipeline_of_remote_arms_needs_no_documents():
    pipeline = Pipeline.build([], retrievers={"engine": AsyncElsewhere(TOPICS)}, reranker=None)
    assert len(pipeline) == 0
    assert ids(pipeline.search("composting", k=1)) == ids(asyncio.run(pipeline.asearch("composting", k=1)))


# Changing documents


def test_add_and_delete_reach_both_arms(pipeline):
    pipeline.add([Document("worms", "Worms turn organic waste into castings.")])
    found = pipeline.search("worms castings")
    assert ids(found)[0] == "worms"
    assert "worms" in found.trace.stage("bm25").ids
    assert "worms" in found.trace.stage("dense").ids
    assert pipeline.delete(["worms", "never there"]) == 1
    gone = pipeline.search("worms castings")
    assert all("worms" not in stage.ids for stage in gone.trace.stages)
    assert pipeline.get(["worms"]) == {}


def test_adding_an_id_again_replaces_the_document(pipeline):
    pipeline.add([Document("garden", "Telescopes gather starlight at night.")])
    assert len(pipeline) == len(TOPICS)
    assert ids(pipeline.search("starlight", k=1)) == ["garden"]
    assert "garden" not in pipeline.search("mulch").trace.stage("bm25").ids


def test_a_blank_document_is_stored_and_found_by_id(pipeline):
    assert pipeline.get(["blank", "absent"]) == {"blank": TOPICS[-1]}
    pipeline.add([Document("empty", "")])
    assert pipeline.get(["empty"])["empty"].text == ""
    assert pipeline.search(QUESTION, k=20).hits


def test_deleting_everything_leaves_a_pipeline_that_finds_nothing(pipeline):
    assert pipeline.delete([document.id for document in TOPICS]) == len(TOPICS)
    assert pipeline.search(QUESTION).hits == []
    pipeline.add(TOPICS)
    assert len(pipeline.search(QUESTION, k=3).hits) == 3


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([Document("a", "x"), Document("a", "y")], r"documents\[1\] repeats the id 'a'"),
        ([Document("a", "x"), "just text"], r"documents\[1\] is a str, not a Document"),
        ([{"id": "a", "text": "x"}], r"documents\[0\] is a dict, not a Document"),
    ],
)
def test_bad_documents_change_nothing(pipeline, documents, said):
    before = told(pipeline.search(QUESTION))
    with pytest.raises(InputError, match=said):
        pipeline.add(documents)
    assert len(pipeline) == len(TOPICS)
    assert told(pipeline.search(QUESTION)) == before


def test_an_embedder_that_goes_wrong_changes_nothing():
    class Moody(NgramEmbedder):
        def embed(self, texts, *, role):
            vectors = super().embed(texts, role=role)
            if any("wide" in text for text in texts):
                return np.hstack([vectors, np.zeros((len(texts), 1), np.float32)])
            if any("nan" in text for text in texts):
                vectors[0, 0] = np.nan
            return vectors

    arms = {"bm25": BM25(), "dense": Faiss(embedder=Moody())}
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=None)
    before = told(pipeline.search(QUESTION))
    for text, said in (("wide", "65 dimensions, but the index holds 64"), ("nan", "not finite")):
        with pytest.raises(BackendResponseError, match=said):
            pipeline.add([Document("compost", text), Document("new", text)])
    assert told(pipeline.search(QUESTION)) == before
    assert pipeline.get(["compost", "new"]) == {"compost": TOPICS[0]}


def test_delete_takes_ids_not_one_string(pipeline):
    with pytest.raises(InputError, match=r'write \["compost"\]'):
        pipeline.delete("compost")
    with pytest.raises(InputError, match="must be str, not int"):
        pipeline.delete([3])
    assert len(pipeline) == len(TOPICS)


def test_build_reports_progress_in_documents(arms):
    seen = []
    Pipeline.build(TOPICS, retrievers=arms, reranker=None, progress=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {len(TOPICS)}
    assert seen[-1] == (len(TOPICS), len(TOPICS))
    assert seen == sorted(seen)
    assert len(seen) > 2


# Bad input


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", True, None])
def test_k_is_a_positive_whole_number(pipeline, k):
    with pytest.raises(InputError, match="k must be a whole number of at least 1"):
        pipeline.search(QUESTION, k=k)


def test_bad_queries_are_clear_errors(pipeline):
    with pytest.raises(InputError, match="empty or blank"):
        pipeline.search(" ")
    with pytest.raises(InputError, match="must be a str"):
        pipeline.search(None)
    with pytest.raises(InputError, match=r"use search\(\) for one"):
        pipeline.search_many("one question")
    with pytest.raises(InputError, match="dimension"):
        pipeline.search(Query("q", vector=[1.0, 0.0]))


# Threads


def test_searches_see_each_change_whole_or_not_at_all(arms):
    """While pairs of documents come and go, no search sees one of a pair, or an arm that knows another state."""
    pair = [Document("left", "quokka alpha"), Document("right", "quokka beta")]
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=None)
    stop = threading.Event()
    wrong = []

    def watch():
        while not stop.is_set():
            result = pipeline.search("quokka alpha beta", k=20)
            words = {"left", "right"} & set(result.trace.stage("bm25").ids)
            dense = {"left", "right"} & set(result.trace.stage("dense").ids)
            hits = {"left", "right"} & set(ids(result))
            if not (words == dense == hits and len(words) in (0, 2)):
                wrong.append((words, dense, hits))

    with ThreadPoolExecutor(8) as pool:
        watchers = [pool.submit(watch) for _ in range(8)]
        for _ in range(60):
            pipeline.add(pair)
            time.sleep(0.002)
            pipeline.delete(["left", "right"])
        stop.set()
        for watcher in watchers:
            watcher.result()
    assert wrong == []


def test_many_searches_at_once_from_threads_and_tasks(pipeline):
    expected = told(pipeline.search(QUESTION))

    async def burst():
        return await asyncio.gather(*(pipeline.asearch(QUESTION) for _ in range(200)))

    with ThreadPoolExecutor(32) as pool:
        results = [future.result() for future in [pool.submit(pipeline.search, QUESTION) for _ in range(200)]]
    assert all(told(result) == expected for result in [*results, *asyncio.run(burst())])


def test_a_cancelled_search_leaves_the_pipeline_usable(arms):
    started, release = threading.Event(), threading.Event()

    class Slow(NgramEmbedder):
        def embed(self, texts, *, role):
            if role == "query" and texts == ["slow"]:
                started.set()
                release.wait(timeout=20)
            return super().embed(texts, role=role)

    pipeline = Pipeline.build(TOPICS, retrievers={**arms, "dense": Faiss(embedder=Slow())}, reranker=None)

    async def main():
        search = asyncio.create_task(pipeline.asearch("slow"))
        while not started.is_set():
            await asyncio.sleep(0.001)
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
        release.set()

    asyncio.run(main())
    pipeline.add([Document("new", "fresh soil")])  # waits for the abandoned search to let go
    assert "new" in ids(pipeline.search("fresh soil"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 warns of just what is tested
def test_a_forked_child_searches_with_threads_of_its_own(pipeline):
    expected = ids(pipeline.search(QUESTION))  # starts the parent's threads
    child = os.fork()
    if child == 0:
        os._exit(0 if ids(pipeline.search(QUESTION)) == expected else 1)
    for _ in range(400):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child waits for threads that it does not have")
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_collection_is_a_document_store(pipeline):
    collection = MemoryCollection({name: arm.create_index() for name, arm in pipeline.config.retrievers.items()})
    assert isinstance(collection, DocumentStore)
    collection.add(TOPICS)
    assert list(collection) == [document.id for document in TOPICS]
