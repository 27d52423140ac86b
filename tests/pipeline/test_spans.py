"""Spans of a reranker reach the trace and the hits, however the search is made."""

from __future__ import annotations

import asyncio

import pytest
from support import TOPICS

from hybridrank import Document, Pipeline, Trace
from hybridrank.rerank import Cached, CrossEncoder
from hybridrank.retrieval import BM25

FILLER = "Stock markets fell sharply on Monday as investors worried about interest rates. "
ANSWER = "Organic waste can be composted to create nutrient-rich soil."
LONG = Document("long", FILLER * 20 + ANSWER + " " + FILLER * 5, title="Markets and compost")
QUERY = "How to process organic waste?"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    reranker = Cached(reranker=CrossEncoder(max_tokens=64), path=str(tmp_path_factory.mktemp("scores")))
    return Pipeline.build([LONG, *TOPICS], retrievers={"bm25": BM25()}, reranker=reranker, blend=0.0)


def _search(pipeline, way):
    if way == "asearch":
        return asyncio.run(pipeline.asearch(QUERY, k=10))
    if way == "search_many":
        return pipeline.search_many([QUERY], k=10)[0]
    return pipeline.search(QUERY, k=10, **({"deadline": 60.0} if way == "deadline" else {}))


@pytest.mark.parametrize("way", ["search", "asearch", "search_many", "deadline"])
def test_spans_reach_the_trace_and_the_hits(pipeline, way):
    result = _search(pipeline, way)
    (hit,) = (hit for hit in result if hit.id == "long")
    (span,) = hit.spans
    assert ANSWER in hit.text[span.start : span.end]
    assert result.trace.stage("rerank").spans == {"long": (span,)}
    assert all(other.spans == () for other in result if other.id != "long")
    again = Trace.from_json(result.trace.to_json())
    assert again.stage("rerank").spans == {"long": (span,)}
    (shown,) = (each for each in result.to_dict()["hits"] if each["id"] == "long")
    assert shown["spans"] == [{"start": span.start, "end": span.end, "score": span.score}]
