"""What a collection does, whether it is in memory or on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from support import TOPICS, NgramEmbedder, SharedWords

from hybridrank import Collection, Document, Passage, Pipeline, Query, Ranking
from hybridrank.errors import ConfigError, InputError, SearchError, StorageError
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.retrieval import BM25, Faiss, RankBM25

ARMS = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}
BOOKS = [
    Document(
        "lift", "# Lift\n\nAir flows faster above a wing. The wing rises.\n\n# Drag\n\nAir holds a wing back."
    ),
    Document("soil", "# Soil\n\nWorms make soil. Soil feeds plants.\n\n# Rain\n\nRain feeds soil, too."),
    Document("short", "A wing."),
]

Build = Callable[..., Pipeline]


@pytest.fixture(params=["memory", "disk"])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    """Build a pipeline over documents; on disk, one that was opened again."""

    def built(documents: list[Document], **options: Any) -> Pipeline:
        options = {"retrievers": ARMS, "reranker": None, **options}
        if request.param == "memory":
            return Pipeline.build(documents, **options)
        Pipeline.build(documents, path=tmp_path / "c", **options).close()
        return Pipeline.open(tmp_path / "c", retrievers=options["retrievers"])

    return built


def found(pipeline: Pipeline, query: str | Query, **options: Any) -> list[str]:
    return [hit.document.id for hit in pipeline.search(query, **options).hits]


def test_documents_come_back_as_they_were(build: Build) -> None:
    document = Document(
        "ä#1\0", "text\0with\nall ☃ 𝄞", title="Ti\ttle", metadata={"a": [1, None, {"b": 1.5}], "": "x"}
    )
    pipeline = build([*TOPICS, document])

    assert pipeline.get(["ä#1\0", "nobody"]) == {"ä#1\0": document}
    assert pipeline.collection.count() == len(pipeline) == 8
    assert list(pipeline.collection) == [each.id for each in [*TOPICS, document]]
    assert list(pipeline.collection.documents()) == [*TOPICS, document]
    assert "ä#1\0" in pipeline.collection
    assert "nobody" not in pipeline.collection
    assert 7 not in pipeline.collection


def test_what_is_added_is_found_and_what_is_deleted_is_not(build: Build) -> None:
    pipeline = build(TOPICS)

    assert pipeline.add([Document("worms", "Worms eat waste.")]) == 1
    assert found(pipeline, "worms waste", k=1) == ["worms"]
    assert pipeline.delete(["worms", "nobody"]) == 1
    assert "worms" not in found(pipeline, "worms waste", k=20)
    assert pipeline.delete(["worms"]) == 0
    assert pipeline.add([]) == 0


def test_a_document_takes_the_place_of_the_one_with_its_id(build: Build) -> None:
    pipeline = build(TOPICS)

    pipeline.add([Document("plastic", "Bees make honey.", metadata={"year": 1})])

    assert len(pipeline) == 7
    assert found(pipeline, "bees and honey", k=1) == ["plastic"]
    assert pipeline.get(["plastic"])["plastic"].metadata == {"year": 1}
    assert "plastic" not in [
        h.document.id for h in pipeline.search("recycling facilities", k=3).hits if h.score > 0.04
    ]
    assert list(pipeline.collection)[-1] == "plastic"


def test_filters_choose_before_the_cut(build: Build) -> None:
    documents = [
        Document(f"d{n}", f"compost soil {'x ' * n}", metadata={"n": n, "even": n % 2 == 0}) for n in range(60)
    ]
    pipeline = build(documents, fetch_k=3, indexed_fields=["n"])

    assert sorted(found(pipeline, "compost", k=3, filters={"n": {"$gte": 57}})) == ["d57", "d58", "d59"]
    assert len(found(pipeline, "compost", k=40, filters={"even": True})) == 30
    assert found(pipeline, "compost", k=3, filters={"n": [7]}) == ["d7"]
    assert found(pipeline, Query("compost", filters={"n": {"$lt": 9}}), filters={"n": {"$gt": 7}}) == ["d8"]
    assert found(pipeline, Query("compost", ids={"d1", "d2"}), filters={"n": 2}) == ["d2"]
    assert found(pipeline, Query("compost", ids={"nobody"})) == []
    assert found(pipeline, "compost", filters={"n": -1}) == []
    assert pipeline.collection.count({"n": {"$lt": 10}}) == 10
    assert [d.id for d in pipeline.collection.documents({"n": {"$gt": 58}})] == ["d59"]
    assert pipeline.delete(filters={"even": False}) == 30
    assert len(found(pipeline, "compost", k=60)) == 30
    many = pipeline.search_many(["compost", "soil"], k=1, filters={"n": 4})
    assert [[hit.document.id for hit in result.hits] for result in many] == [["d4"], ["d4"]]
    (hit,) = asyncio.run(pipeline.asearch("compost", k=1, filters={"n": 6})).hits
    assert hit.document.id == "d6"
    with pytest.raises(InputError, match=r"\$\.n\.\$gtt"):
        pipeline.search("compost", filters={"n": {"$gtt": 1}})


def test_metadata_can_be_changed_without_indexing_again(build: Build) -> None:
    pipeline = build(TOPICS, indexed_fields=["year"])

    changed = pipeline.collection.update_metadata(
        {"compost": {"year": 1999, "x": [1]}, "industry": {"year": None}}
    )

    assert changed == 2
    assert pipeline.get(["compost", "industry"])["compost"].metadata == {"year": 1999, "x": [1]}
    assert pipeline.get(["industry"])["industry"].metadata == {}
    assert found(pipeline, "waste", filters={"year": {"$gt": 0}}) == ["compost"]
    with pytest.raises(InputError, match="no document 'nobody'; nothing was changed"):
        pipeline.collection.update_metadata({"compost": {"year": 1}, "nobody": {"year": 1}})
    assert found(pipeline, "waste", filters={"year": 1999}) == ["compost"]


def test_bad_input_changes_nothing(build: Build) -> None:
    pipeline = build(TOPICS)
    before = list(pipeline.collection.documents())

    with pytest.raises(InputError, match=r"documents\[1\] is a str"):
        pipeline.add([Document("new", "x"), "text"])  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"documents\[1\] repeats the id 'new'"):
        pipeline.add([Document("new", "x"), Document("new", "y")])
    with pytest.raises(InputError, match="not one str"):
        pipeline.delete("compost")
    with pytest.raises(InputError, match="must be str, not int"):
        pipeline.delete([1])  # type: ignore[list-item]
    assert list(pipeline.collection.documents()) == before


def test_vectors_can_be_given(build: Build) -> None:
    directions = np.eye(7, 64, dtype=np.float32) * 3
    pipeline = build(TOPICS)
    pipeline.add(TOPICS, vectors={"dense": directions})

    for row, document in enumerate(TOPICS):
        result = pipeline.search(Query("waste", vector=directions[row]), k=7)
        dense = next(stage for stage in result.trace.stages if stage.name == "dense")
        assert dense.ids[0] == document.id
        assert dense.scores[0] == pytest.approx(1.0)

    one = [Document("x", "y")]
    for vectors, problem in {
        "shape": ({"dense": np.ones((2, 64))}, "shape"),
        "zero": ({"dense": np.zeros((1, 64))}, "zero or not finite"),
        "arm": ({"bm25": np.ones((1, 64))}, "no arm called 'bm25'"),
        "dim": ({"dense": np.ones((1, 63))}, "64"),
    }.values():
        with pytest.raises(InputError, match=problem):
            pipeline.add(one, vectors=vectors)
    assert len(pipeline) == 7


def test_passages_are_found_in_their_place(build: Build) -> None:
    pipeline = build(BOOKS, splitter=Splitter(max_tokens=32, overlap=0))

    (hit,) = pipeline.search("what holds a wing back?", k=1).hits
    assert isinstance(hit.document, Passage)
    assert hit.document.parent == "lift"
    assert hit.document.headings == ("Drag",)
    assert BOOKS[0].text[hit.document.start : hit.document.end] == hit.document.text
    assert pipeline.get(["lift"]) == {"lift": BOOKS[0]}
    assert len(pipeline) == 3
    assert found(pipeline, Query("wing", ids={"short"})) == ["short#0"]

    pipeline.add([Document("lift", "Nothing about it.")])
    assert "lift#1" not in found(pipeline, "wing", k=20)
    assert pipeline.delete(["soil"]) == 1
    assert {unit.rpartition("#")[0] for unit in found(pipeline, "soil wing", k=20)} == {"lift", "short"}


def test_the_best_passage_of_each_document(build: Build) -> None:
    long = Document("long", "\n\n".join(f"# Part {n}\n\nWings lift. Part {n}." for n in range(40)))
    pipeline = build([long, *BOOKS], splitter=Splitter(max_tokens=32, overlap=0), fetch_k=3, reranker=None)

    result = pipeline.search("wings lift part", k=3, per_document=True)

    parents = [hit.document.parent for hit in result.hits]
    assert len(set(parents)) == len(parents) == 3
    assert parents[0] == "long"
    alone = pipeline.search("wings lift part", k=3).hits
    assert {hit.document.parent for hit in alone} == {"long"}
    assert result.to_dict()["hits"][0]["parent"] == "long"


def test_per_document_is_the_same_where_nothing_is_split(build: Build) -> None:
    pipeline = build(TOPICS)

    assert found(pipeline, "compost", per_document=True) == found(pipeline, "compost")


def test_passages_are_what_the_reranker_reads(build: Build) -> None:
    reranker = SharedWords()
    pipeline = build(BOOKS, splitter=Splitter(max_tokens=32, overlap=0)).replace(reranker=reranker)

    pipeline.search("wing", k=2)

    assert all("#" in unit for units in reranker.seen for unit in units)


def test_any_index_takes_part(build: Build) -> None:
    pipeline = build(TOPICS, retrievers={"lexical": RankBM25(), **ARMS}, fetch_k=20)
    pipeline.add([Document("worms", "Worms eat waste.")])
    pipeline.delete(["compost"])

    with pipeline.collection.reading() as view:
        assert {name: len(index) for name, index in view.indexes.items()} == {"lexical": 7, "bm25": 7, "dense": 7}


class Remote:
    """A remote engine over the same documents, which brings none of them along, and knows no filters."""

    def retrieve(self, queries: list[Query], *, k: int) -> list[Ranking]:
        return [Ranking.of({"compost": 2.0, "nuclear": 1.0}, k=k) for _ in queries]


def test_documents_of_remote_arms_are_fetched(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = build(TOPICS, retrievers={"remote": Remote(), "bm25": BM25()}, fetch_k=1)

    assert set(found(pipeline, "humus and mulch", k=3)) == {"garden", "compost", "nuclear"}
    result = pipeline.search("chemical", filters={"year": 2021})
    assert [hit.document.id for hit in result.hits] == ["industry"]
    assert "do not match the query's filters" in result.degraded["remote"]
    assert "remote" in caplog.text


def test_a_collection_of_remote_arms_alone(build: Build) -> None:
    pipeline = build(TOPICS, retrievers={"remote": Remote()})

    assert found(pipeline, "anything", k=3) == ["compost", "nuclear"]
    with pytest.raises(SearchError, match="filters"):
        pipeline.search("anything", filters={"year": 2021})


def test_progress_counts_every_document(build: Build, tmp_path: Path) -> None:
    pipeline = build(TOPICS)
    seen: list[tuple[int, int]] = []

    pipeline.add([Document(f"n{n}", f"text {n}") for n in range(1200)], progress=lambda *now: seen.append(now))

    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


# What only a collection on disk has.


def test_a_collection_is_an_object_of_its_own(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", ARMS, indexed_fields=["year"]) as collection:
        assert collection.add(iter(TOPICS)) == 7
        assert collection.refresh() is False
        statistics = collection.statistics()
    assert statistics["documents"] == 7
    assert statistics["indexed_fields"] == ["year"]
    assert statistics["arms"]["dense"]["passages"] == 7
    with pytest.raises(StorageError, match="has been closed"):
        collection.get(["compost"])
    with Collection.open(tmp_path / "c", ARMS) as again:
        assert again.get(["nuclear"]) == {"nuclear": TOPICS[4]}


def test_the_configuration_is_kept(tmp_path: Path) -> None:
    options = {"fusion": {"use": "rrf", "k": 7}, "fetch_k": 9, "reranker": None}
    Pipeline.build(TOPICS, path=tmp_path / "c", retrievers={"bm25": BM25(k1=0.9)}, **options).close()

    with Pipeline.open(tmp_path / "c") as pipeline:
        assert pipeline.config.to_config()["retrievers"]["bm25"]["k1"] == 0.9
        assert pipeline.config.to_config()["fusion"]["k"] == 7
        assert pipeline.config.fetch_k == 9
        assert pipeline.config.reranker is None
    with Pipeline.open(tmp_path / "c", fetch_k=5, retrievers={"bm25": BM25(k1=2.0)}) as pipeline:
        assert pipeline.config.fetch_k == 5
        assert pipeline.retrievers["bm25"].component.k1 == 2.0


def test_parts_without_a_name_must_be_given_again(tmp_path: Path) -> None:
    Pipeline.build(TOPICS, path=tmp_path / "c", retrievers={"bm25": BM25()}, reranker=SharedWords()).close()

    with pytest.raises(ConfigError, match=r"\$\.reranker: it was an object that has no registered name"):
        Pipeline.open(tmp_path / "c")
    with Pipeline.open(tmp_path / "c", reranker=SharedWords()) as pipeline:
        assert found(pipeline, "organic waste", k=1) == ["compost"]


def test_another_embedder_is_refused(tmp_path: Path) -> None:
    Pipeline.build(TOPICS, path=tmp_path / "c", retrievers=ARMS, reranker=None).close()

    other = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder(dim=32))}
    with pytest.raises(ConfigError, match=r"\$\.retrievers\.dense\.embedder: the collection has no vectors of"):
        Pipeline.open(tmp_path / "c", retrievers=other)


def test_another_language_is_indexed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Pipeline.build(TOPICS, path=tmp_path / "c", retrievers={"bm25": BM25()}, reranker=None) as pipeline:
        pipeline.collection.compact()

    with (
        caplog.at_level(logging.WARNING),
        Pipeline.open(tmp_path / "c", retrievers={"bm25": BM25(language="none")}) as pipeline,
    ):
        assert found(pipeline, "composted", k=9) == ["compost"]
        assert found(pipeline, "degrading", k=9) == ["biology"]
    assert "cannot be used and are made again" in caplog.text


def test_indexes_of_an_earlier_analysis_are_made_again_without_embedding(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}
    with monkeypatch.context() as earlier:
        earlier.setattr("hybridrank.retrieval.bm25.saving._FORMAT", 2)
        with Pipeline.build(TOPICS, path=tmp_path / "c", retrievers=arms, reranker=None) as pipeline:
            pipeline.collection.compact()

    def embed(*_: object, **__: object) -> None:
        raise AssertionError("embedded again")

    with monkeypatch.context() as later, caplog.at_level(logging.WARNING):
        later.setattr(NgramEmbedder, "embed", embed)
        with Pipeline.open(tmp_path / "c", retrievers=arms, reranker=None) as pipeline:
            assert pipeline.collection.statistics()["arms"]["bm25"]["passages"] == len(TOPICS)
    assert "made again" in caplog.text
    assert "reads format 3" in caplog.text


@pytest.mark.parametrize("durable", [False, True])
def test_terms_of_no_document_are_forgotten(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "c" if durable else None
    with Pipeline.build(
        [Document("seed", "seed")], path=path, retrievers={"bm25": BM25()}, reranker=None
    ) as pipeline:
        for turn in range(5):
            pipeline.add([Document(f"d{n}", f"turn{turn}word{n} common") for n in range(40)])
        pipeline.delete([f"d{n}" for n in range(39)])
        if durable:
            pipeline.collection.compact()  # in memory, this happens by itself
        assert pipeline.collection.statistics()["arms"]["bm25"]["terms"] == 3
        assert found(pipeline, "turn4word39", k=9) == ["d39"]
        assert found(pipeline, "turn3word39", k=9) == []


def test_build_refuses_what_is_there(tmp_path: Path) -> None:
    Pipeline.build(TOPICS, path=tmp_path / "c", retrievers={"bm25": BM25()}).close()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "letter.txt").write_text("dear")

    with pytest.raises(StorageError, match="already holds a collection: open it"):
        Pipeline.build(TOPICS, path=tmp_path / "c", retrievers={"bm25": BM25()})
    with pytest.raises(StorageError, match="already holds something else"):
        Pipeline.build(TOPICS, path=tmp_path / "d", retrievers={"bm25": BM25()})
    with pytest.raises(StorageError, match="there is no collection in"):
        Pipeline.open(tmp_path / "e")
    with pytest.raises(ConfigError, match=r"\$\.splitter"):
        Pipeline.open(tmp_path / "c", splitter=None)
    assert (tmp_path / "d" / "letter.txt").exists()


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Pipeline.build([*TOPICS, TOPICS[0]], path=tmp_path / "c", retrievers={"bm25": BM25()})
    assert not (tmp_path / "c").exists()


class Counting(NgramEmbedder):
    """Counts the documents that it embeds, over all its instances."""

    texts: ClassVar[list[str]] = []

    def embed(self, texts: Any, *, role: Any) -> np.ndarray:
        if role == "document":
            self.texts.extend(texts)
        return super().embed(texts, role=role)


def test_nothing_is_embedded_twice(tmp_path: Path) -> None:
    Counting.texts.clear()
    texts = Counting.texts
    arms = {"one": Faiss(embedder=Counting()), "two": Faiss(embedder=Counting(), factory="Flat")}

    collection = Collection.create(tmp_path / "c", arms)
    collection.add(TOPICS)
    assert len(texts) == 7  # two arms, one embedder
    collection.add([Document(d.id, d.text, d.title, {"new": True}) for d in TOPICS])
    collection.add([Document("again", TOPICS[1].text), Document("and again", TOPICS[1].text)])
    collection.delete([d.id for d in TOPICS])
    collection.add(TOPICS)
    assert len(texts) == 7
    collection.add([Document("x", "new"), Document("y", "new")])
    assert texts[7:] == ["new"]
    collection.close()
    Collection.open(tmp_path / "c", arms).close()
    assert len(texts) == 8


def test_what_is_deleted_and_compacted_is_embedded_again_and_only_that(tmp_path: Path) -> None:
    Counting.texts.clear()
    with Collection.create(tmp_path / "c", {"dense": Faiss(embedder=Counting())}) as collection:
        collection.add([Document("a", "air"), Document("b", "boat")])
        collection.delete(["a"])
        collection.add([Document("c", "air")])  # the text is known, whichever document had it
        collection.delete(["c"])
        collection.compact()
        collection.add([Document("d", "air"), Document("e", "boat")])
    assert Counting.texts == ["air", "boat", "air"]


class Meanwhile(NgramEmbedder):
    """Does something else while it embeds documents."""

    work: ClassVar[Callable[[], object]] = staticmethod(lambda: None)

    def embed(self, texts: Any, *, role: Any) -> np.ndarray:
        if role == "document" and texts == ["slow"]:
            Meanwhile.work()
        return super().embed(texts, role=role)


def test_others_write_and_search_while_documents_are_embedded(tmp_path: Path) -> None:
    arms = {"bm25": BM25(), "dense": Faiss(embedder=Meanwhile())}
    with (
        Pipeline.build(TOPICS, path=tmp_path / "c", retrievers=arms, reranker=None) as pipeline,
        Pipeline.open(tmp_path / "c", retrievers=arms, reranker=None) as other,
    ):
        seen: list[list[str]] = []

        def work() -> None:
            other.add([Document("quick", "Bees make honey.")])
            other.delete(["plastic"])
            seen.append(found(pipeline, "bees and honey", k=1))

        Meanwhile.work = staticmethod(work)
        pipeline.add([Document("slow", "slow"), *TOPICS[:1]])
        assert seen == [["quick"]]
        for each in (pipeline, other):
            assert len(each) == len(TOPICS) + 1
            assert found(each, "slow", k=1) == ["slow"]
            assert found(each, "bees and honey", k=1) == ["quick"]
            assert "plastic" not in found(each, "plastic waste", k=20)


def test_a_text_that_gets_more_or_fewer_passages(build: Build) -> None:
    pipeline = build(BOOKS, splitter=Splitter(max_tokens=32, overlap=0))
    for parts in (5, 1, 9, 2):
        text = "\n\n".join(f"# Part {n}\n\nBees make honey {n}." for n in range(parts))
        pipeline.add([Document("lift", text)])
        units = {unit for unit in found(pipeline, "bees honey", k=50) if unit.startswith("lift#")}
        assert units == {f"lift#{n}" for n in range(parts)}
        with pipeline.collection.reading() as view:
            assert {len(index) for index in view.indexes.values()} == {parts + 3}
        if isinstance(pipeline.collection, Collection):
            assert pipeline.collection.statistics()["passages"] == parts + 3
            pipeline.collection.compact()


@pytest.mark.parametrize("splitter", [None, Splitter(max_tokens=32, overlap=0)])
def test_a_collection_that_was_emptied_goes_on(build: Build, splitter: Splitter | None) -> None:
    pipeline = build(BOOKS, splitter=splitter, indexed_fields=["n"])
    for number in range(3):
        assert pipeline.delete(filters={}) == (3 if number == 0 else 1)
        for filters in (None, {}, {"n": 1}, {"m": {"$exists": True}}):
            for per_document in (False, True):
                assert found(pipeline, "wing", filters=filters, per_document=per_document) == []
            assert pipeline.collection.count(filters) == 0
        if isinstance(pipeline.collection, Collection):
            pipeline.collection.compact()
            assert found(pipeline, "wing") == []
        pipeline.add([Document("new", "A new wing.", metadata={"n": number})])
        assert len(found(pipeline, "wing", filters={"n": number})) == 1
        assert found(pipeline, "wing", filters={"n": -1}) == []


class Strange:
    """A remote engine that knows documents, and passages that are none."""

    def retrieve(self, queries: list[Query], *, k: int) -> list[Ranking]:
        ids = [
            "lift",
            "lift#1",
            "soil#-1",
            "soil#x",
            "soil#",
            "lift#9",
            "lift#01",
            "nobody#0",
            "#",
            f"lift#{10**30}",
        ]
        return [Ranking(tuple(ids), tuple(range(len(ids), 0, -1))) for _ in queries]


def test_what_a_remote_arm_names_and_nobody_holds_is_passed_over(build: Build) -> None:
    pipeline = build(
        BOOKS, retrievers={"remote": Strange(), "bm25": BM25()}, splitter=Splitter(max_tokens=32, overlap=0)
    )
    for per_document in (False, True):
        result = pipeline.search("honey", k=20, per_document=per_document)
        assert [hit.document.id for hit in result.hits] == ["lift#1"]
        assert result.trace.stages[-1].details["unknown_documents"] == 9


def test_wrong_arguments_are_told_and_change_nothing(build: Build) -> None:
    pipeline = build(TOPICS)
    for change, problem in [
        (lambda: pipeline.add(TOPICS[0]), "not one Document"),  # type: ignore[arg-type]
        (lambda: pipeline.add([{"id": "a"}]), r"documents\[0\] is a dict"),  # type: ignore[list-item]
        (lambda: pipeline.add(TOPICS, vectors=3), "must map an arm"),  # type: ignore[arg-type]
        (lambda: pipeline.add(TOPICS[:1], vectors={"dense": [["a"] * 64]}), "hold <U1, not numbers"),
        (lambda: pipeline.add(TOPICS[:2], vectors={"dense": [[1.0], [1.0, 2.0]]}), "are no matrix"),
        (lambda: pipeline.collection.update_metadata({"compost": 5}), "changes must map"),  # type: ignore[dict-item]
        (lambda: pipeline.collection.update_metadata(["compost"]), "changes must map"),  # type: ignore[arg-type]
    ]:
        with pytest.raises(InputError, match=problem):
            change()
    assert list(pipeline.collection.documents()) == TOPICS


def test_a_commit_is_on_the_disk(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", {"bm25": BM25()}) as collection:
        for _ in range(2):
            with collection._store.connection() as connection:
                assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: the log is synced
                assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_sources_are_replaced_whole(tmp_path: Path) -> None:
    collection = Collection.create(tmp_path / "c", ARMS)
    collection.add([Document("own", "mine")])

    assert collection.put_source("a.txt", "1", [Document("a1", "one"), Document("a2", "two")]) == 2
    assert collection.put_source("b.txt", "1", [Document("b1", "three")]) == 1
    assert collection.put_source("a.txt", "2", [Document("a2", "two!"), Document("a3", "four")]) == 2
    assert collection.sources() == {"a.txt": "2", "b.txt": "1"}
    assert list(collection) == ["own", "b1", "a2", "a3"]
    with pytest.raises(InputError, match=r"the id 'b1' of a\.txt is held by a document of b\.txt"):
        collection.put_source("a.txt", "3", [Document("b1", "five")])
    assert collection.sources() == {"a.txt": "2", "b.txt": "1"}
    assert list(collection) == ["own", "b1", "a2", "a3"]
    assert collection.drop_sources(["a.txt", "nobody"]) == 2
    assert list(collection) == ["own", "b1"]
    assert collection.put_source("b.txt", "2", []) == 0
    assert collection.sources() == {"b.txt": "2"}
    assert list(collection) == ["own"]


def test_a_snapshot_opens(tmp_path: Path) -> None:
    with Pipeline.build(TOPICS, path=tmp_path / "c", retrievers=ARMS, reranker=None) as pipeline:
        pipeline.collection.snapshot(tmp_path / "s")
        pipeline.delete(["compost"])
        with pytest.raises(StorageError, match="is not empty"):
            pipeline.collection.snapshot(tmp_path / "s")

    with Pipeline.open(tmp_path / "s", retrievers=ARMS) as copy:
        assert len(copy) == 7
        assert found(copy, "organic waste", k=1) == ["compost"]


def test_compact_gives_room_back_to_the_disk(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", {"bm25": BM25()}) as collection:
        collection.add([Document(f"d{number}", f"copy {number} " * 500) for number in range(500)])
        collection.delete(f"d{number}" for number in range(490))
        before = collection.statistics()["bytes"]["database"]
        collection.compact()
        assert collection.statistics()["bytes"]["database"] < before / 5


def test_compact_forgets_and_keeps(tmp_path: Path) -> None:
    with Pipeline.build(TOPICS, path=tmp_path / "c", retrievers=ARMS, reranker=None) as pipeline:
        reader = Pipeline.open(tmp_path / "c", retrievers=ARMS)
        pipeline.delete(["compost"])
        pipeline.collection.compact()
        assert "compost" not in found(reader, "compost", k=20)
        pipeline.delete(["plastic"])
        pipeline.collection.compact()
        pipeline.collection.compact()
        assert len(list((tmp_path / "c" / "indexes").iterdir())) == 1
        assert found(reader, "waste", k=20) == found(pipeline, "waste", k=20)
        reader.close()
    with Pipeline.open(tmp_path / "c", retrievers=ARMS) as again:
        assert found(again, "soil", k=1) == ["garden"]


@pytest.mark.parametrize("splitter", [None, Splitter(max_tokens=32, overlap=0)])
def test_units_are_what_a_reranker_reads(build, splitter):
    pipeline = build(BOOKS, splitter=splitter)
    pipeline.add([Document("soil", "Clay."), Document("late", "A late one.")])
    collection = pipeline.collection
    whole = {document.id: document for document in collection.documents()}
    expected = [
        each.content
        for document in whole.values()
        for each in ([document] if splitter is None else splitter.split(document))
    ]
    assert [unit.content for unit in collection.units()] == expected
    with collection.reading() as view:
        ids = [unit.id for unit in collection.units()]
        assert sorted(view.units(ids)) == sorted(ids)


@pytest.mark.parametrize("arms", [{}, {"bm25": BM25()}], ids=["none", "some"])
def test_nothing_is_added_without_an_embedder_of_the_collection(tmp_path: Path, arms: dict[str, Any]) -> None:
    """What is stored without its vectors could never be opened with that embedder again."""
    with Pipeline.build(TOPICS, path=tmp_path / "c", retrievers=ARMS, reranker=None) as pipeline:
        pipeline.collection.put_source("a.md", "1", [Document("a", "worms")])
    more = [Document("b", "humus")]
    with Collection.open(tmp_path / "c", arms) as collection:
        for add in (
            lambda: collection.add(more),
            lambda: collection.add(iter(more)),
            lambda: collection.put_source("a.md", "2", more),
        ):
            with pytest.raises(ConfigError, match=r"vectors of .*ngram.*opened without a retriever") as refused:
                add()
            assert refused.value.path == "$.retrievers"
        assert collection.add([]) == 0
        assert collection.update_metadata({"a": {"seen": True}}) == collection.delete(["compost"]) == 1
        collection.compact()
    with Pipeline.open(tmp_path / "c", retrievers=ARMS) as pipeline:
        assert pipeline.collection.sources() == {"a.md": "1"}
        assert found(pipeline, "worms", k=1) == ["a"]
        assert pipeline.add(more) == 1
        assert len(pipeline) == len(TOPICS) + 1
