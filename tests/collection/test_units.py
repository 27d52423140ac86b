"""Whole documents and passages in one collection: what is split, its ids, and what happens to them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hybridrank import Document, Passage, Pipeline
from hybridrank.collection import Collection
from hybridrank.errors import ConfigError, InputError
from hybridrank.ingest import Splitter
from hybridrank.retrieval import BM25

SPLITTER = Splitter(max_tokens=32, overlap=0, keep_whole=40, tokenizer="words")
LONG = "\n\n".join(
    f"Paragraph {name} speaks of {name} and nothing else, at some length indeed." for name in "abcdefgh"
)


@pytest.fixture(params=["memory", "disk", "reopened"])
def make(request, tmp_path):
    """Pipelines over BM25 that split long documents."""

    def pipeline(documents, **options):
        path = None if request.param == "memory" else tmp_path / "c"
        settings = {"retrievers": {"bm25": BM25()}, "reranker": None, "splitter": SPLITTER, **options}
        made = Pipeline.build(documents, path=path, **settings)
        if request.param == "reopened":
            made.close()
            made = Pipeline.open(path)
        return made

    return pipeline


def test_what_fits_stays_whole_and_keeps_its_id(make):
    pipeline = make([Document("short", "A short one about x."), Document("long", LONG, metadata={"n": 1})])
    (hit,) = pipeline.search("x", k=1)
    assert (hit.id, type(hit.document)) == ("short", Document)
    hit = pipeline.search("paragraph f", k=1)[0]
    assert isinstance(hit.document, Passage)
    assert hit.id == f"long#{hit.id.rpartition('#')[2]}"
    assert "speaks of f" in hit.text
    assert hit.metadata == {"n": 1}
    assert list(pipeline.collection) == ["short", "long"]


def test_a_passage_is_got_by_its_id(make):
    pipeline = make([Document("short", "A short one about x."), Document("long", LONG)])
    found = pipeline.collection.get(["long#1", "long", "short", "long#99", "long#01", "short#0", "x#1"])
    assert list(found) == ["long#1", "long", "short"]
    passage = found["long#1"]
    assert isinstance(passage, Passage)
    assert LONG[passage.start : passage.end] == passage.text
    assert type(found["long"]) is Document


def test_a_scope_hides_the_passages_of_documents_outside_it(make):
    pages = {"divisions": {"page": [[0, 1]]}}
    pipeline = make(
        [Document("mine", LONG, metadata={"who": "me", **pages}), Document("yours", LONG, metadata=pages)]
    )
    scoped = pipeline.scoped({"who": "me"})
    assert list(scoped.get(["mine#0", "yours#0"])) == ["mine#0"]
    assert not pipeline.scoped({"page": 1}).get(["mine#0"])  # a page is no document's


def test_a_document_that_grows_is_split_and_one_that_shrinks_is_whole_again(make):
    pipeline = make([Document("a", "A short one about x.")])
    pipeline.add([Document("a", LONG)])
    assert {hit.id for hit in pipeline.search("paragraph", k=50)} == {
        f"a#{n}" for n in range(len(SPLITTER.split(Document("a", LONG))))
    }
    assert not pipeline.search("short").hits
    pipeline.add([Document("a", "Short again.")])
    assert [hit.id for hit in pipeline.search("short again paragraph", k=50)] == ["a"]
    pipeline.delete(["a"])
    assert not pipeline.search("short").hits
    assert len(pipeline) == 0


def test_filters_reach_whole_documents_and_passages(make):
    pipeline = make(
        [
            Document("whole", "Paragraph x is short.", metadata={"year": 1}),
            Document("long", LONG, metadata={"year": 1}),
            Document("other", LONG, metadata={"year": 2}),
        ]
    )
    found = {hit.id.partition("#")[0] for hit in pipeline.search("paragraph", k=100, filters={"year": 1})}
    assert found == {"whole", "long"}


def test_ids_like_those_of_passages_are_ordinary_ids(make):
    chunks = [Document(f"file.html#{n}", f"Chunk {name} of somebody's own.") for n, name in enumerate("xyz")]
    pipeline = make([*chunks, Document("long", LONG)])
    hits = pipeline.search("chunk y", k=3)
    assert hits[0].id == "file.html#1"
    assert pipeline.collection.get(["file.html#1"]) == {"file.html#1": chunks[1]}
    per_document = [hit.id for hit in pipeline.search("chunk paragraph", k=10, per_document=True)]
    assert sorted(each for each in per_document if each.startswith("file")) == [each.id for each in chunks]
    assert len([each for each in per_document if each.startswith("long")]) == 1


@pytest.mark.parametrize("order", [1, -1])
def test_no_document_takes_the_id_of_a_passage(make, order):
    both = [Document("a", LONG), Document("a#1", "A short one.")][::order]
    pipeline = make(both[:1])
    with pytest.raises(InputError, match="'a#1' is the id of a document and of a passage of 'a', which is split"):
        pipeline.add(both[1:])
    assert list(pipeline.collection) == [both[0].id]
    with pytest.raises(InputError, match="is the id of a document and of a passage"):
        pipeline.add([Document("b", "x"), *both])
    pipeline.delete([both[0].id])
    assert pipeline.add(both[1:]) == 1


def test_vectors_are_of_whole_documents(tmp_path):
    from hybridrank.retrieval import Faiss

    pipeline = Pipeline.build(
        [],
        retrievers={"dense": Faiss()},
        reranker=None,
        splitter={"keep_whole": 40, "max_tokens": 32, "overlap": 0},
    )
    with pytest.raises(InputError, match="'long' is split, and the vector given for it is of no passage"):
        pipeline.add([Document("a", "x"), Document("long", LONG)], vectors={"dense": [[0.0] * 383 + [1.0]] * 2})
    assert len(pipeline) == 0
    assert pipeline.add([Document("a", "x")], vectors={"dense": [[0.0] * 383 + [1.0]]}) == 1
    assert (
        Pipeline.build([Document("long", LONG * 9)], vectors={"dense": [[1.0] + [0.0] * 383]}).config.splitter
        is None
    )


def test_every_change_of_a_mixed_collection_is_one_of_its_content(tmp_path: Path) -> None:
    """Random changes; then every index holds what a new collection of the same documents holds."""
    rng = random.Random(7)
    pieces = LONG.split("\n\n")
    held: dict[str, Document] = {}
    path = tmp_path / "c"
    collection = Collection.create(path, {"bm25": BM25()}, splitter=SPLITTER)
    for step in range(60):
        name = f"d{rng.randrange(12)}"
        if rng.random() < 0.25:
            collection.delete([name])
            held.pop(name, None)
        else:
            held.pop(name, None)
            held[name] = Document(name, "\n\n".join(rng.sample(pieces, rng.randint(1, 8))))
            collection.add([held[name]])
        if step % 20 == 19:
            collection.compact()
            collection.close()
            collection = Collection.open(path, {"bm25": BM25()})
    expected = {unit.id: unit.content for each in held.values() for unit in SPLITTER.split(each) or [each]}
    assert {unit.id: unit.content for unit in collection.units()} == expected
    with collection.reading() as view:
        assert len(view.indexes["bm25"]) == len(expected)
        assert all(unit in view.indexes["bm25"] for unit in expected)
    collection.close()


def test_the_default_splitter_fits_the_models(tmp_path):
    path = tmp_path / "c"
    with Pipeline.build([], path=path) as pipeline:
        splitter = pipeline.config.splitter
        assert isinstance(splitter, Splitter)
        assert splitter.keep_whole == 512 - 64 - 1  # MiniLM's window, less a query and one more special token
        assert splitter.max_tokens == 256
        assert splitter.tokenizer == "BAAI/bge-small-en-v1.5"
    assert Pipeline.open(path).config.splitter == splitter
    assert Pipeline.build([], retrievers={"bm25": BM25()}, reranker=None).config.splitter == Splitter(
        max_tokens=256, overlap=32, keep_whole=512, tokenizer="words"
    )


@pytest.mark.parametrize("none", [None, "none"])
def test_nothing_is_split_on_request(tmp_path, none):
    path = tmp_path / "c"
    with Pipeline.build(
        [Document("long", LONG * 20)], path=path, retrievers={"bm25": BM25()}, splitter=none
    ) as made:
        assert made.search("paragraph", k=1)[0].id == "long"
        assert made.config.to_config()["splitter"] == "none"
    assert Pipeline.open(path).config.splitter is None


def test_another_splitter_is_refused():
    with pytest.raises(ConfigError, match=r'^\$\.splitter: no splitter is registered as "never"'):
        Pipeline.build([], splitter="never")
