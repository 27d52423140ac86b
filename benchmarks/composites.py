"""The overhead of each composite reranker in a search, and the benefit of a cache hit.

    python benchmarks/composites.py

The first table: milliseconds that a search with 50 candidates takes longer with a composite around a reranker
that answers at once than with that reranker alone, both measured in turn. The second: the default cross-encoder
on those candidates, and the same from the cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from hybridrank import Candidates, Document, Pipeline, Query
from hybridrank.rerank import Cached, Calibrated, Cascade, CrossEncoder, Fallback
from hybridrank.retrieval import BM25

DOCUMENTS = [Document(f"d{n}", f"waste number {n}: " + "soil and compost " * 12) for n in range(50)]
QUERY = "waste and soil"


class Instant:
    """Scores by the length of the id."""

    identity = "instant"
    pointwise = True

    def score(self, batch: Sequence[Candidates]) -> list[list[float]]:
        return [[float(document.id[1:]) for document in candidates.documents] for candidates in batch]


def timed(pipeline: Pipeline) -> float:
    started = perf_counter()
    pipeline.search(QUERY)
    return (perf_counter() - started) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--model-calls", type=int, default=5)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        shown = [Candidates(Query(QUERY), DOCUMENTS)]
        judged = [[n > 25 for n in range(len(DOCUMENTS))]]
        composites: dict[str, Any] = {
            "fallback": Fallback(rerankers=[Instant()]),
            "cascade": Cascade(stages=[Instant(), Instant()], keep=[20]),
            "cached, all hits": Cached(reranker=Instant(), path=f"{folder}/instant"),
            "calibrated": Calibrated(reranker=Instant()).fit(shown, judged),
        }
        bare = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25()}, reranker=Instant(), rerank_k=50)
        print("| around an instant reranker | adds, median ms a search |")
        print("| --- | ---: |")
        for name, composite in composites.items():
            within = bare.replace(reranker=composite)
            timed(within)
            pairs = [(timed(bare), timed(within)) for _ in range(options.searches)]
            print(f"| {name} | {median(b - a for a, b in pairs):.2f} |", flush=True)
        model, cached = CrossEncoder(), Cached(reranker=CrossEncoder(), path=f"{folder}/model")
        for reranker in (model, cached):
            reranker.score(shown)

        def seconds(reranker: Any, calls: int) -> float:
            taken = []
            for _ in range(calls):
                started = perf_counter()
                reranker.score(shown)
                taken.append(perf_counter() - started)
            return median(taken)

        called, kept = seconds(model, options.model_calls), seconds(cached, 20 * options.model_calls)
        print(
            f"\n50 documents: model {called * 1000:.0f} ms, cache {kept * 1000:.2f} ms: {called / kept:.0f} times"
        )


if __name__ == "__main__":
    main()
