"""The kit loads documents into a real engine: it passes a right retriever, and catches each wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import SkipTest

import pytest
from fts_engine import (
    ARMS,
    SUPPORT,
    Conditions,
    FtsEngine,
    FtsRetriever,
    loaded,
    post,
    send,
    to_ranking,
    to_search,
)

from hybridrank import Query, Ranking
from hybridrank.errors import InputError
from hybridrank.filters import Filter, split_filter, translate, visit
from hybridrank.filters.expressions import OneOf
from hybridrank.testing import Loaded, Tolerances, checks, parametrize
from hybridrank.testing.filter_samples import FILTER_DOCUMENTS, FILTER_QUERY

LIMITS = Tolerances(huge=10_000)
ENGINE = FtsEngine()


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    with ENGINE:
        yield


def over(make, load=loaded):
    """How to load documents, for a retriever that `make` makes of the engine's address."""

    @contextmanager
    def hold(documents):
        with load(ENGINE.url, documents):
            yield make(ENGINE.url)

    return Loaded(hold)


@parametrize(
    "remote retriever",
    [over(lambda url, arm=arm: FtsRetriever(url=url, arm=arm)) for arm in ARMS],
    tolerances=LIMITS,
)
def test_right(component, check):
    check(component)


class IgnoresTheRest(FtsRetriever):
    """Leaves out what the engine cannot evaluate."""

    def _one(self, query, k):
        native, _ = split_filter(query.filters, SUPPORT)
        where = native and visit(native.expression, Conditions())
        (answer,) = post(self.url, "/search", [to_search(self.arm, query, where, k)])["answers"]
        return to_ranking(answer)


class FiltersAfterTheCut(FtsRetriever):
    def _one(self, query, k):
        return self.only(super()._one(replace(query, filters=None), k), k, query.filters or Filter.of({}))

    def only(self, ranking, k, filters):
        kept = [n for n, d in enumerate(ranking.ids) if self.matches(filters, ranking.documents[d].metadata)][:k]
        ids = tuple(ranking.ids[n] for n in kept)
        return Ranking(ids, tuple(ranking.scores[n] for n in kept), {d: ranking.documents[d] for d in ids})

    def matches(self, filters, metadata):
        return filters.matches(metadata)


class NativeTypes(FiltersAfterTheCut):
    """Compares as engines with types of their own do: true is 1, and a missing field is null."""

    def _one(self, query, k):
        whole = FtsRetriever._one(self, replace(query, filters=None), 1000)
        return self.only(whole, k, query.filters or Filter.of({}))

    def matches(self, filters, metadata):
        expression = filters.expression
        if isinstance(expression, OneOf) and expression.field == "f" and len(expression.keys) == 1:
            ((_, value),) = expression.keys
            return metadata.get("f", 0) == value
        return filters.matches(metadata)


class BringsSome(FtsRetriever):
    def _one(self, query, k):
        ranking = super()._one(query, k)
        return replace(ranking, documents={d: ranking.documents[d] for d in ranking.ids[:1]})


class LosesMetadata(FtsRetriever):
    def _one(self, query, k):
        ranking = super()._one(query, k)
        documents = {d: type(each)(each.id, each.text, each.title) for d, each in ranking.documents.items()}
        return Ranking(ranking.ids, ranking.scores, documents)


class OneFilterForAll(FtsRetriever):
    def retrieve(self, queries, *, k):
        return super().retrieve([replace(q, filters=queries[0].filters) for q in queries], k=k)


@contextmanager
def in_a_hurry(url, documents):
    """Does not wait until the documents are searchable."""
    post(url, "/clear", {})
    ENGINE.indexing.clear()
    try:
        send(url, documents)
        yield
    finally:
        ENGINE.indexing.set()
        while post(url, "/count", {})["count"] < len(documents):
            pass


HELD = {}


@contextmanager
def on_top(url, documents):
    """Does not remove what was there."""
    HELD.update({document.id: document for document in documents})
    with loaded(url, list(HELD.values())):
        yield


BROKEN = [
    ("filters_mean_the_same", over(lambda url: IgnoresTheRest(url=url)), "against the filter language"),
    ("filters_mean_the_same", over(lambda url: FiltersAfterTheCut(url=url)), "missed"),
    ("filters_mean_the_same", over(lambda url: NativeTypes(url=url)), "found"),
    ("filters_and_ids_together", over(lambda url: OneFilterForAll(url=url)), "in a batch of 4"),
    ("documents_come_back_whole", over(lambda url: BringsSome(url=url)), "put every document into"),
    ("documents_come_back_whole", over(lambda url: LosesMetadata(url=url)), "from stored JSON"),
    ("holds_what_was_loaded", over(lambda url: FtsRetriever(url=url), in_a_hurry), "wait until every document"),
    ("holds_what_was_loaded", over(lambda url: FtsRetriever(url=url), on_top), "remove what was there"),
]


@pytest.mark.parametrize(("name", "component", "message"), BROKEN)
def test_wrong(name, component, message):
    post(ENGINE.url, "/clear", {})
    (check,) = [check for check in checks("remote retriever", tolerances=LIMITS) if check.name == name]
    with pytest.raises(AssertionError, match=message):
        check(component)


class Refuses(FtsRetriever):
    """Takes the filters alone that the engine evaluates whole."""

    def _one(self, query, k):
        if query.filters is not None:
            translate(query.filters, Conditions(), SUPPORT)
        return super()._one(query, k)


class RefusesAll(FtsRetriever):
    def _one(self, query, k):
        if query.filters is not None and query.filters.to_dict():
            raise InputError("this engine has no filters")
        return super()._one(query, k)


def test_a_filter_may_be_refused():
    run = {check.name: check for check in checks("remote retriever", tolerances=LIMITS)}
    run["filters_mean_the_same"](over(lambda url: Refuses(url=url)))
    for name in ("filters_mean_the_same", "filters_and_ids_together"):
        with pytest.raises(SkipTest, match="it refuses"):
            run[name](over(lambda url: RefusesAll(url=url)))


def test_over_fetching_is_counted():
    with loaded(ENGINE.url, FILTER_DOCUMENTS) as retriever:
        (ranking,) = retriever.retrieve([Query(FILTER_QUERY, filters={"f": {"$gt": 2**60}, "g": {"$ne": 1}})], k=2)
        assert set(ranking.ids) == {"filter: 2**63 - 1", "filter: 2**70"}
        assert ranking.details["requests"] >= 2
        assert ranking.details["fetched"] - ranking.details["dropped"] == 2
        (native,) = retriever.retrieve([Query(FILTER_QUERY, filters={"f": "a"})], k=2)
        assert native.details == {"requests": 1}
