"""Every sync method has an async one, with the same arguments and answers."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from support import TOPICS, AsyncSharedWords, NgramEmbedder, SharedWords

from hybridrank import Document, Pipeline
from hybridrank.errors import ConfigError, InputError, OverloadedError
from hybridrank.retrieval import BM25, Faiss

QUESTIONS = ["composting organic waste", "nuclear", "soil"]


class Pointwise(AsyncSharedWords):
    pointwise = True


@pytest.fixture(params=["memory", "disk"])
def pipeline(request, tmp_path):
    arms = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}
    path = tmp_path / "index" if request.param == "disk" else None
    with Pipeline.build(TOPICS, path=path, retrievers=arms, reranker=AsyncSharedWords()) as built:
        yield built


def test_async_methods_answer_as_the_others(pipeline):
    async def run():
        async with pipeline as same:
            assert same is pipeline
            await pipeline.awarm_up()
            results = await pipeline.asearch_many(QUESTIONS, k=3, filters={"year": {"$exists": False}})
            expected = pipeline.search_many(QUESTIONS, k=3, filters={"year": {"$exists": False}})
            assert [result.hits for result in results] == [result.hits for result in expected]
            assert await pipeline.aadd([Document("new", "brand new words")]) == 1
            assert (await pipeline.asearch("brand new words")).hits[0].document.id == "new"
            assert await pipeline.adelete(["new", "none"]) == 1
            assert await pipeline.adelete(filters={"year": 2021}) == 1
            with pytest.raises(InputError, match="asearch_many takes several queries; use asearch"):
                await pipeline.asearch_many("soil")

    asyncio.run(run())


def test_writing_leaves_the_event_loop_free(pipeline):
    async def run() -> int:
        documents = [Document(f"n{n}", f"words of number {n}") for n in range(300)]
        adding = asyncio.create_task(pipeline.aadd(documents))
        ticks = 0
        while not adding.done():
            await asyncio.sleep(0)
            ticks += 1
        assert await adding == 300
        return ticks

    assert asyncio.run(run()) > 1


@pytest.mark.parametrize("reranker", [Pointwise(), SharedWords()])
def test_a_deadline_is_for_all_queries_together(pipeline, reranker):
    results = pipeline.search_many(QUESTIONS, deadline=30.0, reranker=reranker)
    expected = pipeline.search_many(QUESTIONS, reranker=reranker)
    assert [result.hits for result in results] == [result.hits for result in expected]
    assert all(not result.degraded for result in results)


def test_queries_get_equal_depths_where_time_is_short(pipeline):
    class Slow(Pointwise):
        def score(self, batch):
            time.sleep(0.05 * sum(map(len, batch)))
            return SharedWords.score(self, batch)

        ascore = None

    shortened = pipeline.search_many(["waste", "waste soil", "organic waste"], deadline=1.0, reranker=Slow())
    depths = [len(stage.ids) for result in shortened for stage in result.trace.stages if stage.kind == "rerank"]
    assert max(depths) - min(depths) <= 1


def test_a_late_batch_is_in_fused_order_and_says_so(pipeline):
    class Hanging:
        def __init__(self) -> None:
            self.go = threading.Event()

        def score(self, batch):
            self.go.wait(60)
            return [[0.0] * len(each) for each in batch]

    hanging = Hanging()
    results = pipeline.search_many(QUESTIONS, deadline=0.3, reranker=hanging)
    hanging.go.set()
    for result in results:
        assert result.degraded["rerank"].startswith("deadline: reranked 0 of ")
        assert [hit.document.id for hit in result.hits] == list(result.trace.stage("fusion").ids)[:10]


def test_max_searches_is_for_all_ways_to_search(pipeline):
    inside, go = threading.Event(), threading.Event()

    class Hanging(SharedWords):
        def score(self, batch):
            inside.set()
            go.wait(60)
            return super().score(batch)

    limited = pipeline.replace(reranker=Hanging(), max_searches=1)
    searching = threading.Thread(target=lambda: limited.search("soil"))
    searching.start()
    assert inside.wait(60)
    try:
        for search in (limited.search, limited.search_many):
            with pytest.raises(OverloadedError, match="max_searches is 1"):
                search(["soil"] if search == limited.search_many else "soil")
        for asearch in (limited.asearch, limited.asearch_many):
            with pytest.raises(OverloadedError):
                asyncio.run(asearch(["soil"] if asearch == limited.asearch_many else "soil"))
    finally:
        go.set()
        searching.join(60)
    assert limited.search("soil").hits


def test_a_search_may_override_everything_that_needs_no_other_index(pipeline):
    result = pipeline.search("waste", reranker=None, fetch_k=3, fusion={"use": "rrf", "k": 1})
    same = pipeline.replace(reranker=None, fetch_k=3, fusion={"use": "rrf", "k": 1}).search("waste")
    assert result.hits == same.hits
    assert result.trace.fetch_k == 10
    assert len(pipeline.search("waste", k=2, rerank_k=2).trace.stage("rerank").ids) == 2
    for wrong, path in (
        ({"retrievers": {"bm25": "bm25"}}, r"\$\.retrievers"),
        ({"max_searches": 3}, r"\$\.max_searches"),
        ({"reranker": "no-such"}, r"\$\.reranker"),
        ({"rerank": None}, r"\$\.rerank: .*did you mean \"reranker\""),
    ):
        with pytest.raises(ConfigError, match=path):
            pipeline.search("waste", **wrong)


def test_overrides_count_in_the_same_usage(pipeline):
    before = pipeline.usage()["searches"]
    pipeline.search("waste", rerank_k=2)
    pipeline.search("waste")
    assert pipeline.usage()["searches"] == before + 2
