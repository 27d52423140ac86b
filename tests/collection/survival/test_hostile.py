"""What a collection is given may be strange, huge or hopeless: it is held whole, or refused with no change."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collection.survival.common import arms, assert_whole, times

from hybridrank import Document, Pipeline, Query
from hybridrank.collection import Collection
from hybridrank.errors import InputError
from hybridrank.ingest.splitting.splitter import Splitter

pytestmark = pytest.mark.stress

STRANGE = [
    "'", '"', '"a"', "a'b", "\\", "\\u0000", "\x00", "a\x00b", "\n\r\t", "\x7f", "\x85", "\u2028", "%", "_", "?",
    "?1",
    ":a", "$.a", "a.b", "[0]", "a[0]", "--", "; DROP TABLE documents; --", "' OR 1=1 --", '") OR 1=1 --', "number",
    "metadata", "d.number", "rowid", "null", "true", "1", "", " ", "é", "e\u0301", "\ufeff", "\ufffe", "\uffff",
    "\u202eabc", "\u200d", "\U00010000", "\U0001f600", "\U0010ffff", "x" * 10_000,
]  # fmt: skip
PLANES = [chr(plane * 0x10000 + 0xABC) for plane in range(17)] + [
    chr(plane * 0x10000 + 0xFFFF) for plane in range(17)
]


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collection.create(tmp_path / "collection", arms(), indexed_fields=STRANGE[::2])


def reopened(collection: Collection) -> Collection:
    collection.close()
    return Collection.open(collection.path, arms())


def test_metadata_of_strange_names_and_values(collection: Collection) -> None:
    documents = {
        f"d{number}": Document(
            f"d{number}", f"copy d{number}", metadata={name: name, "list": [name, {name: [name]}]}
        )
        for number, name in enumerate(STRANGE)
    }
    collection.add(documents.values())
    assert_whole(collection, documents)
    for at, name in enumerate(STRANGE):
        only = {"list": name}
        if name and not name.startswith("$"):
            only = {name: name}
            assert collection.count({name: {"$exists": True}}) == 1
            assert collection.count({name: {"$prefix": name[:2]}}) == 1
            assert collection.count({name: {"$gte": name, "$lte": name}, "list": name}) == 1
            assert collection.count({"$not": {name: name}}) == len(STRANGE) - 1
        assert [each.id for each in collection.documents(only)] == [f"d{at}"]
    collection = reopened(collection)
    collection.update_metadata({"d0": dict.fromkeys(STRANGE, "new")})
    documents["d0"] = Document(
        "d0", "copy d0", metadata={**documents["d0"].metadata, **dict.fromkeys(STRANGE, "new")}
    )
    assert_whole(collection, documents)
    assert collection.delete(filters={"list": STRANGE[1:]}) == len(STRANGE) - 1
    assert_whole(collection, {"d0": documents["d0"]})


@pytest.mark.parametrize("splitter", [None, Splitter(max_tokens=32, overlap=0)])
def test_ids_of_every_plane_and_length(tmp_path: Path, splitter: Splitter | None) -> None:
    numbered = [f"{name}#{number}" for name in ["", "#", *PLANES] for number in range(2)]
    ids = list(dict.fromkeys([*filter(None, STRANGE), *PLANES, *numbered, "x" * 10_000 + "#0"]))
    documents = {
        each: Document(each, f"copy n{n} " + "wing " * 60, None, {"kept": True}) for n, each in enumerate(ids)
    }
    words = {each: document.text.split()[1] for each, document in documents.items()}
    with Collection.create(tmp_path / "collection", arms(), splitter=splitter, indexed_fields=["kept"]) as made:
        made.add(documents.values())
        made.compact()
        assert_whole(made, documents, telling=splitter is None)
        with made.reading() as view:
            for filters in ({"$not": {"lang": "en"}}, {"kept": True}):
                chosen = view.resolve(Query("wing", filters=filters)).ids
                assert chosen is not None
                assert {each if splitter is None else each.rpartition("#")[0] for each in chosen} == set(documents)
    with Pipeline.open(tmp_path / "collection", retrievers=arms(), reranker=None) as pipeline:
        for doc_id in list(documents)[:: times(1, 9)]:
            found = pipeline.search(words[doc_id], k=len(ids), per_document=True)
            assert found.trace.stages[0].ids[0] == (doc_id if splitter is None else f"{doc_id}#0")  # BM25's
            assert doc_id in [getattr(hit.document, "parent", hit.document.id) for hit in found.hits]
        collection = pipeline.collection
        assert isinstance(collection, Collection)
        assert collection.delete(ids[::2]) == len(ids[::2])
        rest = {each: held for each, held in documents.items() if each not in set(ids[::2])}
        assert_whole(collection, rest, telling=splitter is None)


def test_passages_and_documents_whose_ids_look_alike(tmp_path: Path) -> None:
    long = "The wing lifts. " * 40
    documents = {each: Document(each, long) for each in ("a", "a#0", "a#0#0", "a#1", "#", "##0")}
    with Collection.create(
        tmp_path / "collection", arms(), splitter=Splitter(max_tokens=32, overlap=0)
    ) as collection:
        collection.add(documents.values())
        assert_whole(collection, documents, telling=False)
        for doc_id in ("a#0", "a", "#"):
            assert collection.delete([doc_id]) == 1
            del documents[doc_id]
            assert_whole(collection, documents, telling=False)
        collection.compact()
        assert_whole(reopened(collection), documents, telling=False)


@pytest.mark.parametrize("depth", [100, 500, 900])
def test_nesting(collection: Collection, depth: int) -> None:
    nested: Any = "end"
    for level in range(depth):
        nested = {"a": nested} if level % 2 else [nested]
    strange = Document("nested", "copy nested", metadata={"deep": nested, "year": 2020})
    plain = Document("plain", "copy plain", metadata={"year": 2020})
    collection.add([plain])
    try:
        collection.add([strange])
    except InputError:  # deeper than can be held: then it is refused, and does no harm
        held = {"plain": plain}
    else:
        held = {"plain": plain, "nested": strange}
    assert_whole(collection, held)
    assert collection.count({"year": 2020}) == len(held)
    assert collection.count({"deep": {"$exists": False}}) == 1
    assert collection.count({"deep": "end"}) == 0
    assert_whole(reopened(collection), held)


LONE = "\ud800"
CIRCLE: dict[str, Any] = {}
CIRCLE["again"] = CIRCLE
DEEP: Any = "end"
for _ in range(5000):
    DEEP = [DEEP]


NO_JSON: dict[str, Any] = {
    "a lone surrogate": {"a": LONE},
    "named by a lone surrogate": {LONE: 1},
    "an inner lone surrogate": {"a": [{"b": LONE}]},
    "an inner name": {"a": {LONE: 1}},
    "not a number": {"a": math.nan},
    "infinity": {"a": [math.inf]},
    "a set": {"a": {1, 2}},
    "bytes": {"a": b"bytes"},
    "an object": {"a": object()},
    "NumPy's NaN": {"a": np.float32("nan")},
    "named by a number": {1: "a"},
    "named by a tuple": {("a",): 1},
    "named by None": {None: 1},
    "a circle": {"a": CIRCLE},
    "too deep": {"a": DEEP},
    "too large a number": {"a": 10**5000},
}


@pytest.mark.parametrize("what", NO_JSON)
def test_metadata_that_is_no_json_is_refused(collection: Collection, what: str) -> None:
    metadata = NO_JSON[what]
    held = {"good": Document("good", "copy good", metadata={"a": 1})}
    collection.add(held.values())
    with pytest.raises(InputError):
        collection.add([Document("new", "copy new"), Document("bad", "copy bad", metadata=metadata)])
    with pytest.raises(InputError):
        collection.update_metadata({"good": metadata})
    with pytest.raises(InputError):
        collection.put_source("source", "1", [Document("bad", "copy bad", metadata=metadata)])
    assert_whole(collection, held)
    assert collection.sources() == {}
    assert_whole(reopened(collection), held)


def test_lone_surrogates_are_refused_with_nothing_changed(collection: Collection) -> None:
    held = {"good": Document("good", "copy good")}
    collection.add(held.values())
    for make in (lambda: Document(LONE, "a"), lambda: Document("a", LONE), lambda: Document("a", "a", LONE)):
        with pytest.raises(InputError, match="surrogate"):
            collection.add(each for each in [Document("new", "copy new"), make()])
    for put in (("a" + LONE, "digest"), ("a", "digest" + LONE)):
        with pytest.raises(InputError, match="surrogate"):
            collection.put_source(*put, [Document("new", "copy new")])
    pipeline = Pipeline.open(collection.path, retrievers=arms(), reranker=None)
    for change in (
        lambda: collection.drop_sources([LONE]),
        lambda: collection.delete([LONE]),
        lambda: collection.delete(["good", LONE], filters={"a": LONE}),
        lambda: collection.delete(filters={LONE: 1}),
        lambda: collection.update_metadata({LONE: {"a": 1}}),
        lambda: collection.get([LONE]),
        lambda: pipeline.search(Query("copy", ids=frozenset([LONE])), filters={"$not": {"a": 1}}),
    ):
        with suppress(InputError):  # to pass over what cannot be there is right too
            change()
    assert LONE not in collection
    assert collection.sources() == {}
    assert_whole(collection, held)


def test_documents_of_ten_megabytes(tmp_path: Path) -> None:
    # a vocabulary of few words, so that the arms have much to read and little to hold
    vectors = {"dense": np.eye(64, dtype=np.float32)[:3]}
    documents = {
        f"d{n}": Document(f"d{n}", f"copy d{n} " + "wing flap slat tail " * times(500_000, 120_000))
        for n in range(3)
    }
    with Collection.create(tmp_path / "collection", arms(), splitter=None) as collection:
        collection.add(list(documents.values()), vectors=vectors)
        assert collection.get(documents) == documents
    with Collection.open(tmp_path / "collection", arms()) as collection:
        assert collection.get(documents) == documents
        with collection.reading() as view:
            assert [len(index) for index in view.indexes.values()] == [3, 3]
        assert collection.delete(["d1"]) == 1
        collection.compact()
        assert set(collection) == {"d0", "d2"}


def test_very_many_documents_in_one_call_and_ids_in_one_delete(tmp_path: Path) -> None:
    count = times(100_000, 20_000)
    vectors = np.random.default_rng(1).standard_normal((count, 64)).astype(np.float32)
    documents = [Document(f"d{n}", f"copy d{n} wing", metadata={"n": n}) for n in range(count)]
    told: list[tuple[int, int]] = []
    with Collection.create(tmp_path / "collection", arms()) as collection:
        added = collection.add(documents, vectors={"dense": vectors}, progress=lambda *now: told.append(now))
        assert added == len(collection) == count
        assert told[-1] == (count, count)
        gone = {f"d{n}" for n in range(0, count, 2)[:40_000]}
        assert collection.delete(gone) == len(gone)
        rest = {each.id: each for each in documents if each.id not in gone}
        assert_whole(collection, rest, sample=0)
        half = list(range(count // 2))
        assert collection.count({"n": {"$in": half}}) == sum(f"d{n}" in rest for n in half)
        assert collection.get([each.id for each in documents]) == rest
    with Collection.open(tmp_path / "collection", arms()) as collection:
        assert_whole(collection, rest, sample=0)
        assert collection.delete(filters={}) == len(rest)
        assert_whole(collection, {})
