"""A query or a document of a megabyte, read by the default cross-encoder under a deadline."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from hybridrank import Document, Pipeline
from hybridrank.rerank import CrossEncoder
from hybridrank.retrieval import BM25

DEADLINE = 2.0
BOUND = 6.0  # seconds, on a busy machine; without parts it took longer than the document has sentences
TEXTS = {"prose": "waste of soil and other matter " * 33_000, "one word": "waste " + "x" * 1_000_000}
SHORT = [Document(f"d{n}", f"waste number {n}") for n in range(6)]


@pytest.fixture(scope="module")
def reranker():
    reranker = CrossEncoder(max_windows=10**6)  # so that a long document takes long
    Pipeline.build(SHORT, retrievers={"bm25": BM25()}, reranker=reranker).search("waste")  # loads it
    return reranker


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("what", ["query", "document"])
@pytest.mark.parametrize("how", ["search", "asearch"])
def test_the_deadline_holds_and_is_said(how, what, text, reranker):
    documents = [*SHORT, Document("big", TEXTS[text])] if what == "document" else SHORT
    query = TEXTS[text] if what == "query" else "waste"
    pipeline = Pipeline.build(documents, retrievers={"bm25": BM25()}, reranker=reranker, splitter=None)
    before = threading.active_count()
    started = time.monotonic()
    if how == "search":
        result = pipeline.search(query, deadline=DEADLINE)
    else:
        result = asyncio.run(pipeline.asearch(query, deadline=DEADLINE))
    assert time.monotonic() - started < BOUND
    if (what, text) == ("document", "prose"):
        assert result.degraded  # it has more windows than there is time for
    ends = time.monotonic() + 30
    while any(thread.name.startswith("hybridrank-onnx") for thread in threading.enumerate()):
        assert time.monotonic() < ends, "what was abandoned reads on"
        time.sleep(0.05)
    assert threading.active_count() <= before + 8
