"""nDCG@10 and recall@100 of every stage, on test collections in BEIR's layout.

    python benchmarks/quality.py DIRECTORY [DIRECTORY …]      # needs bm25s and "hybridrank[evaluate]"

Every arm fetches 100. Vectors and reranker scores are kept in `benchmarks/.cache`: a second run takes seconds.
Documents that a collection's judges set aside (Cranfield's source papers) are taken out of every ranking.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import bm25s
from beir import CACHE, KeptEmbedder, TestCollection, load

from hybridrank import Candidates, Pipeline, Query, Ranking, Trace
from hybridrank.embedding import OnnxEmbedder
from hybridrank.evaluation import Measuring
from hybridrank.fusion import RRF
from hybridrank.rerank import CrossEncoder
from hybridrank.retrieval.faiss import Faiss
from hybridrank.text import analyzer

FETCH = 100


class KeptReranker:
    """A reranker whose scores are kept on disk by pair: they depend on nothing else."""

    def __init__(self, reranker: CrossEncoder, name: str) -> None:
        self.reranker = reranker
        self.path = CACHE / f"{name}.json"
        self.scores: dict[str, float] = json.loads(self.path.read_text()) if self.path.exists() else {}

    def score(self, batch: Sequence[Candidates]) -> list[list[float]]:
        for candidates in batch:
            missing = [
                d for d in candidates.documents if self._key(candidates.query, d.content) not in self.scores
            ]
            if missing:
                (made,) = self.reranker.score([Candidates(candidates.query, missing)])
                keys = [self._key(candidates.query, document.content) for document in missing]
                self.scores.update(zip(keys, made, strict=True))
        return [[self.scores[self._key(c.query, d.content)] for d in c.documents] for c in batch]

    @staticmethod
    def _key(query: Query, text: str) -> str:
        return hashlib.sha256(f"{query.text}\0{text}".encode()).hexdigest()[:20]

    def keep(self) -> None:
        CACHE.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(self.scores))


def measured(collection: TestCollection, rankings: Mapping[str, Sequence[str]]) -> tuple[float, float]:
    kept = {
        query_id: [doc_id for doc_id in ids if doc_id not in collection.ignored.get(query_id, ())]
        for query_id, ids in rankings.items()
    }
    qrels = {query_id: collection.qrels[query_id] for query_id in rankings}
    values = Measuring(qrels, ["nDCG@10", "R@100"]).means(kept)
    return values["nDCG@10"], values["R@100"]


def bm25s_rankings(collection: TestCollection) -> dict[str, list[str]]:
    english = analyzer("english")
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index([english.terms(document.content) for document in collection.documents], show_progress=False)
    found = {}
    for query_id, text in collection.queries.items():
        rows, scores = index.retrieve([english.terms(text)], k=FETCH, show_progress=False)
        pairs = [
            (collection.documents[row].id, float(s)) for row, s in zip(rows[0], scores[0], strict=True) if s > 0
        ]
        found[query_id] = list(Ranking.of(pairs).ids)
    return found


def fused(traces: Mapping[str, Trace], weight: float, depth: int) -> dict[str, list[str]]:
    fusion = RRF(weights={"dense": weight})
    return {
        query_id: list(
            fusion.fuse(
                {
                    name: Ranking(trace.stage(name).ids[:depth], trace.stage(name).scores[:depth])
                    for name in ("bm25", "dense")
                }
            ).ids
        )
        for query_id, trace in traces.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+")
    parser.add_argument("--queries", type=int, help="only the first so many judged queries")
    parser.add_argument("--depths", type=int, nargs="*", default=[10, 20, 50])
    options = parser.parse_args()
    for directory in options.directories:
        report(load(directory, queries=options.queries), options.depths)


def report(collection: TestCollection, depths: Sequence[int]) -> None:
    embedder = KeptEmbedder(OnnxEmbedder(), f"{collection.name}-OnnxEmbedder")
    reranker = KeptReranker(CrossEncoder(), f"{collection.name}-CrossEncoder")
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

    row("bm25s, same terms", bm25s_rankings(collection))
    for arm in ("bm25", "dense"):
        row(arm, {query_id: trace.stage(arm).ids for query_id, trace in traces.items()})
    for weight in (1.0, 2.0, 3.0):
        row(f"RRF, bm25 : dense = 1 : {weight:g}", fused(traces, weight, FETCH))
    # Both orders at every depth are slices of one scored list for each query.
    for weight in (1.0, 2.0, 3.0):
        orders = fused(traces, weight, FETCH)
        for depth in depths:
            rankings = {}
            for query_id, ids in orders.items():
                documents = pipeline.get(ids[:depth])
                shown = [documents[doc_id] for doc_id in ids[:depth]]
                (scores,) = reranker.score([Candidates(Query(collection.queries[query_id]), shown)])
                rankings[query_id] = [*Ranking.of(zip(ids[:depth], scores, strict=True)).ids, *ids[depth:]]
                if len(reranker.scores) % 500 < depth:
                    reranker.keep()
            row(f"1 : {weight:g}, reranked to depth {depth}", rankings)
        reranker.keep()


if __name__ == "__main__":
    main()
