"""Over-fetching from an engine in a list: what is asked for, what is left, what is counted."""

from __future__ import annotations

import pytest

from hybridrank import Document, Ranking
from hybridrank.errors import BackendResponseError, InputError
from hybridrank.filters import Filter
from hybridrank.remote.over_fetch import OverFetch

DOCUMENTS = [Document(f"{n:03}", "", metadata={"n": n}) for n in range(100)]


def run(fetch: OverFetch) -> list[int]:
    """Answer from `DOCUMENTS`, best first, and give the sizes of the requests."""
    asked = []
    while wanted := fetch.wanted:
        asked.append(wanted)
        found = DOCUMENTS[:wanted]
        fetch.take(
            Ranking(
                tuple(d.id for d in found),
                tuple(-float(d.metadata["n"]) for d in found),
                {d.id: d for d in found},
                {"took": 3},
            )
        )
    return asked


def test_without_a_rest_k_are_asked_for_once():
    fetch = OverFetch(k=5)
    assert run(fetch) == [5]
    assert fetch.ranking().ids == ("000", "001", "002", "003", "004")
    assert fetch.ranking().details == {"took": 3, "requests": 1}


def test_more_is_asked_for_until_k_match():
    fetch = OverFetch(Filter.of({"n": {"$gte": 30}}), k=2)
    assert run(fetch) == [8, 32]
    ranking = fetch.ranking()
    assert (ranking.ids, ranking.scores) == (("030", "031"), (-30.0, -31.0))
    assert set(ranking.documents) == {"030", "031"}
    assert ranking.details == {"took": 3, "requests": 2, "fetched": 32, "dropped": 30}


def test_it_ends_with_the_engines_documents():
    fetch = OverFetch(Filter.of({"n": 99}), k=2)
    assert run(fetch) == [8, 32, 128]
    assert fetch.ranking().ids == ("099",)
    assert fetch.ranking().details == {"took": 3, "requests": 3, "fetched": 100, "dropped": 99}


def test_the_limit_is_kept_and_told():
    fetch = OverFetch(Filter.of({"n": {"$gte": 49}}), k=3, limit=50)
    assert run(fetch) == [12, 48, 50]
    assert fetch.ranking().ids == ("049",)
    assert fetch.ranking().details["limit_reached"] is True


def test_a_limit_below_k_allows_k():
    fetch = OverFetch(Filter.of({"n": {"$gte": 0}}), k=20, limit=5)
    assert run(fetch) == [20]
    assert len(fetch.ranking()) == 20


def test_ids_are_a_filter_too():
    fetch = OverFetch(k=1, ids={"007", "050"})
    assert run(fetch) == [4, 16]
    assert fetch.ranking().ids == ("007",)
    assert fetch.ranking().details["dropped"] == 15


def test_a_document_that_is_not_brought_along_cannot_be_filtered():
    fetch = OverFetch(Filter.of({"n": 1}), k=1)
    with pytest.raises(BackendResponseError, match=r"lacks document 'a' itself.*Ranking\.documents"):
        fetch.take(Ranking(("a",), (1.0,)))


@pytest.mark.parametrize("options", [{"k": 0}, {"k": 1, "factor": 1}, {"k": 1, "limit": 0}])
def test_sizes_are_positive(options):
    with pytest.raises(InputError, match="must be at least"):
        OverFetch(**options)
