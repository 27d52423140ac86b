"""A search that is cancelled wherever it waits leaves no trace, and the next one is right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import AsyncElsewhere, AsyncSharedWords, SharedWords

from hybridrank import Document, Pipeline
from hybridrank.errors import OverloadedError
from hybridrank.rerank import Cached, Cascade, Fallback
from hybridrank.retrieval import BM25

DOCUMENTS = [Document(f"d{n:02}", f"waste number {n}, and soil") for n in range(12)]
BOUND = 60.0  # seconds


class Native(AsyncSharedWords):
    identity = "native"
    pointwise = True


class InThread(SharedWords):
    identity = "in a thread"
    pointwise = True


AROUND: dict[str, Callable[[Any, Path], Any]] = {
    "plain": lambda member, path: member,
    "fallback": lambda member, path: Fallback(rerankers=[member], failure_threshold=1),
    "cascade": lambda member, path: Cascade(stages=[member, AsyncSharedWords()], keep=[3]),
    "cached": lambda member, path: Cached(reranker=member, path=str(path)),
    "fallback of cached": lambda member, path: Fallback(rerankers=[Cached(reranker=member, path=str(path))]),
}


@pytest.mark.parametrize("deadline", [None, BOUND])
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("member", [Native, InThread])
def test_cancelled_at_each_of_its_turns(member, around, deadline, tmp_path):
    async def every_turn() -> int:
        reranker = AROUND[around](member(), tmp_path / "first")
        arms = {"bm25": BM25(), "far": AsyncElsewhere(DOCUMENTS)}
        pipeline = Pipeline.build(DOCUMENTS, retrievers=arms, reranker=reranker, max_searches=1)
        expected = [hit.document.id for hit in (await pipeline.asearch("waste soil")).hits]
        late = 0
        for turns in range(1000):
            reranker = AROUND[around](member(), tmp_path / str(turns))  # nothing is cached yet
            pipeline = pipeline.replace(reranker=reranker)
            search = asyncio.create_task(pipeline.asearch("waste soil", deadline=deadline))
            for _ in range(turns):
                await asyncio.sleep(0.001 if turns > 20 else 0)  # then what works in threads gets on, too
            early = search.cancel()
            await asyncio.gather(search, return_exceptions=True)
            assert search.cancelled() is early
            async with asyncio.timeout(BOUND):
                while len(asyncio.all_tasks()) > 1:  # what was cancelled with it comes to its end
                    await asyncio.sleep(0)
                result = await pipeline.asearch(
                    "waste soil", deadline=deadline
                )  # there is room: max_searches is 1
            assert result.degraded == {}
            assert [hit.document.id for hit in result.hits] == expected
            assert "circuit" not in result.trace.stage("rerank").details  # no circuit is open
            late += not early
            if late == 2:
                return turns
        raise AssertionError("it never ended")

    assert asyncio.run(every_turn()) > 5


def test_refused_failed_and_cancelled_searches_give_their_room_back():
    class Held(AsyncSharedWords):
        entered = 0

        async def ascore(self, batch: Any) -> Any:
            Held.entered += 1
            await asyncio.Event().wait()

    async def run() -> None:
        pipeline = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=Held(), max_searches=2)
        for _ in range(3):
            Held.entered = 0
            held = [asyncio.create_task(pipeline.asearch("waste")) for _ in range(2)]
            async with asyncio.timeout(BOUND):
                while Held.entered < 2:
                    await asyncio.sleep(0)
            for _ in range(10):
                with pytest.raises(OverloadedError, match="max_searches is 2"):
                    await pipeline.asearch("waste")
            for each in held:
                each.cancel()
            await asyncio.gather(*held, return_exceptions=True)
            for wrong in (0, -1, True):
                with pytest.raises(ValueError, match="k must be"):
                    await pipeline.asearch("waste", k=wrong)
            with pytest.raises(ValueError, match="blank"):
                await pipeline.asearch(" ")

    asyncio.run(run())
