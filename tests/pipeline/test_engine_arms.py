"""Several arms of a real engine in one call: the same results as arm by arm, in fewer requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fts_engine import ARMS, FtsArm, FtsEngine, FtsMulti, FtsRetriever, loaded

from hybridrank import Document, Pipeline, Query, Ranking
from hybridrank.retrieval import BM25
from hybridrank.testing import Loaded, Tolerances, parametrize
from hybridrank.testing.samples import DOCUMENTS, QUERIES

ENGINE = FtsEngine()


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    with ENGINE, loaded(ENGINE.url, DOCUMENTS):
        yield


def arms(kind, **options):
    return {arm: kind(url=ENGINE.url, arm=arm, **options) for arm in ARMS}


def requests() -> int:
    return sum(path == "/search" for path, _ in ENGINE.requests)


def pipeline(retrievers) -> Pipeline:
    return Pipeline.build([], retrievers=retrievers, reranker=None)


def of(result):
    """All that a search found, by arm."""
    return [(stage.name, stage.ids, stage.scores) for stage in result.trace.stages], [hit.text for hit in result]


@pytest.mark.parametrize("filters", [None, {"year": {"$gte": 2000}}, {"tags": "plastic"}])
def test_one_call_gives_what_each_arm_gives(filters):
    one, together = pipeline(arms(FtsRetriever)), pipeline(arms(FtsArm))
    before = requests()
    expected = [of(result) for result in one.search_many(QUERIES, filters=filters)]
    between = requests()
    assert [of(result) for result in together.search_many(QUERIES, filters=filters)] == expected
    assert between - before >= len(ARMS) * len(QUERIES)
    assert requests() - between == 1
    assert [of(result) for result in asyncio.run(_asearch(together, filters))] == expected


async def _asearch(together, filters):
    return await together.asearch_many(QUERIES, filters=filters)


def test_local_arms_and_other_engines_are_asked_beside_it():
    with (
        FtsEngine() as other,
        loaded(other.url, [Document("other", "Organic waste elsewhere.")], arm="words") as arm,
    ):
        retrievers = {
            **arms(FtsArm),
            "other": FtsArm(url=other.url),
            "again": FtsArm(url=ENGINE.url),
            "bm25": BM25(),
        }
        both = Pipeline.build([Document("local", "organic")], retrievers=retrievers, reranker=None)
        before = requests()
        result = both.search("organic waste")
        assert requests() - before == 2  # "again" is the arm "words" a second time: a call of its own
        assert {"soil", "other", "local"} <= {hit.id for hit in result}
        assert arm.retrieve([Query("organic")], k=1)[0].ids == ("other",)


class WrongArm(FtsMulti):
    use = "wrong-arm"

    def retrieve_many(self, queries, *, k):
        return {**super().retrieve_many(queries, k=k), "trigrams": [Ranking(("a",), (float("nan"),))]}


class Down(FtsMulti):
    use = "down"

    def retrieve_many(self, queries, *, k):
        raise ConnectionError("no route")


class NotByArm(FtsMulti):
    use = "not-by-arm"

    def retrieve_many(self, queries, *, k):
        return [Ranking()]


def with_engine(kind):
    class Arm(FtsArm):
        use = "arm"

        @property
        def engine(self):
            return kind(url=self.url)

    return pipeline({**arms(Arm), "plain": FtsRetriever(url=ENGINE.url)})


@pytest.mark.parametrize(
    ("kind", "failed", "message"),
    [
        (WrongArm, {"trigrams"}, "finite"),
        (Down, {"words", "trigrams"}, "no route"),
        (NotByArm, {"words", "trigrams"}, "not rankings by arm"),
    ],
)
def test_a_failure_is_the_arms_own(kind, failed, message):
    result = with_engine(kind).search("organic waste")
    assert "soil" in {hit.id for hit in result}
    problems = {stage.name: stage.error for stage in result.trace.stages if stage.error}
    assert set(problems) == failed
    assert all(message in problem for problem in problems.values())


class AsyncMulti(FtsMulti):
    use = "async-multi"

    async def aretrieve_many(self, queries, *, k):
        return await asyncio.to_thread(self.retrieve_many, queries, k=k)


def test_an_engine_that_is_awaited_gives_the_same():
    awaited = with_engine(AsyncMulti)
    before = requests()
    results = asyncio.run(_asearch(awaited, None))
    assert requests() - before == 1 + len(QUERIES)  # "plain" asks for each query
    assert [of(result) for result in results] == [of(result) for result in awaited.search_many(QUERIES)]


@contextmanager
def load(documents):
    with FtsEngine() as own, loaded(own.url, documents):
        yield FtsArm(url=own.url, arm="words")


@parametrize("remote retriever", [Loaded(load)], tolerances=Tolerances(huge=10_000))
def test_an_arm_is_a_retriever_of_its_own(component, check):
    check(component)
