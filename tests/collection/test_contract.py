"""What a collection in memory and one on disk promise alike: whatever is written here holds for both."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import NgramEmbedder

from hybridrank import Document, Passage, Pipeline, Query
from hybridrank.collection import SearchableCollection
from hybridrank.errors import HybridrankError, InputError
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.retrieval import BM25, Faiss
from hybridrank.values.json_values import json_object

ARMS = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}
Make = Callable[..., Pipeline]
WHERE = ["memory", "disk", "reopened"]


def made(where: str, folder: Path, documents: Any = (), **options: Any) -> Pipeline:
    options = {"retrievers": {"bm25": BM25()}, "reranker": None, **options}
    if where == "memory":
        return Pipeline.build(documents, **options)
    pipeline = Pipeline.build(documents, path=folder / "c", **options)
    if where == "reopened":
        pipeline.close()
        pipeline = Pipeline.open(folder / "c", retrievers=options["retrievers"])
    return pipeline


@pytest.fixture(params=WHERE)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    opened = []

    def one(documents: Any = (), **options: Any) -> Pipeline:
        opened.append(made(request.param, tmp_path / str(len(opened)), documents, **options))
        return opened[-1]

    yield one
    for pipeline in opened:
        pipeline.close()


def stored(pipeline: Pipeline) -> list[Document]:
    return list(pipeline.collection.documents())


# Metadata


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(width=32)
    | st.text(max_size=4)
    | st.dates()
    | st.datetimes()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.binary(max_size=2)
    | st.sampled_from([np.int64(3), np.float32(0.5), np.float64("nan"), np.bool_(0), np.str_("s"), np.arange(2)])
    | st.sampled_from([{1}, "\ud800", np.datetime64("2024-05-01"), object()]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3) | st.just(7), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=3), values, max_size=3))
def test_metadata_becomes_the_same_or_is_refused_the_same(metadata: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for where in WHERE:
            try:
                with made(where, Path(folder) / where, [Document("a", "alpha", metadata=metadata)]) as pipeline:
                    held = pipeline.get(["a"])["a"].metadata
                    assert pipeline.search("alpha").hits[0].document.metadata == held
                    assert (
                        json.loads(json.dumps(pipeline.search("alpha").to_dict()["hits"][0]["metadata"])) == held
                    )
                    found.append(repr(held))
            except InputError as error:
                found.append(f"{type(error).__name__}: {error}")
    assert len(set(found)) == 1, found
    if "Error" not in found[0]:
        assert found[0] == repr(json_object(metadata, what="it"))


def test_numbers_and_dates_of_other_libraries_are_found_by_filters(make: Make) -> None:
    years = np.array([2019, 2024])
    pipeline = make(
        Document(f"d{year}", "alpha", metadata={"year": year, "day": date(int(year), 1, 1)}) for year in years
    )

    def ids(filters: dict[str, Any]) -> list[str]:
        return [hit.document.id for hit in pipeline.search("alpha", filters=filters).hits]

    assert ids({"year": {"$gte": 2020}}) == ids({"year": 2024}) == ids({"year": years[1]}) == ["d2024"]
    assert ids({"day": {"$gte": "2020-01-01"}}) == ids({"day": {"$gt": date(2020, 1, 1)}}) == ["d2024"]
    assert ids({"year": {"$ne": 2024}}) == ["d2019"]
    assert pipeline.delete(filters={"$not": {"year": years[1]}}) == 1
    assert list(pipeline.collection) == ["d2024"]


def test_what_is_refused_is_named_with_its_document_and_path(make: Make) -> None:
    pipeline = make([Document("a", "alpha", metadata={"x": 1})])
    before = stored(pipeline)
    wrong = {"tags": ["ok", {"of": {1, 2}}]}
    said = r"""^document 'b': metadata\["tags"\]\[1\]\["of"\] is a set, .*sorted\(value\)"""
    with pytest.raises(InputError, match=said):
        pipeline.add([Document("c", "gamma"), Document("b", "beta", metadata=wrong)])
    with pytest.raises(InputError, match=said.replace("'b'", "'a'")):
        pipeline.collection.update_metadata({"a": wrong})
    with pytest.raises(InputError, match=r"document 'a': metadata.* is a decimal\.Decimal"):
        pipeline.collection.update_metadata({"a": {"y": 1, "price": Decimal("1.5")}})
    assert stored(pipeline) == before


def test_updates_take_what_documents_take(make: Make) -> None:
    pipeline = make([Document("a", "alpha", metadata={"x": 1, "gone": 2})])
    assert pipeline.collection.update_metadata(
        {np.str_("a"): {"x": np.int64(5), "day": date(2024, 5, 1), "gone": None}}
    )
    assert pipeline.get(["a"])["a"].metadata == {"x": 5, "day": "2024-05-01"}
    assert len(pipeline.search("alpha", filters={"x": 5}).hits) == 1


# Nothing stored is shared


@pytest.mark.parametrize("splitter", [None, Splitter(max_tokens=32, overlap=0)], ids=["whole", "split"])
def test_nothing_stored_is_shared_with_anybody(make: Make, splitter: Splitter | None) -> None:
    mine: dict[str, Any] = {"year": 2020, "tags": ["a"]}
    document = Document("a", "alpha beta. " * 20, metadata=mine)
    pipeline = make([document], splitter=splitter)
    expected = {"year": 2020, "tags": ["a"]}
    assert len(pipeline.search("alpha", filters={"year": 2020}).hits) >= 1  # a choice that is remembered

    mine["year"] = 1999
    mine["tags"].append("mine")
    result = pipeline.search("alpha")
    handed = [hit.document for hit in result.hits]
    handed += [pipeline.get(["a"])["a"], next(pipeline.collection.documents())]
    handed += pipeline.collection.units()
    with pipeline.collection.reading() as view:
        handed += view.units([hit.document.id for hit in result.hits]).values()
    for each in handed:
        assert each.metadata in (expected, {})
        each.metadata["year"] = 1999  # type: ignore[index]
        each.metadata.setdefault("tags", []).append("cited")  # type: ignore[attr-defined]
        assert pipeline.get(["a"])["a"].metadata == expected
    assert [hit.document.metadata for hit in pipeline.search("alpha").hits] == [expected] * len(result.hits)
    assert not pipeline.search("alpha", filters={"year": 1999}).hits
    assert pipeline.search("alpha", filters={"year": 2020}).hits


def test_hits_share_nothing_with_each_other(make: Make) -> None:
    pipeline = make([Document("a", "alpha beta")])
    results = pipeline.search_many(["alpha", "beta"])
    for number, result in enumerate(results):
        result.hits[0].document.metadata["seen"] = number  # type: ignore[index]
    assert [result.hits[0].document.metadata for result in results] == [{"seen": 0}, {"seen": 1}]

    split = make(
        [Document("b", "gamma delta. " * 40, metadata={"x": 1})], splitter=Splitter(max_tokens=32, overlap=0)
    )
    first, second, *_ = split.search("gamma").hits
    first.document.metadata["score"] = 1  # type: ignore[index]
    assert second.document.metadata == {"x": 1}


class Marking:
    """A reranker that writes into what it is shown."""

    pointwise = True

    def score(self, batch: Any) -> list[list[float]]:
        for candidates in batch:
            for document in candidates.documents:
                document.metadata["marked"] = True
        return [[1.0] * len(candidates) for candidates in batch]


def test_a_reranker_that_writes_changes_nothing_stored(make: Make) -> None:
    pipeline = make([Document("a", "alpha")], reranker=None).replace(reranker=Marking())
    pipeline.search("alpha")
    assert stored(pipeline) == [Document("a", "alpha")]


def test_arrays_are_copied(make: Make) -> None:
    vectors = np.eye(64, dtype=np.float32)[:2]
    asked = np.eye(64, dtype=np.float32)[0]
    pipeline = make([Document("a", "x"), Document("b", "y")], retrievers=ARMS, vectors={"dense": vectors})
    query = Query("anything", vector=asked)
    vectors[:] = vectors[::-1].copy()
    asked[:] = np.eye(64, dtype=np.float32)[1]
    trace = pipeline.search(query).trace
    assert trace.stage("dense").ids[0] == "a"
    assert trace.stage("dense").scores[0] == pytest.approx(1.0)


# Ids


class Name(StrEnum):
    A = "a"


WRONG_IDS: list[tuple[Any, str]] = [
    ("ab", "not one str"),
    ([1], "must be str, not int"),
    ([True], "must be str, not bool"),
    ([np.int64(1)], "must be str, not int64"),
    (["a", None], "must be str, not NoneType"),
    ([b"a"], "must be str, not bytes"),
    (b"ab", "must be str, not int"),
    ([["a"]], "must be str, not list"),
    (5, "must be a collection of document ids, not int"),
    (["\ud800"], "lone surrogate"),
]


@pytest.mark.parametrize(("ids", "said"), WRONG_IDS, ids=lambda value: repr(value)[:20])
def test_ids_that_are_none_are_refused_everywhere(make: Make, ids: Any, said: str) -> None:
    pipeline = make([Document("1", "alpha"), Document("a", "alpha"), Document("b", "alpha")])
    for ask in (
        lambda: pipeline.get(ids),
        lambda: pipeline.collection.get(ids),
        lambda: pipeline.delete(ids),
        lambda: pipeline.search(Query("alpha", ids=ids)),
    ):
        with pytest.raises(InputError, match=said):
            ask()
    if isinstance(ids, list) and not isinstance(ids[-1], list):
        with pytest.raises(InputError, match=said):
            pipeline.collection.update_metadata({doc_id: {"x": 1} for doc_id in ids})
    assert len(pipeline) == 3


def test_ids_may_come_in_anything(make: Make) -> None:
    pipeline = make([Document(each, "alpha") for each in ("a", "b", "c")])
    for ids in (
        ["b", "a", "b"],
        ("b", "a"),
        iter(["b", "a"]),
        {"b": 1, "a": 2},
        np.array(["b", "a"]),
        ["b", Name.A],
    ):
        assert list(pipeline.get(ids)) == ["b", "a"]
    for many in ({"a", "b"}, iter(["a", "b"]), np.array(["a", "b"]), [Name.A, "b"]):
        assert {hit.document.id for hit in pipeline.search(Query("alpha", ids=many)).hits} == {"a", "b"}
    for none in ([], [""], ["nobody"], ["a\0"]):
        assert pipeline.get(none) == {}
        assert pipeline.search(Query("alpha", ids=none)).hits == []
        assert pipeline.delete(none) == 0
    assert pipeline.delete(each for each in ("a", "nobody")) == 1
    assert list(pipeline.collection) == ["b", "c"]


def test_only_ids_that_are_held_are_in_it(make: Make) -> None:
    collection = make([Document("1", "alpha")]).collection
    assert "1" in collection
    for other in (1, True, None, ["1"], b"1", "", "\ud800", "2"):
        assert other not in collection


def test_text_is_text(make: Make) -> None:
    texts = ["nul \0 inside", "", "\u2028 \x85 \ufeff", "𝄞" * 5, "a" * 300_000]
    documents = [Document(f"id {number} \0é", text, title=text[:10]) for number, text in enumerate(texts)]
    pipeline = make([*documents, Document(Name.A, np.str_("plain"))])
    assert stored(pipeline) == [*documents, Document("a", "plain")]
    last = stored(pipeline)[-1]
    assert (type(last.id), type(last.text)) == (str, str)


# Adding


def test_an_empty_collection_is_a_beginning(make: Make) -> None:
    pipeline = make([], retrievers=ARMS)
    assert (len(pipeline), stored(pipeline), list(pipeline.collection.units())) == (0, [], [])
    assert pipeline.search("alpha").hits == []
    assert pipeline.add([]) == pipeline.delete(["a"]) == pipeline.collection.update_metadata({}) == 0
    assert pipeline.add([Document("a", "alpha")]) == 1
    assert [hit.document.id for hit in pipeline.search("alpha").hits] == ["a"]


@pytest.mark.parametrize("splitter", [None, Splitter(max_tokens=32, overlap=0)], ids=["whole", "split"])
def test_progress_counts_documents(make: Make, splitter: Splitter | None) -> None:
    pipeline = make([], retrievers=ARMS, splitter=splitter)
    seen: list[tuple[int, int]] = []
    pipeline.add([], progress=lambda *now: seen.append(now))
    assert seen == []
    pipeline.add(
        [Document(f"d{n}", "one two three. four five six. " * 20) for n in range(30)],
        progress=lambda *now: seen.append(now),
    )
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {30}
    assert seen[-1] == (30, 30)


def test_a_list_is_added_whole_or_not_at_all(make: Make) -> None:
    pipeline = make([Document("old", "alpha")])
    many = [Document(f"d{n}", "beta") for n in range(5000)]
    for wrong, said in [
        ([*many, Document("d3", "again")], r"documents\[5000\] repeats the id 'd3'"),
        ((*many, "text"), r"documents\[5000\] is a str"),
        ([*many, Document("e", "x", metadata={"x": {1}})], "document 'e': metadata"),
        (None, "not one NoneType"),
        (Document("e", "x"), "not one Document"),
        ({"e": "x"}, r"documents\[0\] is a str"),
    ]:
        with pytest.raises(InputError, match=said):
            pipeline.add(wrong)  # type: ignore[arg-type]
        assert list(pipeline.collection) == ["old"]


def test_what_a_generator_raises_is_raised_and_its_batch_is_not_added(make: Make) -> None:
    pipeline = make([Document("old", "alpha")])

    def broken() -> Iterator[Document]:
        yield Document("new", "beta")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        pipeline.add(broken())
    assert list(pipeline.collection) == ["old"]
    assert not pipeline.search("beta").hits


def test_documents_keep_their_order(make: Make) -> None:
    pipeline = make([Document(each, "alpha", metadata={"x": 1}) for each in "abcd"])
    pipeline.add([Document("b", "beta", metadata={"x": 1})])
    pipeline.collection.update_metadata({"a": {"y": 2}})
    pipeline.delete(["c"])
    pipeline.add(iter([Document("c", "gamma"), Document("e", "delta")]))
    assert list(pipeline.collection) == [each.id for each in stored(pipeline)] == ["a", "d", "b", "c", "e"]
    assert [each.id for each in pipeline.collection.units()] == ["a", "d", "b", "c", "e"]
    assert [each.id for each in pipeline.collection.documents({"x": 1})] == ["a", "d", "b"]
    assert pipeline.collection.count({"x": 1}) == 3
    assert all(each.metadata == {} for each in pipeline.collection.units())


def test_passages_given_as_documents_are_documents(make: Make) -> None:
    passage = Passage("a#0", "alpha", title="A", metadata={"x": 1}, parent="a", end=5, headings=("H",))
    pipeline = make([passage])
    assert stored(pipeline) == [Document("a#0", "alpha", title="A", metadata={"x": 1})]
    assert type(pipeline.search("alpha").hits[0].document) is Document


def test_vectors_fit_a_generator_too(make: Make) -> None:
    vectors = np.eye(64, dtype=np.float32)[:2]
    pipeline = make([], retrievers=ARMS)
    assert pipeline.add((Document(each, each) for each in "ab"), vectors={"dense": vectors}) == 2
    with pytest.raises(InputError, match=r"shape \(2, 64\), not \(1, dim\)"):
        pipeline.add((Document(each, each) for each in "c"), vectors={"dense": vectors})
    assert len(pipeline) == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [0.0, np.nan, np.inf, 1e300])
def test_a_vector_without_a_direction_is_refused(make: Make, number: float) -> None:
    pipeline = make([Document("a", "alpha")], retrievers=ARMS)
    with pytest.raises(InputError, match="hold one that is zero or not finite"):
        pipeline.add([Document("b", "beta")], vectors={"dense": np.full((1, 64), number)})
    assert list(pipeline.collection) == ["a"]


def test_a_collection_says_how_it_is(make: Make) -> None:
    collection = make([Document(each, f"alpha {each}") for each in "abc"], retrievers=ARMS).collection
    statistics = collection.statistics()
    assert statistics["documents"] == 3
    assert {name: arm["passages"] for name, arm in statistics["arms"].items()} == {"bm25": 3, "dense": 3}
    assert json.loads(json.dumps(statistics)) == statistics
    collection.compact()
    assert len(collection) == 3


@pytest.mark.parametrize("vector", [["a"], [[1.0], [2.0, 3.0]], [1e300], [None], 3.0, [[[1.0]]]])
def test_a_vector_that_is_none_is_refused(vector: Any) -> None:
    with pytest.raises(HybridrankError, match="a query's vector must"):
        Query("alpha", vector=vector)


def test_a_collection_states_what_it_can_do(make: Make) -> None:
    pipeline = make([Document("a", "air")])
    collection: SearchableCollection = pipeline.collection
    durable = "durable" in collection.capabilities
    assert durable == (collection.path is not None)
    assert ("sources" in collection.capabilities) == hasattr(collection, "put_source")
    assert ("snapshot" in collection.capabilities) == hasattr(collection, "snapshot")
    assert collection.writable
    with pipeline.collection:
        assert list(collection) == ["a"]
