"""Observers are notified of stages, searches and errors, and change nothing."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import TOPICS, Broken, NgramEmbedder, SharedWords

from hybridrank import Pipeline
from hybridrank.errors import BackendError, InputError
from hybridrank.retrieval import BM25, Faiss


class Notes:
    def __init__(self) -> None:
        self.stages: list[tuple[str, str]] = []
        self.searches: list[tuple[str, float]] = []
        self.errors: list[tuple[list[str], str]] = []

    def on_stage(self, query, stage) -> None:
        self.stages.append((query.text, stage.name))

    def on_search(self, query, result) -> None:
        self.searches.append((query.text, result.trace.seconds))

    def on_error(self, queries, error) -> None:
        self.errors.append(([query.text for query in queries], str(error)))


@pytest.fixture
def pipeline() -> Pipeline:
    arms = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}
    return Pipeline.build(TOPICS, retrievers=arms, reranker=SharedWords())


def test_every_stage_and_search_is_told_once(pipeline):
    notes = Notes()
    pipeline.observe(notes)
    result = pipeline.search("organic waste")
    assert notes.stages == [("organic waste", stage.name) for stage in result.trace.stages]
    assert notes.searches == [("organic waste", result.trace.seconds)]
    assert notes.errors == []


@pytest.mark.parametrize("search", ["search_many", "asearch_many", "stream", "asearch"])
def test_every_way_to_search_is_observed(pipeline, search):
    notes = Notes()
    pipeline.replace(reranker=None).observe(notes)  # what is made from a pipeline shares its observers
    asked = ["organic waste", "soil"] if search.endswith("many") else ["organic waste"]
    given = asked if search.endswith("many") else asked[0]
    if search.startswith("a"):
        asyncio.run(getattr(pipeline, search)(given))
    else:
        list(getattr(pipeline, search)(given))
    assert [text for text, _ in notes.searches] == asked
    assert {name for _, name in notes.stages} >= {"bm25", "dense", "fusion", "rerank"}


def test_errors_are_told_and_raised(pipeline):
    notes = Notes()
    pipeline.observe(notes)
    with pytest.raises(BackendError):
        pipeline.search("soil", reranker=Broken(BackendError("down")), on_rerank_error="raise")
    assert notes.errors == [(["soil"], "down")]
    assert notes.searches == []
    assert "bm25" in [name for _, name in notes.stages]


def test_what_an_observer_raises_changes_no_search(pipeline, caplog):
    class Failing:
        def on_search(self, query, result) -> None:
            raise RuntimeError("the collector is gone")

    expected = pipeline.search("soil").hits
    pipeline.observe(Failing())
    with caplog.at_level(logging.WARNING, logger="hybridrank"):
        assert pipeline.search("soil").hits == expected
    assert "an observer's on_search failed: " in caplog.text
    assert "the collector is gone" in caplog.text


def test_what_observes_nothing_is_refused(pipeline):
    for wrong in (object(), Notes, None, print):
        with pytest.raises(InputError, match="is no observer"):
            pipeline.observe(wrong)


def test_the_trace_has_what_spans_are_made_of(pipeline):
    trace = pipeline.search("organic waste").trace
    assert trace.version == 2
    for stage in trace.stages:
        assert stage.start is not None
        assert stage.start >= 0
        assert stage.start + stage.seconds <= trace.seconds + 1e-6
    order = [stage.start for stage in trace.stages if stage.kind != "retrieve"]
    assert order == sorted(order)
    fusion = trace.stage("fusion")
    for arm in ("bm25", "dense"):
        assert trace.stage(arm).start <= fusion.start


def test_observers_that_are_added_at_once_are_all_told(pipeline):
    notes = [Notes() for _ in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pipeline.observe, notes))
    pipeline.search("soil")
    assert all(len(each.searches) == 1 for each in notes)


def test_an_observer_may_search(pipeline):
    class Asks:
        def __init__(self) -> None:
            self.found: list[str] = []

        def on_search(self, query, result) -> None:
            if query.text == "soil":
                self.found.append(pipeline.search("nuclear")[0].id)

    asks = Asks()
    pipeline.observe(asks)
    assert pipeline.search("soil").hits
    assert asks.found == ["nuclear"]
