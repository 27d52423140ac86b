"""The index that grows: chosen by size, tuned to a recall, merged, saved and mapped."""

from __future__ import annotations

import json
import shutil
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from support import NgramEmbedder

from hybridrank import Query
from hybridrank.component.protocols import ImprovingIndex, SavedIndex, SavedIndexedRetriever, VectorIndex
from hybridrank.errors import ConfigError, StorageError
from hybridrank.retrieval.faiss import growth
from hybridrank.retrieval.faiss.component import Faiss
from hybridrank.retrieval.faiss.index import FaissIndex
from hybridrank.retrieval.faiss.index import _read as read_index

DIM = 32
EMBEDDER = NgramEmbedder(dim=DIM)


class Small(FaissIndex):
    """The same, approximate from 1,000 vectors on."""

    EXACT = 1000


def clustered(count: int, seed: int = 0, dim: int = DIM) -> np.ndarray:
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(99).standard_normal((200, dim))
    vectors = centers[random.integers(0, 200, count)] + 0.6 * random.standard_normal((count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def improve(index: FaissIndex) -> bool:
    swap = index.improve()
    if swap is not None:
        swap()
    return swap is not None


def recall(index: FaissIndex, held: dict[str, np.ndarray], queries: np.ndarray) -> float:
    ids, matrix = np.array(list(held)), np.array(list(held.values()))
    hits = 0
    for query in queries:
        found = index.retrieve([Query("?", vector=query)], k=10)[0]
        hits += len(set(found.ids) & set(ids[np.argsort(-(matrix @ query))[:10]]))
    return hits / (10 * len(queries))


def test_it_takes_part_in_every_contract() -> None:
    assert isinstance(Faiss(embedder=EMBEDDER), SavedIndexedRetriever)
    index = Faiss(embedder=EMBEDDER).create_index()
    assert isinstance(index, VectorIndex)
    assert isinstance(index, SavedIndex)
    assert isinstance(index, ImprovingIndex)
    assert index.embedder == EMBEDDER
    assert index.dim is None
    assert index.improve() is None
    assert index.statistics()["recall"] == 1.0


def test_the_recall_that_is_told_is_that_of_a_search() -> None:
    index = Small(Faiss(embedder=EMBEDDER))
    for step, count in enumerate((1300, 4000)):  # built, and built on from copied lists
        index.add([f"{step}-{n}" for n in range(count)], clustered(count, seed=step))
        index.delete([f"{step}-{n}" for n in range(0, count, 9)])
        assert improve(index)
        vectors, rows = index._vectors, np.arange(len(index))
        assert vectors is not None
        points = growth._queries(vectors, rows)
        near = points @ vectors.of(rows).T
        tenth = np.sort(near, axis=1)[:, -10]
        _, found = vectors.base.search(points, 10)
        hits = (np.take_along_axis(near, found, 1) >= tenth[:, np.newaxis] - 1e-6) & (found >= 0)
        assert index.statistics()["recall"] == pytest.approx(hits.mean(), abs=0.002)
        assert 0.95 <= index.statistics()["recall"] < 1.0


def test_an_option_that_the_factory_does_not_read_is_refused() -> None:
    for options, problem in [
        ({"factory": "Flat", "recall_target": 0.9}, 'recall_target is an option of factory="auto" only'),
        ({"factory": "IVF4,Flat", "quantize": "int8"}, "quantize is an option"),
        ({"search": {"nprobe": 3}}, "name a factory to set them"),
        ({"recall_target": 1.5}, "less than 1"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            Faiss(embedder=EMBEDDER, **options)


def test_recall_is_kept_while_the_index_grows_and_shrinks() -> None:
    index = Small(Faiss(embedder=EMBEDDER, recall_target=0.9))
    held: dict[str, np.ndarray] = {}
    queries = clustered(100, seed=1)
    factories = []
    for step, count in enumerate([500, 700, 3000, 9000, 3000]):
        vectors = clustered(count, seed=10 + step)
        added = dict(zip([f"{step}-{n}" for n in range(count)], vectors, strict=True))
        index.add(list(added), vectors)
        held |= added
        improve(index)
        statistics = index.statistics()
        factories.append(statistics["factory"])
        assert recall(index, held, queries) >= (0.85 if statistics["factory"] != "Flat" else 1.0)
        assert statistics["recall"] >= 0.9
    assert factories[0] == "Flat"
    assert factories[1] == "IVF35,Flat"
    assert len(set(factories[2:])) > 1  # trained again
    assert statistics["reached"]
    assert statistics["nprobe"] < 60

    gone = list(held)[:12_000]
    index.delete(gone)
    for doc_id in gone:
        del held[doc_id]
    assert improve(index)
    assert not improve(index)
    assert index.statistics()["rows"] == len(held) == len(index)
    assert recall(index, held, queries) >= 0.85


def test_it_becomes_exact_again() -> None:
    index = Small(Faiss(embedder=EMBEDDER))
    vectors = clustered(2000)
    index.add([str(n) for n in range(2000)], vectors)
    improve(index)
    index.delete([str(n) for n in range(1500)])
    improve(index)
    assert index.statistics()["factory"] == "Flat"
    assert recall(index, {str(n): vectors[n] for n in range(1500, 2000)}, clustered(50, 1)) == 1.0


# Training product quantization is most of the work, and grows with the dimension: a low one will do.
@pytest.mark.parametrize(
    ("quantize", "dim", "factory", "least"), [("int8", DIM, "SQ8", 0.9), ("pq", 8, "PQ2", 0.3)]
)
def test_quantized_vectors_are_measured_against_the_exact(
    quantize: str, dim: int, factory: str, least: float
) -> None:
    index = Small(Faiss(embedder=NgramEmbedder(dim=dim), quantize=quantize))
    vectors = clustered(16_400, dim=dim)
    index.add([str(n) for n in range(16_400)], vectors)
    improve(index)

    statistics = index.statistics()
    assert factory in statistics["factory"]
    assert least < statistics["recall"] < 1.0
    held = {str(n): vector for n, vector in enumerate(vectors)}
    assert recall(index, held, clustered(100, 1, dim)) == pytest.approx(statistics["recall"], abs=0.12)
    assert statistics["reached"] == (statistics["recall"] >= 0.95)


@pytest.mark.parametrize("options", [{}, {"quantize": "int8"}, {"factory": "HNSW16"}, {"factory": "IVF16,SQ8"}])
@pytest.mark.parametrize("count", [50, 3000])
def test_what_is_saved_is_loaded_and_goes_on(tmp_path: Path, count: int, options: dict[str, str]) -> None:
    component = Faiss(embedder=EMBEDDER, **options)
    index = Small(component)
    index.add([str(n) for n in range(count)], clustered(count))
    improve(index)
    index.add(["late", "7"], clustered(2, seed=5))
    index.delete(["3", "4"])
    queries = [Query("?", vector=vector) for vector in clustered(20, seed=1)]
    before = index.retrieve(queries, k=10)

    index.save(tmp_path / "saved")
    loaded = component.load_index(tmp_path / "saved")
    loaded.EXACT = 1000  # type: ignore[misc]
    shutil.rmtree(tmp_path / "saved")  # as a sweep does: the mapped files live on
    assert loaded.retrieve(queries, k=10) == before
    assert loaded.statistics()["factory"] == index.statistics()["factory"]
    assert "3" not in loaded
    for each in (index, loaded):
        each.add(["new", "late"], clustered(2, seed=6))
        each.delete(["9"])
    assert loaded.retrieve(queries, k=10) == index.retrieve(queries, k=10)
    more = clustered(4000, seed=7)
    for each in (index, loaded):
        each.add([f"m{n}" for n in range(4000)], more)
        improve(each)
    assert len(loaded) == len(index)
    near = [r.ids[0] for r in loaded.retrieve([Query("?", vector=vector) for vector in more[:50]], k=1)]
    assert sum(found == f"m{n}" for n, found in enumerate(near)) >= 45


def test_damaged_files_are_told(tmp_path: Path) -> None:
    component = Faiss(embedder=EMBEDDER)
    index = Small(component)
    index.add([str(n) for n in range(3000)], clustered(3000))
    improve(index)
    index.save(tmp_path / "saved")
    files = sorted(
        path.relative_to(tmp_path / "saved").as_posix()
        for path in (tmp_path / "saved").rglob("*")
        if path.is_file()
    )
    ids = [f"ids/{name}.npy" for name in ("buckets", "hashes", "offsets", "rows", "seed", "text")]
    assert files == ["base.faiss", "empty.faiss", *ids, "index.json", "tail.faiss"]

    for name in files:
        for size in (0, 0.5):
            if name == "empty.faiss":
                continue  # needed when the index is merged; its checksum is the caller's to compare
            shutil.rmtree(tmp_path / "broken", ignore_errors=True)
            shutil.copytree(tmp_path / "saved", tmp_path / "broken")
            data = (tmp_path / "broken" / name).read_bytes()
            (tmp_path / "broken" / name).write_bytes(data[: int(len(data) * size)])
            with pytest.raises(StorageError, match="cannot be used"):
                component.load_index(tmp_path / "broken")
    with pytest.raises(StorageError, match="factory"):
        Faiss(embedder=EMBEDDER, factory="Flat").load_index(tmp_path / "saved")
    with pytest.raises(StorageError):
        component.load_index(tmp_path / "nowhere")
    shutil.rmtree(tmp_path / "broken")
    index.delete([str(n) for n in range(1000)])
    improve(index)
    index.save(tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken" / "ids")
    shutil.copytree(tmp_path / "saved" / "ids", tmp_path / "broken" / "ids")
    with pytest.raises(StorageError, match="do not belong together"):
        component.load_index(tmp_path / "broken")


def test_another_format_is_refused(tmp_path: Path) -> None:
    component = Faiss(embedder=EMBEDDER)
    index = component.create_index()
    index.add(["a"], clustered(1))
    index.save(tmp_path / "saved")
    header = json.loads((tmp_path / "saved" / "index.json").read_text())
    for version in (1, 3):
        (tmp_path / "saved" / "index.json").write_text(json.dumps({**header, "format": version}))
        with pytest.raises(StorageError, match=f"format {version} is not 2"):
            component.load_index(tmp_path / "saved")


def test_it_improves_beside_searches() -> None:
    index = Small(Faiss(embedder=EMBEDDER))
    vectors = clustered(5000)
    index.add([str(n) for n in range(5000)], vectors)
    stop, failures, done = threading.Event(), [], []

    def search() -> None:
        while not stop.is_set():
            for row in range(0, 5000, 500):
                found = index.retrieve([Query("?", vector=vectors[row])], k=1)[0]
                if found.ids != (str(row),):
                    failures.append(row)
            done.append(True)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    swaps = [index.improve() for _ in range(3)]
    while len(done) < 4:
        pass
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert all(swaps)


def test_filters_of_every_size_are_exact_where_they_are_few() -> None:
    index = Small(Faiss(embedder=EMBEDDER))
    vectors = clustered(4000)
    index.add([str(n) for n in range(4000)], vectors)
    improve(index)
    query = clustered(1, seed=3)[0]
    for share in (1, 7, 400, 3999):
        wanted = frozenset(str(n) for n in range(0, 4000, share))
        allowed = np.arange(0, 4000, share)
        expected = allowed[np.argsort(-(vectors[allowed] @ query))[:10]]
        for _ in range(2):  # the second time its rows are remembered
            found = index.retrieve([Query("?", vector=query, ids=wanted)], k=10)[0]
            assert list(found.ids) == [str(n) for n in expected]


def test_an_array_that_claims_to_be_huge_gets_no_memory(tmp_path: Path) -> None:
    component = Faiss(embedder=EMBEDDER)
    index = Small(component)
    index.add(["a", "b"], clustered(2))
    index.save(tmp_path / "saved")
    file = tmp_path / "saved" / "tail.faiss"
    data = file.read_bytes()
    before, after = data.rsplit(struct.pack("<Q", 2 * DIM), 1)  # the size of the vectors, in units of four bytes
    file.write_bytes(before + struct.pack("<Q", 1 << 30) + after)
    with pytest.raises(RuntimeError, match="byte_limit"):  # rather than 4 GiB, and then the end of the file
        read_index(file, 0)
    with pytest.raises(StorageError, match="cannot be used"):
        component.load_index(tmp_path / "saved")
