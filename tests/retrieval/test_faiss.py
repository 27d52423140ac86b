"""The FAISS retriever against brute force over numpy, for exact and approximate factories."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import NgramEmbedder

from hybridrank.component.protocols import Index, IndexedRetriever
from hybridrank.component.registry import create
from hybridrank.errors import BackendResponseError, ConfigError, InputError
from hybridrank.pipeline.pipeline import Pipeline
from hybridrank.retrieval.faiss.component import Faiss
from hybridrank.types import Document, Query, Ranking

DIM = 32
EXACT = {"Flat": {}, "IVF8,Flat": {"nprobe": 8}, "SQfp16": {}, "Pad48,Flat": {}, "L2norm,Flat": {}}
APPROXIMATE = {
    "HNSW16": {"efSearch": 64},
    "HNSW16,SQ8": {"efSearch": 64},
    "SQ8": {},
    "IVF1,PQ16x4np": {},
    "IVF8,SQ8": {"nprobe": 8},
    "PCA24,Flat": {},
    "SQ8,RFlat": {"k_factor_rf": 4},
    "PCA24,IVF8,PQ12x4np,RFlat": {"nprobe": 8, "k_factor_rf": 4},
}


class Recording(NgramEmbedder):
    """The same vectors, and a list of what was asked for."""

    use = "recording"

    def embed(self, texts, *, role):
        CALLS.append((role, list(texts)))
        return super().embed(texts, role=role)


CALLS = []


class Given:
    """An embedder whose next vectors a test can set, to see what happens to wrong ones."""

    def __init__(self, vectors):
        self.vectors = vectors

    def embed(self, texts, *, role):
        return self.vectors(len(texts))


def unit(count, dim=DIM, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def index_of(vectors, factory="Flat", search=None, ids=None):
    index = Faiss(
        embedder=NgramEmbedder(dim=vectors.shape[1]), factory=factory, search=search or {}
    ).create_index()
    index.add(ids or [f"d{row:04}" for row in range(len(vectors))], vectors)
    improve(index)
    return index


def improve(index):
    if (swap := index.improve()) is not None:
        swap()


def nearest(index, vector, k, ids=None):
    return index.retrieve([Query("?", vector=vector, ids=ids)], k=k)[0]


def brute_force(vectors_by_id, vector, k, ids=None):
    vector = np.asarray(vector, np.float64) / np.linalg.norm(np.asarray(vector, np.float64))
    allowed = vectors_by_id.keys() if ids is None else vectors_by_id.keys() & ids
    return Ranking.of(
        {doc_id: float(vectors_by_id[doc_id].astype(np.float64) @ vector) for doc_id in allowed}, k=k
    )


def assert_same(found, expected, tolerance=1e-6):
    """The same documents in the same order, save where scores lie within `tolerance`."""
    assert len(found) == len(expected)
    assert found.scores == pytest.approx(expected.scores, abs=tolerance)
    pairs = list(zip(found.ids, found.scores, strict=True))
    assert pairs == sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    place = dict(zip(expected.ids, expected.scores, strict=True))
    last = min(expected.scores, default=0.0)
    assert all(abs(place.get(doc_id, last) - score) <= tolerance for doc_id, score in pairs)


def test_it_is_an_indexer_that_round_trips_through_its_config():
    faiss = Faiss(embedder=NgramEmbedder(), factory="IVF8,Flat", search={"nprobe": 4})
    assert isinstance(faiss, IndexedRetriever)
    assert isinstance(faiss.create_index(), Index)
    config = Faiss(factory="HNSW16", search={"efSearch": 64}).to_config()
    assert config["embedder"]["use"] == "onnx"
    assert create("retriever", config).to_config() == config


def test_making_one_loads_nothing_heavy():
    code = (
        "import sys; from hybridrank.retrieval.faiss.component import Faiss; index = Faiss().create_index(); "
        "assert len(index) == 0 and 'd' not in index; index.delete(['d']); "
        "print(sorted({'faiss', 'onnxruntime', 'tokenizers', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_documents_are_found_by_their_meaning_to_the_embedder():
    embedder = NgramEmbedder()
    index = Faiss(embedder=embedder).create_index()
    documents = [
        Document("compost", "Organic waste can be composted.", title="Soil"),
        Document("nuclear", "Nuclear waste storage is a complex safety issue."),
        Document("blank", "   "),
    ]
    index.add([document.id for document in documents], index.encode(documents))
    assert len(index) == 3
    assert "blank" in index
    ranking = index.retrieve([Query("composting organic waste")], k=2)[0]
    assert ranking.ids == ("compost", "nuclear")
    query = embedder.embed(["composting organic waste"], role="query")[0]
    content = embedder.embed([documents[0].content], role="document")[0]
    assert ranking.scores[0] == pytest.approx(float(query @ content), abs=1e-6)


@pytest.mark.parametrize("factory", EXACT)
@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(16, 120),
    k=st.integers(1, 150),
    seed=st.integers(0, 1000),
    length=st.sampled_from([1.0, 1e-30, 3.0, 1e30]),
    data=st.data(),
)
def test_an_exact_factory_equals_brute_force(factory, count, k, seed, length, data):
    vectors = unit(count, seed=seed)
    ids = [f"d{row:04}" for row in range(count)]
    index = index_of(vectors, factory, EXACT[factory])
    held = dict(zip(ids, vectors, strict=True))
    dropped = data.draw(st.sets(st.sampled_from(ids)))
    index.delete(dropped)
    held = {doc_id: vector for doc_id, vector in held.items() if doc_id not in dropped}
    wanted = data.draw(st.none() | st.frozensets(st.sampled_from([*ids, "unknown"])))
    query = unit(1, seed=seed + 7)[0]
    tolerance = 1e-3 if factory == "SQfp16" else 1e-6
    found = nearest(index, query * np.float32(length), k, wanted)
    assert_same(found, brute_force(held, query, k, wanted), tolerance)


@pytest.mark.parametrize("factory", EXACT)
def test_an_exact_factory_equals_brute_force_within_a_large_filter(factory):
    vectors = unit(2600, seed=2)
    ids = [f"d{row:04}" for row in range(2600)]
    index = index_of(vectors, factory, EXACT[factory])
    wanted = frozenset(ids[::2])
    held = dict(zip(ids, vectors, strict=True))
    for dropped in ([], ids[:200]):
        index.delete(dropped)
        held = {doc_id: vector for doc_id, vector in held.items() if doc_id not in dropped}
        for query in unit(3, seed=4):
            expected = brute_force(held, query, 25, wanted)
            assert_same(nearest(index, query, 25, wanted), expected, 1e-3 if factory == "SQfp16" else 1e-6)


@pytest.mark.parametrize("factory", APPROXIMATE)
def test_an_approximate_factory_finds_most_and_only_what_it_may(factory):
    vectors = unit(2600)
    ids = [f"d{row:04}" for row in range(2600)]
    held = dict(zip(ids, vectors, strict=True))
    index = index_of(vectors, factory, APPROXIMATE[factory])
    queries = unit(10, seed=1) + vectors[-10:]

    def recall(wanted=None):
        allowed = np.array(sorted(held.keys() if wanted is None else held.keys() & wanted))
        true = queries @ np.array([held[doc_id] for doc_id in allowed]).T
        shares = []
        for query, scores in zip(queries, true, strict=True):
            found = nearest(index, query, 10, wanted)
            assert set(found.ids) <= set(allowed)
            assert list(found.scores) == sorted(found.scores, reverse=True)
            shares.append(len(set(found.ids) & set(allowed[np.argsort(-scores)[:10]])) / 10)
        return sum(shares) / len(shares)

    floor = 0.5 if factory in ("IVF1,PQ16x4np", "PCA24,Flat") else 0.75  # random vectors: nothing to compress
    many, few = frozenset(ids[::2]), frozenset(ids[::50])  # more and fewer than are scored one by one
    for dropped in ([], ids[:100], ids[100:1400]):  # nothing, rows to pass over, so many that it is filled again
        index.delete(dropped)
        improve(index)
        held = {doc_id: vector for doc_id, vector in held.items() if doc_id not in dropped}
        assert len(index) == len(held)
        assert recall() > floor
        assert recall(many) > floor
        assert recall(few) > floor


@pytest.mark.parametrize("factory", ["Flat", "HNSW16", "IVF8,Flat"])
def test_a_tiny_filter_finds_its_documents_wherever_they_lie(factory):
    vectors = unit(2000)
    index = index_of(vectors, factory)  # one of eight lists is probed
    for n, query in enumerate(unit(20, seed=8)):
        wanted = frozenset({f"d{n:04}", f"d{n + 900:04}"})
        assert set(nearest(index, query, 5, wanted).ids) == wanted


@pytest.mark.parametrize("factory", ["Flat", "IVF8,Flat", "SQ8"])
def test_ties_across_the_cut_go_to_the_smallest_ids(factory):
    vectors = unit(1000)
    vectors[100:900] = vectors[100]  # 800 equal vectors
    ids = [f"d{row:04}" for row in np.random.default_rng(3).permutation(1000)]
    index = index_of(vectors, factory, {"nprobe": 8} if "IVF" in factory else {}, ids)
    for k in (1, 7, 100, 799):
        found = nearest(index, vectors[100], k)
        assert list(found.ids) == sorted(ids[100:900])[:k]
        assert len(set(found.scores)) == 1
    wanted = frozenset(ids[300:350])
    assert list(nearest(index, vectors[100], 5, wanted).ids) == sorted(wanted)[:5]


def test_ties_across_the_cut_go_to_the_smallest_ids_of_a_large_filter():
    vectors = np.repeat(unit(2), 1500, axis=0)
    ids = [f"d{row:04}" for row in np.random.default_rng(3).permutation(3000)]
    wanted = frozenset(ids[:1200] + ids[1500:])
    found = nearest(index_of(vectors, ids=ids), vectors[0], 60, wanted)
    assert list(found.ids) == sorted(ids[:1200])[:60]


@pytest.mark.parametrize("dim", [7, 33, 384])
@pytest.mark.parametrize("dropped", [0, 3])
def test_a_batch_equals_its_queries_one_by_one_to_the_last_bit(dim, dropped):
    vectors = unit(500, dim)
    vectors[250:] = vectors[:250]  # each vector twice, in rows that FAISS multiplies in different company
    index = index_of(vectors)
    index.delete([f"d{row:04}" for row in range(dropped)])
    queries = [Query("?", vector=vector) for vector in unit(64, dim, seed=5)]
    batch = index.retrieve(queries, k=20)
    for query, ranking in zip(queries, batch, strict=True):
        assert index.retrieve([query], k=20)[0] == ranking
        assert len(set(ranking.scores)) <= 10 + dropped


def test_each_query_of_a_batch_keeps_its_own_filter():
    vectors = unit(50)
    held = {f"d{row:04}": vector for row, vector in enumerate(vectors)}
    index = index_of(vectors)
    filters = [None, frozenset({"d0003"}), frozenset(), frozenset({"d0003", "d0017", "nobody"}), None]
    queries = [Query("?", vector=unit(1, seed=n)[0], ids=ids) for n, ids in enumerate(filters)]
    for query, ranking in zip(queries, index.retrieve(queries, k=4), strict=True):
        assert_same(ranking, brute_force(held, query.vector, 4, query.ids))
    assert index.retrieve([], k=4) == []


def test_an_empty_index_finds_nothing():
    index = Faiss(embedder=NgramEmbedder()).create_index()
    assert index.retrieve([Query("a"), Query("b", vector=[1.0])], k=3) == [Ranking(), Ranking()]
    index.add([], index.encode([]))
    index.add(["a"], index.encode([Document("a", "a text")]))
    index.delete(["a", "a", "b"])
    assert len(index) == 0
    assert index.retrieve([Query("a text")], k=3) == [Ranking()]
    index.add(["b"], index.encode([Document("b", "a text")]))
    assert index.retrieve([Query("a text")], k=3)[0].ids == ("b",)


def test_a_document_added_again_replaces_the_first():
    index = Faiss(embedder=NgramEmbedder()).create_index()
    index.add(["a", "b"], index.encode([Document("a", "granite"), Document("b", "velvet")]))
    index.add(["a"], index.encode([Document("a", "cinnamon")]))
    assert len(index) == 2
    found = index.retrieve([Query("granite"), Query("cinnamon")], k=5)
    assert [sorted(ranking.ids) for ranking in found] == [["a", "b"], ["a", "b"]]
    assert found[0].scores[0] < 0.5
    assert found[1].ids[0] == "a"
    assert found[1].scores[0] == pytest.approx(1.0, abs=1e-6)


def test_only_queries_without_a_vector_are_embedded_in_one_call():
    index = Faiss(embedder=Recording(dim=DIM)).create_index()
    index.add(["a", "b"], index.encode([Document("a", "granite"), Document("b", "velvet")]))
    CALLS.clear()
    vector = Recording(dim=DIM).embed(["velvet"], role="query")[0]
    CALLS.clear()
    queries = [Query("granite"), Query("?", vector=vector), Query("velvet"), Query("?", vector=5 * vector)]
    found = index.retrieve(queries, k=2)
    assert CALLS == [("query", ["granite", "velvet"])]
    assert [ranking.ids[0] for ranking in found] == ["a", "b", "b", "b"]
    assert found[1].scores == pytest.approx(found[2].scores, abs=1e-6)
    assert found[3].scores == pytest.approx(found[2].scores, abs=1e-6)
    index.retrieve(queries[1:2], k=2)
    assert len(CALLS) == 1


def test_progress_counts_documents():
    seen = []
    index = Faiss(embedder=NgramEmbedder(dim=8)).create_index()
    encoded = index.encode(
        [Document(str(n), f"text {n}") for n in range(600)],
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(256, 600), (512, 600), (600, 600)]
    assert encoded.shape == (600, 8)
    assert encoded.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "where", "said"),
    [
        ({"factory": "Flatt"}, "$.factory", "could not parse index string Flatt"),
        ({"factory": "PQ7"}, "$.factory", "32 dimensions"),
        ({"factory": "IDMap,Flat"}, "$.factory", "use add_with_ids"),
        ({"factory": "PQ16x4np"}, "$.factory", "invalid search params"),
        ({"factory": "PQ16x4fs"}, "$.factory", "search params not supported"),
        ({"factory": "Flat", "search": {"nprobe": 4}}, "$.search.nprobe", "nprobe"),
        ({"factory": "IVF8,Flat", "search": {"nprobes": 4}}, "$.search.nprobes", "nprobes"),
    ],
)
def test_what_faiss_cannot_do_is_said_before_anything_is_added(options, where, said):
    index = Faiss(embedder=NgramEmbedder(dim=DIM), **options).create_index()
    with pytest.raises(ConfigError, match=said) as caught:
        index.encode([Document(str(n), f"text {n}") for n in range(64)])
    assert caught.value.path == where
    assert "cpp" not in str(caught.value)
    assert len(index) == 0


@pytest.mark.parametrize("durable", [False, True])
def test_an_option_that_faiss_rejects_is_reported_with_its_path_in_the_pipeline(durable, tmp_path):
    arm = Faiss(embedder=NgramEmbedder(dim=DIM), factory="Flatt")
    with pytest.raises(ConfigError) as caught:
        Pipeline.build(
            [Document("a", "compost")],
            retrievers={"dense": arm},
            reranker=None,
            path=tmp_path / "col" if durable else None,
        )
    assert caught.value.path == "$.retrievers.dense.factory"


@pytest.mark.parametrize("value", [0, -1, "many", float("nan")])
def test_a_search_parameter_is_a_number_above_zero(value):
    with pytest.raises(ConfigError) as caught:
        Faiss(embedder=NgramEmbedder(), search={"nprobe": value})
    assert caught.value.path.startswith("$.search.nprobe")


def test_an_index_is_exact_until_there_are_vectors_enough_to_train_it():
    index = Faiss(embedder=NgramEmbedder(dim=DIM), factory="IVF64,Flat").create_index()
    documents = [Document(str(n), f"number {n} of them") for n in range(80)]
    for some, factory in ((documents[:10], "Flat"), (documents, "IVF64,Flat")):
        index.add([document.id for document in some], index.encode(some))
        improve(index)
        assert len(index) == len(some)
        assert index.statistics()["factory"] == factory
        assert len(index.retrieve([Query("number 7 of them")], k=1)[0]) == 1


def _nan(count):
    vectors = unit(count)
    vectors[-1, 0] = np.nan
    return vectors


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        (lambda count: unit(count, DIM + 1), "33 dimensions, but the index holds 32"),
        (_nan, "not finite"),
        (lambda count: 2 * unit(count), "unit length"),
        (lambda count: unit(count + 1), "shape"),
        (lambda count: unit(count)[0], "shape"),
    ],
)
def test_vectors_that_cannot_be_believed_change_nothing(vectors, said):
    embedder = Given(unit)
    index = Faiss(embedder=embedder).create_index()
    documents = [Document(str(n), "text") for n in range(6)]
    index.add([document.id for document in documents], index.encode(documents))
    before = index.retrieve([Query("?")], k=6)
    embedder.vectors = vectors
    with pytest.raises(BackendResponseError, match=said):
        index.encode(documents[:3])
    with pytest.raises(BackendResponseError, match=said):
        index.retrieve([Query("?")], k=6)
    embedder.vectors = unit
    assert len(index) == 6
    assert index.retrieve([Query("?")], k=6) == before


def test_an_embedder_whose_dimension_changes_between_chunks_is_found_out():
    dims = iter([8, 9])
    index = Faiss(embedder=Given(lambda count: unit(count, next(dims)))).create_index()
    with pytest.raises(BackendResponseError, match="9 dimensions"):
        index.encode([Document(str(n), "text") for n in range(300)])
    index = index_of(unit(4))
    with pytest.raises(BackendResponseError, match=r"shape \(1, 8\), dim 32"):
        index.add(["e"], unit(1, 8))
    assert len(index) == 4


@pytest.mark.parametrize(
    ("vector", "said"),
    [(np.zeros(DIM), "is zero"), (np.ones(DIM - 1), "31 dimensions, not 32"), (np.ones(1), "1 dim")],
)
def test_a_querys_own_vector_must_fit(vector, said):
    index = index_of(unit(5))
    with pytest.raises(InputError, match=said):
        index.retrieve([Query("?", vector=unit(1)[0]), Query("a query", vector=vector)], k=2)


def test_k_must_be_positive():
    with pytest.raises(InputError, match="k must be at least 1"):
        index_of(unit(5)).retrieve([Query("?")], k=0)


def test_the_callers_vectors_are_not_changed():
    vectors, query = unit(40), 3 * unit(1)[0]
    kept, kept_query = vectors.copy(), query.copy()
    index = index_of(vectors)
    nearest(index, query, 5)
    index.delete([f"d{row:04}" for row in range(30)])
    assert (vectors == kept).all()
    assert (query == kept_query).all()


@pytest.mark.parametrize("factory", ["Flat", "IVF8,Flat", "HNSW16"])
def test_threads_search_together_and_find_what_one_finds(factory):
    import faiss

    index = index_of(unit(800), factory)
    index.delete([f"d{row:04}" for row in range(0, 300, 2)])
    wanted = frozenset(f"d{row:04}" for row in range(100, 700))
    queries = [
        Query("?", vector=vector, ids=wanted if n % 3 else None) for n, vector in enumerate(unit(60, seed=9))
    ]
    expected = [index.retrieve([query], k=10)[0] for query in queries]
    threads = faiss.omp_get_max_threads()
    with ThreadPoolExecutor(1) as fresh:
        usual = fresh.submit(faiss.omp_get_max_threads).result()  # of a thread that has never searched
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda query: index.retrieve([query], k=10)[0], queries)) == expected
        assert list(pool.map(lambda _: faiss.omp_get_max_threads(), range(8))) == [usual] * 8
    assert faiss.omp_get_max_threads() == threads


def test_documents_can_be_encoded_by_many_threads_before_the_first_is_added():
    index = Faiss(embedder=NgramEmbedder(dim=DIM), factory="IVF8,Flat", search={"nprobe": 8}).create_index()
    documents = [Document(f"d{n:04}", f"the text that has number {n * n}") for n in range(320)]
    parts = [documents[start::4] for start in range(4)]
    barrier = threading.Barrier(4)

    def encode(part):
        barrier.wait()
        return index.encode(part)

    with ThreadPoolExecutor(4) as pool:
        for part, encoded in zip(parts, pool.map(encode, parts), strict=True):
            index.add([document.id for document in part], encoded)
    vectors = NgramEmbedder(dim=DIM).embed([document.text for document in documents], role="document")
    held = {document.id: vector for document, vector in zip(documents, vectors, strict=True)}
    assert_same(nearest(index, vectors[5], 30), brute_force(held, vectors[5], 30))
