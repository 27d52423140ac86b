"""Another splitter, embedder or index for a live collection: built, switched to, taken back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from collection.survival.common import assert_whole
from support import NgramEmbedder

from hybridrank import Document, Passage, Pipeline, Query
from hybridrank.collection import Collection, ExportedDocument
from hybridrank.component import Component
from hybridrank.errors import ConfigError, InputError, StorageError
from hybridrank.ingest import Splitter
from hybridrank.retrieval import BM25, Faiss

SMALL = Splitter(max_tokens=32, overlap=0)


def documents(count: int = 40, *, of: str = "d") -> list[Document]:
    return [
        Document(
            f"{of}{n}",
            f"# Wing {of}{n}\n\nlift{of}{n} " + "air flows over it. " * 12 + f"\n\n# Drag\n\nslow{of}{n} it is",
            metadata={"year": 2000 + n % 5},
        )
        for n in range(count)
    ]


class Counting(Component):
    """An embedder that counts the documents that it embeds, and can do something at one of them."""

    use = "counting"
    dim: int = 64
    count: ClassVar[int] = 0
    then: ClassVar[Callable[[], None] | None] = None

    def embed(self, texts: Sequence[str], *, role: Any) -> Any:
        if role == "document":
            Counting.count += len(texts)
            if (then := Counting.then) is not None:
                Counting.then = None
                then()
        return NgramEmbedder(dim=self.dim).embed(texts, role=role)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    Counting.count, Counting.then = 0, None
    yield
    Counting.count, Counting.then = 0, None


def arms(dim: int = 64, **options: Any) -> dict[str, Any]:
    return {"bm25": BM25(**options), "dense": Faiss(embedder=Counting(dim=dim))}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Collection.create(tmp_path / "c", arms(), splitter=None, indexed_fields=["year"]) as collection:
        collection.add(documents())
    Counting.count = 0
    return tmp_path / "c"


def whole(collection: Collection, held: Sequence[Document]) -> None:
    assert_whole(collection, {each.id: each for each in held}, telling=False)
    chosen = {each.id for each in held if each.metadata.get("year") == 2001}
    assert collection.count({"year": 2001}) == len(chosen)
    with collection.reading() as view:
        ids = view.resolve(Query("any", filters={"year": 2001})).ids or ()
        assert {unit.partition("#")[0] for unit in ids} == chosen
        assert all(unit in view.indexes["bm25"] for unit in ids)


CHANGES: dict[str, dict[str, Any]] = {
    "a splitter": {"splitter": SMALL},
    "an embedder": {"retrievers": arms(dim=32)},
    "an analyzer": {"retrievers": arms(language="german", k1=2.0)},
    "an arm less": {"retrievers": {"bm25": BM25()}},
    "an arm more": {"retrievers": {**arms(), "other": Faiss(embedder=Counting(dim=16))}},
    "fields": {"indexed_fields": ["other", "year"]},
    "all of it": {"splitter": SMALL, "retrievers": arms(dim=32, b=0.5), "indexed_fields": []},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_changed_and_taken_back_is_whole(path: Path, what: str) -> None:
    held, options = documents(), CHANGES[what]
    with Collection.open(path, arms()) as collection:
        dry = collection.reindex(dry_run=True, **options)
        assert not dry.switched
        assert Counting.count == 0
        report = collection.reindex(**options)
        assert report.switched
        assert set(report.changed) == set(options) == set(dry.changed)
        assert (dry.documents, dry.units, dry.embedded) == (report.documents, report.units, Counting.count)
        whole(collection, held)
        late = documents(3, of="late")
        collection.add(late)
        collection.delete(["d1"])
        collection.update_metadata({"d2": {"year": 2001}})
        held = [each for each in held if each.id != "d1"] + late
        held[1] = Document("d2", held[1].text, metadata={"year": 2001})
        whole(collection, held)
        now = options.get("retrievers", arms())
        with Collection.open(path, now) as other:
            whole(other, held)
        Counting.count = 0
        assert collection.rollback(retrievers=arms()).switched
        assert Counting.count <= len(late)  # by document
        whole(collection, held)
        assert collection.splitter is None
        assert collection.indexed_fields == ("year",)
        Counting.count = 0
        collection.rollback(retrievers=now)
        assert Counting.count == 0
        whole(collection, held)
        collection.finish_reindex()
        whole(collection, held)
        with pytest.raises(InputError, match="has one layout"):
            collection.rollback()
    with Collection.open(path, now) as collection:
        whole(collection, held)
    with closing(sqlite3.connect(path / "collection.db")) as connection:
        vectors = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'vectors__'")
        ]
        wanted = sum(isinstance(arm, Faiss) for arm in now.values())
        assert len(vectors) == wanted
        (units,) = connection.execute("SELECT units FROM state").fetchone()
        for name in vectors:
            assert connection.execute(f"SELECT count(*) FROM {name}").fetchone() == (units,)


def test_nothing_is_done_where_nothing_changes(path: Path) -> None:
    with Collection.open(path, arms()) as collection:
        before = collection.statistics()["sequence"]
        report = collection.reindex(retrievers=arms(), splitter=None, indexed_fields=["year"])
        assert (report.changed, report.switched) == ((), False)
        assert collection.statistics()["sequence"] == before


def test_others_search_and_write_meanwhile_and_follow(path: Path) -> None:
    with Collection.open(path, arms()) as collection, Collection.open(path, arms()) as other:
        held = {each.id: each for each in documents()}

        def meanwhile(built: Collection) -> bool:
            """Called when the new layout is built, and before the switch."""
            assert built.splitter == SMALL
            assert not built.writable
            assert built.get(["d3"]) == {"d3": held["d3"]}
            assert built.count({"year": 2001}) == 8
            assert all(isinstance(unit, Passage) for unit in built.units())
            with pytest.raises(StorageError, match="only be read"):
                built.add(documents(1, of="no"))
            assert other.splitter is None
            new, changed = documents(5, of="new"), Document("d0", "another text", metadata={"year": 2001})
            other.add([*new, changed])
            other.delete(["d7"])
            other.update_metadata({"d8": {"year": 2001}})
            for each in [*new, changed, Document("d8", held["d8"].text, metadata={"year": 2001})]:
                held[each.id] = each
            del held["d7"]
            whole(other, list(held.values()))
            return True

        assert collection.reindex(splitter=SMALL, gate=meanwhile).switched
        whole(other, list(held.values()))
        assert other.splitter == SMALL
        whole(collection, list(held.values()))


def test_a_gate_that_refuses_leaves_all_as_it_is_and_nothing_is_done_twice(path: Path) -> None:
    with Collection.open(path, arms()) as collection:
        report = collection.reindex(splitter=SMALL, gate=lambda built: "")
        assert (report.switched, report.gate) == (False, "")
        assert report.units > report.documents == 40
        whole(collection, documents())
        assert collection.splitter is None
        with pytest.raises(InputError, match="was not switched to the layout that is being built"):
            collection.finish_reindex()
        embedded = Counting.count
        assert collection.reindex(splitter=SMALL).switched
        assert Counting.count == embedded
        whole(collection, documents())


def test_one_that_is_being_built_is_removed_or_replaced(path: Path) -> None:
    with Collection.open(path, arms()) as collection:
        collection.reindex(splitter=SMALL, gate=lambda built: False)
        assert not collection.rollback().switched
        with closing(sqlite3.connect(path / "collection.db")) as connection:
            assert connection.execute("SELECT count(*) FROM passages").fetchone() == (0,)
        collection.reindex(splitter=SMALL, gate=lambda built: False)
        collection.reindex(splitter=Splitter(max_tokens=64, overlap=0))
        whole(collection, documents())
        with pytest.raises(InputError, match="still has its layout of before"):
            collection.reindex(splitter=SMALL)


def test_what_was_embedded_before_a_failure_is_kept(path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("the disk of the model is gone")

    with Collection.open(path, arms()) as collection:
        collection.add(documents(1200, of="more"))
        Counting.count, batches = 0, []

        def progress(done: int, total: int) -> None:
            batches.append((done, total))
            Counting.then = fail if len(batches) == 2 else None

        with pytest.raises(RuntimeError, match="is gone"):
            collection.reindex(retrievers=arms(dim=32), progress=progress)
        assert [total for _, total in batches] == [1240] * 2
        kept = batches[-1][0]
        whole(collection, [*documents(), *documents(1200, of="more")])
        Counting.count = 0
        assert collection.reindex(retrievers=arms(dim=32)).switched
        assert Counting.count == 1240 - kept
        whole(collection, [*documents(), *documents(1200, of="more")])


def test_a_batch_that_was_prepared_for_the_layout_of_before_is_prepared_again(path: Path) -> None:
    with Collection.open(path, arms()) as collection, Collection.open(path, arms()) as other:
        Counting.then = lambda: other.reindex(splitter=SMALL) and None
        collection.add(documents(2, of="new"))
        whole(collection, [*documents(), *documents(2, of="new")])
        assert collection.splitter == SMALL
        Counting.then = lambda: other.rollback(retrievers=arms()) and None
        with pytest.raises(InputError, match="is split, and the vector given for it is of no passage"):
            collection.add(documents(1, of="x"), vectors={"dense": np.ones((1, 64), np.float32)})
        collection.add(documents(1, of="y"))
        whole(collection, [*documents(), *documents(2, of="new"), *documents(1, of="y")])


def test_retrievers_of_ones_own_that_fit_no_more(path: Path) -> None:
    with Collection.open(path, arms()) as other, Collection.open(path, arms()) as collection:
        collection.reindex(retrievers=arms(dim=32))
        with pytest.raises(StorageError, match=r"was reindexed while it was open.*open it again"):
            whole(other, documents())
        with pytest.raises(StorageError, match="was reindexed while it was open"):
            other.add(documents(1, of="x"))
        with Collection.open(path, {}) as bare:
            assert len(bare) == 40
        collection.rollback(retrievers=arms())
        whole(other, documents())


def test_wrong_options(path: Path) -> None:
    with Collection.open(path, arms()) as collection:
        with pytest.raises(InputError, match="reindex changes retrievers, splitter, indexed_fields, not 'fusion'"):
            collection.reindex(fusion="rrf")  # type: ignore[call-arg]
        with pytest.raises(InputError, match='splitter must be an object with split\\(\\), "auto" or "none"'):
            collection.reindex(splitter="never")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="not one str"):
            collection.reindex(indexed_fields="year")
        with pytest.raises(InputError, match="nothing to remove"):
            collection.finish_reindex()
    with Collection.open(path, {}) as bare, pytest.raises(InputError, match="opened without its retrievers"):
        bare.reindex(splitter=SMALL)


def test_a_snapshot_has_both_layouts(path: Path, tmp_path: Path) -> None:
    with Collection.open(path, arms()) as collection:
        collection.reindex(splitter=SMALL)
        collection.snapshot(tmp_path / "copy")
    with Collection.open(tmp_path / "copy", arms()) as copy:
        whole(copy, documents())
        assert copy.splitter == SMALL
        copy.rollback(retrievers=arms())
        whole(copy, documents())


# Pipelines


@pytest.fixture
def pipelines(tmp_path: Path) -> Iterator[tuple[Pipeline, Pipeline]]:
    options: dict[str, Any] = {
        "retrievers": {"bm25": BM25()},
        "reranker": None,
        "splitter": None,
        "indexed_fields": ["year"],
    }
    Pipeline.build(documents(), path=tmp_path / "p", **options).close()
    with Pipeline.open(tmp_path / "p") as first, Pipeline.open(tmp_path / "p") as second:
        yield first, second


def test_open_pipelines_follow(pipelines: tuple[Pipeline, Pipeline]) -> None:
    first, second = pipelines
    derived = [second, second.replace(fetch_k=7), second.scoped({"year": 2001})]
    assert not isinstance(second.search("slowd6").hits[0].document, Passage)
    report = first.reindex(splitter=SMALL, retrievers={"words": BM25(k1=2.0)}, fetch_k=9)
    assert report.switched
    assert (first.config.fetch_k, first.config.splitter) == (9, SMALL)
    for pipeline in [first, *derived]:
        hit = pipeline.search("slowd6", rerank_k=3).hits[0]
        assert isinstance(hit.document, Passage)
        assert hit.document.parent == "d6"
        assert list(pipeline.config.retrievers) == ["words"]
        assert pipeline.config.splitter == SMALL
        assert len(pipeline.retrievers["words"]) == report.units if pipeline is not derived[2] else True
    assert [each.config.fetch_k for each in derived] == [50, 7, 50]
    first.rollback()
    for pipeline in [first, *derived]:
        assert not isinstance(pipeline.search("slowd6").hits[0].document, Passage)
    with Pipeline.open(first.collection.path or "") as opened:
        assert opened.config.fetch_k == 50


def test_a_pipeline_whose_options_fit_no_more(tmp_path: Path) -> None:
    Pipeline.build(
        documents(), path=tmp_path / "p", retrievers={"bm25": BM25()}, reranker=None, splitter=None
    ).close()
    with (
        Pipeline.open(tmp_path / "p") as first,
        Pipeline.open(tmp_path / "p", fusion={"use": "rrf", "weights": {"bm25": 2.0}}) as second,
    ):
        first.reindex(retrievers={"words": BM25()})
        with pytest.raises(
            StorageError, match=r"options do not fit: open it again .*no retriever is called 'bm25'"
        ):
            second.search("lift")


def test_the_gate_of_a_pipeline_searches_both(pipelines: tuple[Pipeline, Pipeline]) -> None:
    first, second = pipelines

    def gate(current: Pipeline, other: Pipeline) -> bool:
        assert not isinstance(current.search("slowd6").hits[0].document, Passage)
        assert isinstance(other.search("slowd6", filters={"year": 2001}).hits[0].document, Passage)
        return False

    assert not first.reindex(splitter=SMALL, gate=gate).switched
    assert second.config.splitter is None


def test_pipelines_that_cannot_be_reindexed(pipelines: tuple[Pipeline, Pipeline]) -> None:
    first, _ = pipelines
    with pytest.raises(InputError, match="scoped"):
        first.scoped({"year": 2001}).reindex(splitter=SMALL)
    with pytest.raises(ConfigError, match="declare_fields"):
        first.reindex(fields={"year": int})  # type: ignore[call-arg]
    memory = Pipeline.build(documents(2), retrievers={"bm25": BM25()}, reranker=None)
    with pytest.raises(InputError, match="in memory"):
        memory.reindex(splitter=SMALL)


# Vectors that come along


def test_exported_documents_are_stored_without_embedding(path: Path, tmp_path: Path) -> None:
    with Collection.open(path, arms()) as collection:
        collection.reindex(splitter=SMALL)
        collection.add(documents(2, of="new"))
        exported = list(collection.export({"year": 2001}))
        assert {each.document.id for each in exported} == {
            each.id for each in collection.documents({"year": 2001})
        }
        with collection.reading() as view:
            for each in exported:
                ids = [f"{each.document.id}#{n}" for n in range(len(each.spans))]
                (rows,) = each.vectors.values()
                np.testing.assert_array_equal(rows, view.indexes["dense"].vectors(ids))
                assert [view.units([i])[i].text for i in ids] == [each.document.text[s:e] for s, e in each.spans]
        everything = list(collection.export())
    Counting.count = 0
    held = [*documents(), *documents(2, of="new")]
    with Collection.create(tmp_path / "same", arms(), splitter=SMALL, indexed_fields=["year"]) as same:
        assert same.add_exported(iter(everything)) == len(held)
        assert Counting.count == 0
        whole(same, held)
        same.add([Document("copy", held[0].text)])  # its passages are known
        assert Counting.count == 0
    with Collection.create(tmp_path / "unlike", arms(dim=32), splitter=SMALL, indexed_fields=["year"]) as unlike:
        unlike.add_exported(everything)
        assert Counting.count > 0
        whole(unlike, held)
    with Collection.create(tmp_path / "unsplit", arms(), splitter=None, indexed_fields=["year"]) as unsplit:
        unsplit.add_exported(everything)
        whole(unsplit, held)


def test_exported_vectors_that_are_none(tmp_path: Path) -> None:
    document = Document("d", "lift")
    identity = '{"dim": 64, "use": "counting"}'
    with Collection.create(tmp_path / "c", arms()) as collection:
        for rows, said in [
            (np.zeros((1, 64), np.float32), "zero or not finite"),
            (np.full((1, 64), np.nan, np.float32), "zero or not finite"),
        ]:
            with pytest.raises(InputError, match=said):
                collection.add_exported([ExportedDocument(document, [(0, 4)], {identity: rows})])
        collection.add_exported([ExportedDocument(document, [(0, 4)], {identity: np.ones((1, 64), np.float32)})])
        assert Counting.count == 0
        with pytest.raises(InputError, match="vectors of 3 dimensions, and the collection has vectors of 64"):
            collection.add_exported(
                [ExportedDocument(document, [(0, 4)], {identity: np.ones((1, 3), np.float32)})]
            )
    with pytest.raises(InputError, match="0 to 5 is no part of the text"):
        ExportedDocument(document, [(0, 5)])
    with pytest.raises(InputError, match=r"has 1 units, and vectors of shape \(2, 64\)"):
        ExportedDocument(document, [(0, 4)], {identity: np.ones((2, 64), np.float32)})
