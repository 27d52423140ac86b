"""nDCG@10 and recall@100 of each arm and of RRF, on test collections in BEIR's layout; BM25 compared with bm25s.

    python benchmarks/quality.py DIRECTORY [DIRECTORY …]      # needs bm25s and "hybridrank[evaluate]"

Every arm fetches 100. Vectors are kept in `benchmarks/.cache`: a second run takes seconds.
Documents that a collection's judges set aside (Cranfield's source papers) are taken out of every ranking.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import bm25s
from beir import KeptEmbedder, TestCollection, load

from hybridrank import Pipeline, Query, Ranking
from hybridrank.embedding import OnnxEmbedder
from hybridrank.evaluation import Evaluator
from hybridrank.fusion import RRF
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.retrieval.analysis import analyzer
from hybridrank.retrieval.analysis.words import split
from hybridrank.retrieval.faiss.component import Faiss

FETCH = 100
FUSIONS = {
    "RRF, k = 60, equal weights": RRF(),
    "RRF, k = 60, 1 : 2": RRF(weights={"dense": 2.0}),
    "RRF, the default": PipelineConfig().fusion,
}


def measured(collection: TestCollection, rankings: Mapping[str, Sequence[str]]) -> tuple[float, float]:
    kept = {
        query_id: [doc_id for doc_id in ids if doc_id not in collection.ignored.get(query_id, ())]
        for query_id, ids in rankings.items()
    }
    qrels = {query_id: collection.qrels[query_id] for query_id in rankings}
    values = Evaluator(qrels, ["nDCG@10", "R@100"]).means(kept)
    return values["nDCG@10"], values["R@100"]


def bm25s_rankings(collection: TestCollection) -> dict[str, list[str]]:
    english = analyzer("english")

    def terms(text: str) -> list[str]:
        """Terms without compounds, which bm25s can neither weigh nor leave out of a length."""
        return [term for word in split(text, english.alphabet)[0] for term in english.forms(word)]

    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index([terms(document.content) for document in collection.documents], show_progress=False)
    found = {}
    for query_id, text in collection.queries.items():
        rows, scores = index.retrieve([terms(text)], k=FETCH, show_progress=False)
        pairs = [
            (collection.documents[row].id, float(s)) for row, s in zip(rows[0], scores[0], strict=True) if s > 0
        ]
        found[query_id] = list(Ranking.of(pairs).ids)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+")
    parser.add_argument("--queries", type=int, help="only the first so many judged queries")
    options = parser.parse_args()
    for directory in options.directories:
        report(load(directory, queries=options.queries))


def report(collection: TestCollection) -> None:
    embedder = KeptEmbedder(OnnxEmbedder(), f"{collection.name}-OnnxEmbedder")
    arms = {"bm25": "bm25", "dense": Faiss(embedder=embedder)}
    pipeline = Pipeline.build(collection.documents, retrievers=arms, reranker=None, fetch_k=FETCH)
    results = pipeline.search_many(collection.queries.values(), k=FETCH)
    embedder.keep()
    traces = dict(zip(collection.queries, (result.trace for result in results), strict=True))

    print(f"\n{collection.name}: {len(pipeline)} documents, {len(traces)} queries")
    print(f"{'':34}{'nDCG@10':>9}{'recall@100':>12}")

    def row(label: str, rankings: Mapping[str, Sequence[str]]) -> None:
        ndcg, recall = measured(collection, rankings)
        print(f"{label:34}{ndcg:>9.4f}{recall:>12.4f}", flush=True)

    row("bm25s, no compounds", bm25s_rankings(collection))
    for arm in ("bm25", "dense"):
        row(arm, {query_id: trace.stage(arm).ids for query_id, trace in traces.items()})
    for label, fusion in FUSIONS.items():
        fused = {
            query_id: fusion.fuse(
                {arm: trace.stage(arm).ranking for arm in ("bm25", "dense")}, query=Query("soil")
            ).ids
            for query_id, trace in traces.items()
        }
        row(label, fused)


if __name__ == "__main__":
    main()
