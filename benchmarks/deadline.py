"""Do searches keep their deadline, and what does it buy? With the machine idle, and with one core kept busy.

    python benchmarks/deadline.py DIRECTORY      # a collection in BEIR's layout; needs ir_measures

Each search has its deadline alone: the whole query, embedding, both arms, fusion and as much reranking of the
best 50 as there is time for. The pipeline is warmed up before. Reported are the share of searches that took no
longer than the deadline and a tenth, their 99th percentile, how many candidates were reranked, and nDCG@10.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter

import ir_measures
import numpy as np
from beir import KeptEmbedder, load

from hybridrank import Pipeline
from hybridrank.embedding import OnnxEmbedder
from hybridrank.retrieval.faiss import Faiss

NDCG = ir_measures.nDCG @ 10


class Passing:
    """Documents' vectors are kept on disk, queries are embedded anew: that is part of a search."""

    def __init__(self, kept: KeptEmbedder, fresh: OnnxEmbedder) -> None:
        self.kept, self.fresh = kept, fresh

    def embed(self, texts, *, role):
        return (self.kept if role == "document" else self.fresh).embed(texts, role=role)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--searches", type=int, default=1000, help="at each deadline")
    parser.add_argument("--deadlines", type=float, nargs="+", default=[0.1, 0.2, 0.5], help="seconds")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    collection = load(options.directory, split=options.split)
    fresh = OnnxEmbedder()
    kept = KeptEmbedder(fresh, f"{collection.name}-OnnxEmbedder")
    arms = {"bm25": "bm25", "dense": Faiss(embedder=Passing(kept, fresh))}
    pipeline = Pipeline.build(collection.documents, retrievers=arms, rerank_k=50)
    kept.keep()
    print("| machine | deadline, ms | in time (+10 %) | median, ms | 99 % took, ms | reranked of 50 | nDCG@10 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for busy in (False, True):
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
        try:
            pipeline.warm_up()
            for deadline in options.deadlines:
                measure(pipeline, collection, deadline, options.searches, "one core busy" if busy else "idle")
        finally:
            if other is not None:
                other.kill()


def measure(pipeline: Pipeline, collection, deadline: float, searches: int, machine: str) -> None:
    seconds, counts, run = [], [], {}
    gc.collect()
    for query_id, text in islice(cycle(collection.queries.items()), searches):
        started = perf_counter()
        result = pipeline.search(text, k=50, deadline=deadline)
        seconds.append(perf_counter() - started)
        counts.append(len(result.trace.stage("rerank").ids) if len(result.hits) else 0)
        ids = [h.document.id for h in result.hits if h.document.id not in collection.ignored.get(query_id, ())]
        run[query_id] = {doc_id: 1.0 / rank for rank, doc_id in enumerate(ids, start=1)} or {"none": 0.0}
    qrels = {query_id: collection.qrels[query_id] for query_id in run}
    ndcg = ir_measures.calc_aggregate([NDCG], qrels, run)[NDCG]
    kept = np.mean(np.array(seconds) <= 1.1 * deadline)
    print(
        f"| {machine} | {deadline * 1000:.0f} | {kept:.1%} | {median(seconds) * 1000:.0f} "
        f"| {np.percentile(seconds, 99) * 1000:.0f} | {np.mean(counts):.1f} | {ndcg:.4f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
