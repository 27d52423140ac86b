"""Declared fields in a collection: what is stored, refused and found, the same in memory and on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from hybridrank import Document, Query
from hybridrank.collection import Collection, MemoryCollection, SearchableCollection
from hybridrank.errors import InputError
from hybridrank.filters.language import Filter
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.retrieval import BM25

Make = Callable[..., SearchableCollection]
FIELDS = {"published": datetime, "day": date, "year": int, "tags": list[str]}


@pytest.fixture(params=["memory", "disk", "indexed", "reopened"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    opened: list[SearchableCollection] = []

    def one(splitter: Splitter | None = None, **options: Any) -> SearchableCollection:
        arms = {"bm25": BM25()}
        if request.param == "memory":
            opened.append(
                MemoryCollection(
                    {name: arm.create_index() for name, arm in arms.items()}, splitter=splitter, **options
                )
            )
        else:
            indexed = ("published", "year") if request.param == "indexed" else ()
            path = tmp_path / str(len(opened))
            durable = Collection.create(path, arms, splitter=splitter, indexed_fields=indexed, **options)
            if request.param == "reopened":
                durable.close()
                durable = Collection.open(path)
            opened.append(durable)
        return opened[-1]

    yield one
    for collection in opened:
        collection.close()


def found(collection: SearchableCollection, filters: dict[str, Any]) -> list[str]:
    ids = [document.id for document in collection.documents(filters)]
    assert collection.count(filters) == len(ids)
    with collection.reading() as view:  # what a search restricts its arms to
        resolved = view.resolve(Query("q", filters=filters)).ids
        assert resolved is not None
        assert sorted({unit.partition("#")[0] for unit in resolved}) == sorted(ids)
    return ids


DOCUMENTS = [
    Document("a", "air", metadata={"published": "2024-05-01", "day": "2024-05-01", "year": 2024}),
    Document("b", "air", metadata={"published": "2024-05-01T01:00:00+02:00", "year": 2023.0, "tags": ["x", "y"]}),
    Document("c", "air", metadata={"published": datetime(2024, 5, 1, 0, 0, 0, 1, tzinfo=UTC), "other": "2024"}),
    Document("d", "air", metadata={"published": None}),
]


def test_values_are_stored_in_one_form(make: Make) -> None:
    collection = make(fields=FIELDS)
    collection.add(DOCUMENTS)
    stored = {doc_id: each.metadata for doc_id, each in collection.get(["a", "b", "c", "d"]).items()}
    assert stored == {
        "a": {"published": "2024-05-01T00:00:00+00:00", "day": "2024-05-01", "year": 2024},
        "b": {"published": "2024-04-30T23:00:00+00:00", "year": 2023, "tags": ["x", "y"]},
        "c": {"published": "2024-05-01T00:00:00.000001+00:00", "other": "2024"},
        "d": {"published": None},
    }
    assert collection.fields.to_dict() == {
        "published": "datetime",
        "day": "date",
        "year": "int",
        "tags": "list[str]",
    }
    assert collection.statistics()["fields"] == collection.fields.to_dict()


def test_dates_compare_as_dates(make: Make) -> None:
    collection = make(fields=FIELDS)
    collection.add(DOCUMENTS)
    assert found(collection, {"published": {"$gte": "2024-05-01"}}) == ["a", "c"]
    assert found(collection, {"published": {"$lt": "2024-05-01T02:00:00+02:00"}}) == ["b"]
    assert found(collection, {"published": date(2024, 5, 1)}) == ["a"]
    assert found(collection, {"published": ["2024-04-30T23:00:00Z", None]}) == ["b", "d"]
    assert found(collection, {"published": {"$ne": "2024-05-01"}}) == ["b", "c", "d"]
    assert found(collection, {"day": {"$lte": "20240501"}}) == ["a"]
    assert found(collection, {"year": {"$lt": 2023.5}}) == ["b"]
    assert collection.delete(filters={"published": {"$gt": "2024-05-01"}}) == 1
    assert sorted(collection) == ["a", "b", "d"]


def test_a_filter_of_another_type_is_refused(make: Make) -> None:
    collection = make(fields=FIELDS)
    collection.add(DOCUMENTS)
    for work in (
        lambda: collection.count({"year": "2024"}),
        lambda: list(collection.documents({"year": "2024"})),
        lambda: collection.delete(filters={"year": "2024"}),
        lambda: found(collection, {"year": "2024"}),
    ):
        with pytest.raises(
            InputError, match=r"^\$\.year: the field is declared as int, and '2024' is not a number"
        ):
            work()
    assert len(collection) == 4


def test_documents_of_another_type_are_refused(make: Make) -> None:
    collection = make(fields=FIELDS)
    with pytest.raises(InputError, match=r"""document 'x': metadata\["year"\] is 'MMXXIV', .* declared as int"""):
        collection.add([DOCUMENTS[0], Document("x", "air", metadata={"year": "MMXXIV"})])
    assert len(collection) == 0
    collection.add(DOCUMENTS)
    with pytest.raises(InputError, match=r"""document 'a': metadata\["published"\] is 'soon'"""):
        collection.update_metadata({"a": {"published": "soon"}})
    collection.update_metadata({"a": {"published": "2025-01-01", "year": None}})
    assert collection.get(["a"])["a"].metadata == {"published": "2025-01-01T00:00:00+00:00", "day": "2024-05-01"}


def test_fields_are_declared_later(make: Make) -> None:
    collection = make(splitter=Splitter(max_tokens=32, overlap=0))
    collection.add(DOCUMENTS)
    assert not collection.fields
    assert found(collection, {"published": {"$gte": "2024-05-01"}}) == ["a", "b", "c"]  # strings
    collection.declare_fields({"published": "datetime"})
    assert found(collection, {"published": {"$gte": "2024-05-01"}}) == ["a", "c"]
    collection.declare_fields({"published": datetime, "year": int})
    assert collection.fields.to_dict() == {"published": "datetime", "year": "int"}
    assert collection.get(["b"])["b"].metadata["year"] == 2023
    assert [document.id for document in collection.documents()] == ["a", "b", "c", "d"]
    with pytest.raises(InputError, match='"year" is declared as int already, and cannot become str'):
        collection.declare_fields({"year": "str"})


def test_documents_that_do_not_fit_keep_a_field_from_being_declared(make: Make) -> None:
    collection = make()
    collection.add([*DOCUMENTS, Document("x", "air", metadata={"year": "MMXXIV"})])
    with pytest.raises(InputError, match=r"""document 'x': metadata\["year"\] is 'MMXXIV'"""):
        collection.declare_fields({"published": "datetime", "year": "int"})
    assert not collection.fields
    assert collection.get(["a"])["a"].metadata["published"] == "2024-05-01"


def test_another_process_finds_what_was_declared(tmp_path: Path) -> None:
    """Two handles on one directory share nothing but the files, as two processes do."""
    with Collection.create(tmp_path / "c", {"bm25": BM25()}) as one, Collection.open(tmp_path / "c") as other:
        one.add(DOCUMENTS)
        assert other.count({"published": {"$gte": "2024-05-01"}}) == 3
        one.declare_fields({"published": "datetime"})
        assert found(other, {"published": {"$gte": "2024-05-01"}}) == ["a", "c"]
        with pytest.raises(InputError, match=r"""metadata\["published"\] is 'soon'"""):
            other.add([Document("x", "air", metadata={"published": "soon"})])
    assert Collection.stored_config(tmp_path / "c")["fields"] == {"published": "datetime"}


def test_a_source_keeps_what_was_edited_in_one_form(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", {"bm25": BM25()}) as collection:
        collection.put_source("file", "1", [DOCUMENTS[0]])
        collection.update_metadata({"a": {"published": "2023-01-01"}})
        collection.declare_fields({"published": "datetime"})
        collection.put_source("file", "2", [DOCUMENTS[0]])
        assert collection.get(["a"])["a"].metadata["published"] == "2023-01-01T00:00:00+00:00"


def test_a_filter_is_the_same_object_where_nothing_is_declared(make: Make) -> None:
    filters = Filter.of({"published": "2024"})
    assert make().fields.bind(filters) is filters
