"""A search whose score cache stands on a full disk is a search without a cache."""

from __future__ import annotations

from pathlib import Path

from support import SharedWords, mounted

from hybridrank import Document, Pipeline
from hybridrank.rerank import Cached
from hybridrank.retrieval import BM25

DOCUMENTS = [Document(f"d{n:03}", f"waste number {n}, and soil") for n in range(60)]


class Known(SharedWords):
    identity = "known"
    pointwise = True


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def test_results_are_the_same_and_the_trace_says_why_nothing_is_kept(tmp_path):
    with mounted(tmp_path / "disk", 1) as disk:
        bare = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=Known(), rerank_k=50)
        cached = bare.replace(reranker=Cached(reranker=Known(), path=str(disk / "scores")))
        assert cached.search("soil number 1").degraded == {}
        fill(disk)
        problems = []
        for number in range(2, 60):
            query = f"waste number {number}"
            result, expected = cached.search(query, deadline=60.0), bare.search(query)
            assert result.degraded == {}  # the reranker has answered
            assert [(hit.document.id, hit.score) for hit in result.hits] == [
                (hit.document.id, hit.score) for hit in expected.hits
            ]
            problems.append(result.trace.stage("rerank").details.get("cache_error", ""))
        assert "full" in problems[-1]
        (disk / "filler").unlink()
        for _ in range(2):
            details = cached.search("waste number 59", deadline=60.0).trace.stage("rerank").details
        assert details["cache_hits"] == 50, details
        assert "cache_error" not in details
