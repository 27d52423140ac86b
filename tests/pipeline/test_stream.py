"""Streaming: results as they improve, the last of them the one that `search` gives."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest
from support import TOPICS, AsyncSharedWords, SharedWords

from hybridrank import Candidates, Document, Pipeline, SearchResult
from hybridrank.adjust import Recency
from hybridrank.errors import BackendError, InputError, OverloadedError
from hybridrank.rerank import EarlyStopping
from hybridrank.retrieval import BM25
from hybridrank.runtime.deadline import remaining

QUESTION = "composting organic waste"


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline.build(TOPICS, retrievers={"bm25": BM25()}, reranker=SharedWords())


def ids(result: SearchResult) -> list[str]:
    return [hit.document.id for hit in result.hits]


def kinds(result: SearchResult) -> list[str]:
    return [stage.kind for stage in result.trace.stages]


async def collected(results) -> list[SearchResult]:
    return [result async for result in results]


def both_ways(pipeline: Pipeline, *args, **kwargs) -> list[list[SearchResult]]:
    return [
        list(pipeline.stream(*args, **kwargs)),
        asyncio.run(collected(pipeline.astream(*args, **kwargs))),
    ]


def test_the_fused_order_comes_first_and_the_result_of_a_search_last(pipeline):
    expected = pipeline.search(QUESTION)
    for results in both_ways(pipeline, QUESTION):
        assert kinds(results[0]) == ["retrieve", "fuse"]
        assert ids(results[0]) == list(expected.trace.stage("fusion").ids)
        assert results[-1].hits == expected.hits
        assert kinds(results[-1]) == kinds(expected)


def test_every_adjuster_refines(pipeline):
    adjusted = pipeline.replace(adjust=[Recency(field="year", half_life=365)])
    for results in both_ways(adjusted, QUESTION):
        assert [kinds(result)[-1] for result in results] == ["fuse", "rerank", "adjust"]
        assert ids(results[-1]) == ids(adjusted.search(QUESTION))


def test_without_a_reranker_there_is_one_result(pipeline):
    for results in both_ways(pipeline.replace(reranker=None), QUESTION):
        assert len(results) == 1
        assert results[0].hits == pipeline.search(QUESTION, reranker=None).hits


def test_each_call_of_the_reranker_refines():
    class LastIsBest:
        pointwise = True

        def score(self, batch: Sequence[Candidates]) -> list[list[float]]:
            return [[float(document.id[1:]) for document in each.documents] for each in batch]

    documents = [Document(f"d{n:02}", "organic waste") for n in range(30)]
    pipeline = Pipeline.build(
        documents,
        retrievers={"bm25": BM25()},
        reranker=LastIsBest(),
        rerank_k=30,
        stop=EarlyStopping(patience=2, step=4),
    )
    for results in both_ways(pipeline, "organic waste", k=3):
        read = [len(result.trace.stage("rerank").ids) for result in results[1:]]
        assert read == [5, 9, 13, 17, 21, 25, 29, 30]
        assert [result.hits[0].document.id for result in results] == ["d00", *(f"d{n - 1:02}" for n in read)]
        assert results[-1].hits == pipeline.search("organic waste", k=3).hits


def test_min_score_and_per_document_are_those_of_a_search(pipeline):
    for results in both_ways(pipeline, QUESTION, min_score=0.6, per_document=True):
        assert len(results[0].hits) > len(results[-1].hits)
        assert results[-1].hits == pipeline.search(QUESTION, min_score=0.6, per_document=True).hits


def test_wrong_arguments_are_refused_before_the_first_result(pipeline):
    with pytest.raises(InputError, match="k must be"):
        pipeline.stream(QUESTION, k=0)
    with pytest.raises(InputError, match="deadline"):
        pipeline.astream(QUESTION, deadline=-1)


class Hanging:
    """Waits until it is released."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.left: list[float | None] = []

    def score(self, batch: Sequence[Candidates]) -> list[list[float]]:
        self.left.append(remaining())
        self.go.wait(60)
        return [[0.0] * len(each) for each in batch]


def test_the_first_result_does_not_wait_for_the_reranker(pipeline):
    hanging = Hanging()
    results = pipeline.stream(QUESTION, reranker=hanging)
    assert kinds(next(results)) == ["retrieve", "fuse"]
    hanging.go.set()
    assert "rerank" in kinds(next(results))


def test_a_deadline_is_the_streams_own_and_not_the_consumers(pipeline):
    hanging = Hanging()
    results = pipeline.stream(QUESTION, reranker=hanging, deadline=0.3)
    next(results)
    assert remaining() is None
    last = list(results)[-1]
    hanging.go.set()
    assert "rerank" in last.degraded
    assert hanging.left[0] <= 0.3
    assert remaining() is None


def test_a_consumer_that_stops_ends_the_search(pipeline):
    limited = pipeline.replace(max_searches=1)
    hanging = Hanging()
    for _ in limited.stream(QUESTION, reranker=hanging):
        break  # the generator is closed with the loop
    hanging.go.set()
    assert limited.search(QUESTION).hits

    async def leaves() -> None:
        results = limited.astream(QUESTION, reranker=AsyncSharedWords())
        await anext(results)
        await results.aclose()
        assert (await limited.asearch(QUESTION)).hits

    asyncio.run(leaves())


def test_streams_count_as_searches(pipeline):
    limited = pipeline.replace(max_searches=1)
    results = limited.stream(QUESTION)
    next(results)
    with pytest.raises(OverloadedError):
        limited.search(QUESTION)
    results.close()
    assert limited.search(QUESTION).hits


def test_what_a_search_raises_a_stream_raises_too(pipeline):
    class Failing:
        def score(self, batch):
            raise BackendError("no")

    results = pipeline.stream(QUESTION, reranker=Failing(), on_rerank_error="raise")
    next(results)
    with pytest.raises(BackendError, match="no"):
        next(results)


def test_an_async_stream_leaves_the_event_loop_free(pipeline):
    class Slow(SharedWords):
        def score(self, batch):
            time.sleep(0.2)
            return super().score(batch)

    async def count() -> int:
        ticks = 0
        streaming = asyncio.create_task(collected(pipeline.astream(QUESTION, reranker=Slow())))
        while not streaming.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(count()) > 3
