"""Embedders, analyzers, fusion weights and the English reranker on test collections in other languages.

    python benchmarks/multilingual.py DIRECTORY [DIRECTORY …]
    # needs "hybridrank[evaluate]" and "hybridrank-models[multilingual]"

nDCG@10 of `--queries` judged queries, taken at even distances. The reranker reads the 10 best of RRF with the
multilingual embedder, of the first `--reranked` of them. Vectors are kept in `benchmarks/.cache`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from beir import KeptEmbedder, TestCollection, load

from hybridrank import Candidates, Pipeline, Query
from hybridrank.embedding import OnnxEmbedder
from hybridrank.evaluation import Evaluator
from hybridrank.fusion import RRF
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank import CrossEncoder
from hybridrank.retrieval import BM25, Faiss

ENGLISH = "BAAI/bge-small-en-v1.5"
MULTILINGUAL = "intfloat/multilingual-e5-small"
FUSIONS = {
    "RRF, k = 60, 1 : 1": RRF(),
    "RRF, k = 5, 1 : 1": RRF(k=5),
    "RRF, k = 5, 1 : 2": RRF(k=5, weights={"dense": 2.0}),
    "RRF, k = 5, 1 : 4": RRF(k=5, weights={"dense": 4.0}),
}
DEPTH = 10
FETCH = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--reranked", type=int, default=40)
    options = parser.parse_args()
    for directory in options.directories:
        collection = load(directory)
        step = max(1, len(collection.queries) // options.queries)
        queries = dict(list(collection.queries.items())[::step][: options.queries])
        report(collection, queries, reranked=options.reranked)


def report(collection: TestCollection, queries: Mapping[str, str], *, reranked: int) -> None:
    print(f"\n{collection.name}: {len(collection.documents)} documents, {len(queries)} queries", flush=True)

    def show(name: str, rankings: Mapping[str, Sequence[str]]) -> None:
        qrels = {query_id: collection.qrels[query_id] for query_id in rankings}
        values = Evaluator(qrels, ["nDCG@10", "Success@1"]).means(
            {key: list(ids) for key, ids in rankings.items()}
        )
        print(f"  {name:<45} {values['nDCG@10']:.3f} {values['Success@1']:.3f}", flush=True)

    embedders = {
        model: KeptEmbedder(OnnxEmbedder(model=model), f"{collection.name}-{model.rpartition('/')[2]}")
        for model in (ENGLISH, MULTILINGUAL)
    }

    def search(retrievers: Mapping[str, object], **options: object) -> dict[str, Sequence[str]]:
        with Pipeline.build(
            collection.documents, retrievers=retrievers, reranker=None, fetch_k=FETCH, **options
        ) as pipeline:
            results = pipeline.search_many(list(queries.values()), k=FETCH)
        return {key: [hit.id for hit in result] for key, result in zip(queries, results, strict=True)}

    show("BM25, english", search({"bm25": BM25()}))
    show("BM25, none", search({"bm25": BM25(language="none")}))
    for model, embedder in embedders.items():
        show(model, search({"dense": Faiss(embedder=embedder)}))
        embedder.keep()
    english = {"bm25": BM25(), "dense": Faiss(embedder=embedders[ENGLISH])}
    show("RRF, the default in English", search(english, fusion=PipelineConfig().fusion))
    arms = {"bm25": BM25(language="none"), "dense": Faiss(embedder=embedders[MULTILINGUAL])}
    for name, fusion in FUSIONS.items():
        show(name, search(arms, fusion=fusion))
    rerank(collection, dict(list(queries.items())[:: max(1, len(queries) // reranked)][:reranked]), arms, show)


def rerank(
    collection: TestCollection, queries: Mapping[str, str], arms: Mapping[str, object], show: object
) -> None:
    fusion = FUSIONS["RRF, k = 5, 1 : 4"]
    rankings = {"fused": {}, "reranked": {}}
    with Pipeline.build(collection.documents, retrievers=arms, reranker=None, fusion=fusion) as pipeline:
        for query_id, text in queries.items():
            hits = list(pipeline.search(text, k=DEPTH))
            (scores,) = CrossEncoder().score([Candidates(Query(text), [hit.document for hit in hits])])
            order = sorted(range(len(hits)), key=lambda at: -scores[at])
            rankings["fused"][query_id] = [hit.id for hit in hits]
            rankings["reranked"][query_id] = [hits[at].id for at in order]
    show(f"the last, {len(queries)} queries", rankings["fused"])
    show(f"the same, English reranker, {DEPTH} deep", rankings["reranked"])


if __name__ == "__main__":
    main()
