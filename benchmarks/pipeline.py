"""The overhead of the pipeline over its arms, and its throughput compared with a hand-written search.

    python benchmarks/pipeline.py DIRECTORY      # a collection in BEIR's layout; needs bm25s and ir_measures

Query vectors are given, there is no reranker, one query at a time, fetch_k = 50, k = 10. By hand means: bm25s (its
numpy or numba backend), then an exact FAISS index (on one OpenMP thread, or on all as it comes), then reciprocal
ranks summed in a dict, on the same terms and vectors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import bm25s
import faiss
import ir_measures
import numpy as np
from beir import KeptEmbedder, load

from hybridrank import Pipeline, Query
from hybridrank.embedding import OnnxEmbedder
from hybridrank.retrieval.analysis import analyzer
from hybridrank.retrieval.faiss.component import Faiss

FETCH, K, RRF_K = 50, 10, 60


def by_hand(
    documents: list[str], ids: list[str], vectors: np.ndarray, backend: str, threads: int
) -> Callable[..., list[str]]:
    english = analyzer("english")
    words = bm25s.BM25(method="lucene", k1=1.2, b=0.75, backend=backend)
    words.index([english.terms(text) for text in documents], show_progress=False)
    dense = faiss.IndexFlatIP(vectors.shape[1])
    dense.add(vectors)

    def search(text: str, vector: np.ndarray) -> list[str]:
        faiss.omp_set_num_threads(threads)
        found, _ = words.retrieve([english.terms(text)], k=FETCH, show_progress=False)
        _, rows = dense.search(vector[None], FETCH)
        scores: dict[int, float] = {}
        for ranking in (found[0].tolist(), rows[0].tolist()):
            for rank, row in enumerate(ranking, start=1):
                scores[row] = scores.get(row, 0.0) + 1 / (RRF_K + rank)
        return [ids[row] for row in sorted(scores, key=scores.__getitem__, reverse=True)[:K]]

    return search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    collection = load(options.directory)
    embedder = KeptEmbedder(OnnxEmbedder(), f"{collection.name}-OnnxEmbedder")
    pipeline = Pipeline.build(
        collection.documents,
        retrievers={"bm25": "bm25", "dense": Faiss(embedder=embedder)},
        reranker=None,
        fetch_k=FETCH,
    )
    texts = [document.content for document in collection.documents]
    ids = [document.id for document in collection.documents]
    vectors = embedder.embed(texts, role="document")
    asked = embedder.embed(list(collection.queries.values()), role="query")
    embedder.keep()
    queries = [Query(text, vector) for text, vector in zip(collection.queries.values(), asked, strict=True)]

    bm25, dense = (pipeline.collection.indexes[name] for name in ("bm25", "dense"))
    hands = {
        f"by hand, {backend}, {threads} thread{'s' * (threads > 1)}": by_hand(
            texts, ids, vectors, backend, threads
        )
        for backend in ("numpy", "numba")
        for threads in (1, faiss.omp_get_max_threads())
    }
    contestants: dict[str, Callable[[Query], object]] = {
        "pipeline": lambda query: [hit.document.id for hit in pipeline.search(query, k=K).hits],
        "its BM25 arm alone": lambda query: bm25.retrieve([query], k=FETCH),
        "its dense arm alone": lambda query: dense.retrieve([query], k=FETCH),
        **{name: lambda query, hand=hand: hand(query.text, query.vector) for name, hand in hands.items()},
    }
    rankings: dict[str, list[object]] = {}
    for name, search in contestants.items():  # warm everything up, and keep the answers
        rankings[name] = [search(query) for query in queries]
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    single: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, search in contestants.items():
            started = perf_counter()
            for query in queries:
                before = perf_counter()
                search(query)
                single[name].append(perf_counter() - before)
            seconds[name].append(perf_counter() - started)

    print(f"{collection.name}: {len(ids)} documents, {len(queries)} queries, medians of {options.rounds} rounds")
    print(f"{'':28}{'queries/s':>10}{'median ms':>11}{'p95 ms':>9}{'nDCG@10':>9}")
    for name in contestants:
        quality = ""
        if not name.startswith("its"):
            run = {
                query_id: {doc_id: 1.0 / rank for rank, doc_id in enumerate(found, start=1)}
                for query_id, found in zip(collection.queries, rankings[name], strict=True)
            }
            ndcg = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], collection.qrels, run)
            quality = f"{ndcg[ir_measures.nDCG @ 10]:.4f}"
        p95 = float(np.percentile(single[name], 95))
        print(
            f"{name:28}{len(queries) / median(seconds[name]):>10.0f}{median(single[name]) * 1000:>11.3f}"
            f"{p95 * 1000:>9.3f}{quality:>9}"
        )
    slower = max(median(single["its BM25 arm alone"]), median(single["its dense arm alone"]))
    whole, allowed = median(single["pipeline"]), 0.001 + 1.15 * slower
    print(
        f"pipeline {whole * 1000:.2f} ms; slower arm {slower * 1000:.2f} ms; 1 ms + 1.15x: {allowed * 1000:.2f} ms"
    )
    for name in hands:
        ratios = [b / a for a, b in zip(seconds["pipeline"], seconds[name], strict=True)]
        print(f"throughput against {name}: {median(ratios):.2f}x")


if __name__ == "__main__":
    main()
