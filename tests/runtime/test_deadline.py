"""Searches under a deadline: what is late is abandoned, what fits is done, and nothing is silent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from support import TOPICS, NgramEmbedder

from hybridrank import Candidates, Document, Pipeline, Query, Ranking
from hybridrank.errors import BackendTimeoutError, BackendUnavailableError, InputError, OverloadedError
from hybridrank.retrieval import BM25, Faiss
from hybridrank.runtime.deadline import check, limited, remaining

QUESTION = "How to process organic waste?"
MANY = [Document(f"d{number:02}", f"waste number {number} " + "of soil " * 10) for number in range(40)]


class Waiting:
    """A part that responds when released, and not before."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Semaphore(0)
        self.calls = 0

    def wait(self) -> None:
        self.calls += 1
        self.entered.release()
        self.go.wait()

    def score(self, batch: Sequence[Candidates]) -> list[list[float]]:
        self.wait()
        return [[0.0] * len(candidates) for candidates in batch]

    def retrieve(self, queries: Sequence[Query], *, k: int) -> list[Ranking]:
        self.wait()
        return [Ranking(("d00",), (1.0,))] * len(queries)


class Slow:
    """A pointwise reranker that takes its time for each document, and prefers later ones."""

    pointwise = True

    def __init__(self, seconds: float, *, fail_at: int | None = None) -> None:
        self.seconds = seconds
        self.fail_at = fail_at
        self.seen: list[list[str]] = []

    def score(self, batch: Sequence[Candidates]) -> list[list[float]]:
        for candidates in batch:
            self.seen.append([document.id for document in candidates.documents])
            time.sleep(self.seconds * len(candidates))
        if self.fail_at is not None and len(self.seen) > self.fail_at:
            raise BackendUnavailableError("gone")
        return [[float(document.id[1:]) for document in candidates.documents] for candidates in batch]


class Whole(Slow):
    """One whose scores of two calls would not compare."""

    pointwise = False


