"""A collection whose vectors outgrow exact search: what it says of its recall is so, and filters stay exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybridrank import Collection, Document, Query
from hybridrank.retrieval import BM25, Faiss
from hybridrank.retrieval.faiss.index import FaissIndex

DIM = 16


class NoEmbedder:
    """Every vector is given: to be asked for one is a failure."""

    identity = "given"

    def embed(self, texts: list[str], *, role: str) -> np.ndarray:
        raise AssertionError(f"{len(texts)} texts were embedded as {role}")


ARMS = {"bm25": BM25(), "dense": Faiss(embedder=NoEmbedder())}


def clustered(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(0).standard_normal((40, DIM))
    vectors = centers[rng.integers(40, size=count)] + 0.6 * rng.standard_normal((count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Grown:
    """A collection, and the vectors that it should hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.collection = Collection.create(path, ARMS, indexed_fields=["shelf"])
        self.held: dict[str, np.ndarray] = {}

    def add(self, count: int, seed: int) -> None:
        vectors = clustered(count, seed)
        documents = [Document(f"{seed}-{n}", f"copy {n}", metadata={"shelf": n % 100}) for n in range(count)]
        self.collection.add(documents, vectors={"dense": vectors})
        self.held.update(zip((d.id for d in documents), vectors, strict=True))

    def delete(self, shelf: int) -> None:
        self.collection.delete(filters={"shelf": {"$lt": shelf}})
        self.held = {i: v for i, v in self.held.items() if int(i.split("-")[1]) % 100 >= shelf}

    def reopen(self) -> None:
        self.collection.close()
        self.collection = Collection.open(self.path, ARMS)

    def recall(self, filters: dict[str, object] | None, among: list[str]) -> float:
        """Recall@10 against comparing with every vector, by hand."""
        points = clustered(60, seed=99)
        matrix = np.stack([self.held[doc_id] for doc_id in among])
        hits = 0
        with self.collection.reading() as view:
            for point in points:
                query = view.resolve(Query("copy", vector=point, filters=filters))
                (ranking,) = view.indexes["dense"].retrieve([query], k=10)
                assert set(ranking.ids) <= set(among)
                last = np.sort(matrix @ point)[-10]
                hits += sum(float(self.held[i] @ point) >= last - 1e-6 for i in ranking.ids)
        return hits / (10 * len(points))

    def check(self) -> dict[str, object]:
        assert len(self.collection) == len(self.held)
        statistics: dict[str, object] = self.collection.statistics()["arms"]["dense"]
        assert statistics["passages"] == len(self.held)
        assert self.recall(None, list(self.held)) == pytest.approx(statistics["recall"], abs=0.06)
        for shelf in (37, 73):
            among = [i for i in self.held if int(i.split("-")[1]) % 100 == shelf]
            assert self.recall({"shelf": shelf}, among) == 1.0
        return statistics


def test_recall_is_measured_kept_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FaissIndex, "EXACT", 1500)
    grown = Grown(tmp_path / "c")
    grown.add(1500, seed=1)
    grown.collection.compact()
    assert grown.check()["factory"] == "Flat"
    assert grown.check()["recall"] == 1.0

    grown.add(1500, seed=2)
    grown.collection.compact()
    first = grown.check()
    assert first["factory"] == "IVF55,Flat"
    assert first["recall"] >= 0.95
    grown.reopen()
    assert grown.check() == first

    grown.add(10_000, seed=3)  # what is new is found exactly, before it is built in and after
    grown.check()
    grown.collection.compact()
    second = grown.check()
    assert second["recall"] >= 0.95
    assert second["factory"] == "IVF114,Flat"

    grown.delete(shelf=30)
    grown.check()
    grown.collection.compact()
    assert grown.check()["recall"] >= 0.95
    grown.reopen()
    grown.add(10, seed=4)
    grown.check()
    grown.collection.delete(filters={})
    grown.held = {}
    grown.collection.compact()
    with grown.collection.reading() as view:
        assert view.indexes["dense"].retrieve([Query("copy", vector=clustered(1, 5)[0])], k=10)[0].ids == ()
    grown.add(20, seed=6)
    assert grown.recall(None, list(grown.held)) == 1.0
    grown.collection.close()
