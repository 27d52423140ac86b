"""Searches under a deadline: how many are in time, and their quality. On an idle machine, and with one core busy.

    python benchmarks/deadline.py DIRECTORY --plot FILE.svg      # a collection in BEIR's layout; needs ir_measures

Each search has its deadline alone: the whole query, embedding, both arms, fusion and as much reranking of the
best 50 as there is time for. The pipeline is warmed up before. Reported are the share of searches that took no
longer than the deadline and a tenth, their 99th percentile, how many candidates were reranked, and nDCG@10. The
plot (which needs matplotlib) shows nDCG@10 by the deadline; its further points, `--curve`, search each query once.
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
from hybridrank.retrieval.faiss.component import Faiss

NDCG = ir_measures.nDCG @ 10


class Passing:
    """Documents' vectors are kept on disk; queries are embedded in each search, as a part of it."""

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
    parser.add_argument("--plot", type=Path, help="where to draw nDCG@10 by the deadline")
    parser.add_argument(
        "--curve", type=float, nargs="+", default=[0.03, 0.05, 0.075, 0.15, 0.3, 0.75, 1.0, 2.0], help="seconds"
    )
    options = parser.parse_args()
    collection = load(options.directory, split=options.split)
    fresh = OnnxEmbedder()
    kept = KeptEmbedder(fresh, f"{collection.name}-OnnxEmbedder")
    arms = {"bm25": "bm25", "dense": Faiss(embedder=Passing(kept, fresh))}
    pipeline = Pipeline.build(collection.documents, retrievers=arms, rerank_k=50)
    kept.keep()
    print("| machine | deadline, ms | in time (+10 %) | median, ms | 99 % took, ms | reranked of 50 | nDCG@10 |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    curves: dict[str, dict[float, float]] = {}
    more = options.curve if options.plot else []
    for busy in (False, True):
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
        machine = "one core busy" if busy else "idle"
        try:
            pipeline.warm_up()
            curves[machine] = {
                deadline: measure(pipeline, collection, deadline, searches, machine)
                for deadline, searches in sorted(
                    {
                        **dict.fromkeys(more, len(collection.queries)),
                        **dict.fromkeys(options.deadlines, options.searches),
                    }.items()
                )
            }
        finally:
            if other is not None:
                other.kill()
    if options.plot:
        draw(curves, options.plot, collection.name)


def draw(curves: dict[str, dict[float, float]], path: Path, name: str) -> None:
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter

    plt.rcParams["svg.hashsalt"] = "hybridrank"  # the same figures draw the same file
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (machine, curve), marker in zip(curves.items(), ("o", "s"), strict=True):
        axes.plot([1000 * deadline for deadline in curve], list(curve.values()), marker=marker, label=machine)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if str(value)[0] in "25" else ""))
    axes.set(xlabel="deadline of the whole search, ms", ylabel="nDCG@10", title=name)
    axes.grid(which="both", alpha=0.25)
    axes.legend(title="machine")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def measure(pipeline: Pipeline, collection, deadline: float, searches: int, machine: str) -> float:
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
    return ndcg


if __name__ == "__main__":
    main()