class Stopped:
    """An async reranker that waits forever, and tells how it ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.entered = asyncio.Event()

    def score(self, batch: Sequence[Candidates]) -> list[list[float]]:
        raise AssertionError("the async way is the one to take")

    async def ascore(self, batch: Sequence[Candidates]) -> list[list[float]]:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        raise AssertionError


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    part = Waiting()
    yield part
    part.go.set()


@pytest.fixture
def build() -> Iterator[Callable[..., Pipeline]]:
    def make(documents: Sequence[Document] = MANY, **options) -> Pipeline:
        arms = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder(dim=64))}
        return Pipeline.build(documents, **{"retrievers": arms, "rerank_k": 40, "blend": 0, **options})

    yield make
    for thread in threading.enumerate():  # what was abandoned has come to its end
        if thread.name == "hybridrank-abandoned":
            thread.join(10)
            assert not thread.is_alive()


def fused(pipeline: Pipeline) -> list[str]:
    return [hit.document.id for hit in pipeline.replace(reranker=None).search("waste", k=40).hits]


def test_a_deadline_is_shared_by_what_runs_inside():
    assert remaining() is None
    check("nobody")
    with limited(10), limited(100), limited(None):
        assert 9 < remaining() <= 10
        with limited(1e-9):
            time.sleep(0.001)
            assert remaining() == 0.0
            with pytest.raises(BackendTimeoutError, match="the model: the deadline"):
                check("the model")
    assert remaining() is None


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), float("inf"), "1", True])
def test_a_deadline_is_a_positive_number(build, deadline):
    with pytest.raises(InputError, match="deadline must be a positive number"):
        build(TOPICS, reranker=None).search(QUESTION, deadline=deadline)


def test_with_time_enough_the_answer_is_the_same(build):
    pipeline = build(reranker=Slow(0))
    without, within = pipeline.search("waste", k=40), pipeline.search("waste", k=40, deadline=60)
    assert within.degraded == {}
    assert [(h.document.id, h.score, h.scored_by) for h in within.hits] == [
        (h.document.id, h.score, h.scored_by) for h in without.hits
    ]
    assert within.trace.stage("rerank").details == without.trace.stage("rerank").details


def test_a_hanging_reranker_is_left_behind(build, waiting):
    pipeline = build(reranker=waiting)
    result = pipeline.search("waste", k=40, deadline=0.2)
    assert [hit.document.id for hit in result.hits] == fused(pipeline)
    assert result.degraded == {"rerank": "deadline: reranked 0 of 40"}
    assert ", deadline: reranked 0 of 40" in result.explain()
    assert "FAILED" not in result.explain()
    used = pipeline.usage()
    assert (used["searches"], used["failures"], used["shortened"]) == (1, 0, 1)


def test_even_where_a_failure_is_to_be_raised_being_late_is_none(build, waiting):
    assert len(build(reranker=waiting, on_rerank_error="raise").search("waste", deadline=0.2).hits) == 10


def test_calls_left_behind_do_not_pile_up(build, waiting):
    pipeline = build(reranker=waiting)
    while waiting.calls < 4:  # it is tried again, now and then, though it seemed too slow
        assert len(pipeline.search("waste", deadline=0.2).hits) == 10
    said = set()
    for _ in range(4):
        result = pipeline.search("waste", deadline=0.5)
        said.add(result.degraded["rerank"])
        assert len(result.hits) == 10
    assert waiting.calls == 4
    assert any("4 abandoned calls are still running" in each for each in said)
    waiting.go.set()
    while pipeline.search("waste", deadline=60).degraded:  # until they have come to their ends
        pass


@pytest.mark.parametrize("make", [Slow, Whole])
def test_as_many_as_fit_are_reranked_the_first_ones_first(build, make):
    pipeline = build(reranker=make(0.03))
    pipeline.warm_up()
    assert pipeline.config.reranker.seen  # it has been learned from
    del pipeline.config.reranker.seen[:]
    order = fused(pipeline)
    result = pipeline.search("waste", k=40, deadline=0.8)
    stage = result.trace.stage("rerank")
    count = len(stage.ids)
    assert 0 < count < 40
    assert result.degraded == {"rerank": f"deadline: reranked {count} of 40"}
    assert set(stage.ids) == set(order[:count])
    assert [hit.document.id for hit in result.hits] == [*sorted(order[:count], reverse=True), *order[count:]]
    seen = pipeline.config.reranker.seen
    assert [doc_id for part in seen for doc_id in part][:count] == order[:count]
    assert len(seen) == 1 if make is Whole else len(seen) > 1


def test_what_was_reranked_before_a_failure_is_kept(build):
    pipeline = build(reranker=Slow(0.001, fail_at=3))
    for _ in range(3):
        pipeline.search("waste", deadline=60)
    result = pipeline.search("waste", k=40, deadline=60)
    assert "BackendUnavailableError: gone" in result.degraded["rerank"]
    assert len(result.hits) == 40


@pytest.mark.parametrize("deadline", [1.0, 1e-9])
def test_an_arm_that_hangs_is_left_behind(build, waiting, deadline, caplog):
    arms = {"bm25": BM25(), "far": waiting}
    pipeline = build(retrievers=arms, reranker=None)
    result = pipeline.search("waste", deadline=deadline)
    assert "abandoned at the deadline" in result.degraded["far"]
    assert not caplog.records  # the deadline was too short: nothing has failed
    if deadline == 1.0:
        assert list(result.degraded) == ["far"]
        assert len(result.hits) == 10


def test_a_local_arm_that_hangs_is_left_behind_and_its_state_is_held(build, waiting):
    class Hanging(BM25):
        use = "hanging"

        def create_index(self):
            index = super().create_index()
            retrieve = index.retrieve

            class Index(type(index)):
                def retrieve(self, queries, *, k):
                    waiting.wait()
                    return retrieve(queries, k=k)

            index.__class__ = Index
            return index

    pipeline = build(retrievers={"bm25": BM25(), "hanging": Hanging()}, reranker=None)
    result = pipeline.search("waste", deadline=0.3)
    assert len(result.hits) == 10
    assert list(result.degraded) == ["hanging"]
    adding = threading.Thread(target=pipeline.add, args=[[Document("new", "waste")]])
    adding.start()
    adding.join(0.2)
    assert adding.is_alive()  # the arm still reads
    waiting.go.set()
    adding.join(10)
    assert not adding.is_alive()
    assert "new" in pipeline.collection


def test_no_time_at_all_gives_an_empty_result_that_says_so(build):
    result = build(reranker=Slow(0)).search("waste", deadline=1e-9)
    assert len(result.hits) in (0, 10)
    assert result.degraded


def test_async_the_reranker_is_cancelled_at_the_deadline(build):
    async def run():
        reranker = Stopped()
        result = await build(reranker=reranker).asearch("waste", deadline=0.2)
        assert result.degraded == {"rerank": "deadline: reranked 0 of 40"}
        assert reranker.ended == ["cancelled"]
        assert len(result.hits) == 10

    asyncio.run(run())


def test_async_threads_are_left_behind_too(build, waiting):
    async def run():
        result = await build(reranker=waiting).asearch("waste", deadline=0.2)
        assert result.degraded == {"rerank": "deadline: reranked 0 of 40"}
        waiting.go.set()

    asyncio.run(run())


def test_a_search_that_is_cancelled_cancels_its_reranker(build):
    async def run():
        reranker = Stopped()
        pipeline = build(reranker=reranker)
        for deadline in (None, 60):
            reranker.entered.clear()
            search = asyncio.create_task(pipeline.asearch("waste", deadline=deadline))
            await reranker.entered.wait()
            search.cancel()
            with pytest.raises(asyncio.CancelledError):
                await search
        assert reranker.ended == ["cancelled"] * 2

    asyncio.run(run())


def test_more_searches_than_are_allowed_are_refused(build):
    async def run():
        reranker = Stopped()
        pipeline = build(reranker=reranker, max_searches=3)
        searches = [asyncio.create_task(pipeline.asearch("waste")) for _ in range(3)]
        await reranker.entered.wait()
        with pytest.raises(OverloadedError, match="max_searches is 3"):
            await pipeline.asearch("waste")
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)
        assert len((await pipeline.replace(reranker=None).asearch("waste")).hits) == 10
        assert (await pipeline.asearch("waste", deadline=0.2)).degraded  # and there is room again

    asyncio.run(run())
