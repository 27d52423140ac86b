"""A pipeline around a service that misbehaves: the fused order, which says so, and nowhere the key."""

from __future__ import annotations

import asyncio
import logging
import traceback
from pathlib import Path

import pytest
from hybridrank_cohere.testing import FAULTS, RerankServer

from hybridrank import Document, Pipeline
from hybridrank.errors import BackendError
from hybridrank.rerank import Cached, Fallback
from hybridrank.retrieval import BM25

DOCUMENTS = [Document(f"d{n}", f"waste number {n}") for n in range(4)]
AROUND = {
    "plain": lambda reranker, folder: reranker,
    "fallback": lambda reranker, folder: Fallback(rerankers=[reranker], failure_threshold=100),
    "cached": lambda reranker, folder: Cached(reranker=reranker, path=str(folder)),
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_failure_shows_the_key(fault, around, make, server, tmp_path, caplog):
    key = server.key
    server.fault = fault
    reranker = AROUND[around](make(retries=0, timeout=0.3), tmp_path)
    pipeline = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=reranker)
    said = [repr(pipeline.config), repr(reranker)]
    with caplog.at_level(logging.DEBUG):
        for result in (pipeline.search("waste"), asyncio.run(pipeline.asearch("waste", deadline=10.0))):
            assert set(result.degraded) == {"rerank"}
            assert [hit.document.id for hit in result.hits] == ["d0", "d1", "d2", "d3"]
            said += [result.trace.to_json(), result.explain(), repr(result)]
        with pytest.raises(BackendError) as caught:
            pipeline.replace(on_rerank_error="raise").search("waste")
    said += traceback.format_exception(caught.value)
    # at DEBUG httpcore logs the headers of answers, and so the key of a server that echoes it: that is not ours
    said += [record.getMessage() for record in caplog.records if record.name.startswith("hybridrank")]
    assert key not in "\n".join(map(str, said))


def test_a_server_that_dies_while_it_answers(make, monkeypatch):
    monkeypatch.setenv("CO_API_KEY", "a-key")
    with RerankServer(key="a-key") as dying:
        reranker = make(base_url=dying.url, retries=0, timeout=20.0)
        pipeline = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=reranker)
        assert pipeline.search("waste").degraded == {}
        dying.fault = "hang up"
        assert set(pipeline.search("waste").degraded) == {"rerank"}
    assert set(pipeline.search("waste").degraded) == {"rerank"}


def test_a_damaged_cache_costs_a_search_nothing(make, server, tmp_path: Path):
    folder = tmp_path / "scores"

    def search() -> tuple[list[tuple[str, float]], dict[str, object]]:
        reranker = Cached(reranker=make(), path=str(folder))
        result = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=reranker).search("waste")
        assert result.degraded == {}
        return [(h.document.id, h.score) for h in result.hits], dict(result.trace.stage("rerank").details)

    expected, _ = search()
    (file,) = folder.glob("*.sqlite3")
    for rest in folder.glob("*.sqlite3-*"):
        rest.unlink()
    file.write_bytes(b"no database" * 1000)
    hits, details = search()
    assert hits == expected
    assert "damaged" in str(details["cache_error"])
    hits, details = search()
    assert hits == expected
    assert "cache_error" not in details or details["cache_misses"]
    assert len(server.received) >= 2


def test_cancelled_anywhere_a_search_gives_its_slot_back(make, server):
    reranker = make(concurrency=1, timeout=20.0)
    pipeline = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=reranker, max_searches=1)

    async def every_turn() -> None:
        for turns in range(40):
            search = asyncio.create_task(pipeline.asearch("waste", deadline=60.0 if turns % 2 else None))
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            search.cancel()
            await asyncio.gather(search, return_exceptions=True)
            async with asyncio.timeout(20.0):
                assert (await pipeline.asearch("waste")).degraded == {}
                while len(asyncio.all_tasks()) > 1:
                    await asyncio.sleep(0)

    asyncio.run(every_turn())
    assert server.peak <= 1 + 1  # one that was left, and the server has not noticed yet
