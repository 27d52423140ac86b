"""Responsiveness of the event loop during 200 concurrent searches.

    python benchmarks/burst.py DIRECTORY      # a collection in BEIR's layout

A task that wakes up every 5 ms measures its delay, while nothing else runs and while 200 searches are awaited
together: without a reranker, with the default cross-encoder on two candidates, and under a deadline.
"""

from __future__ import annotations

import argparse
import asyncio
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter

import numpy as np
from beir import KeptEmbedder, load

from hybridrank import Pipeline
from hybridrank.embedding import OnnxEmbedder
from hybridrank.retrieval.faiss.component import Faiss

WAKE = 0.005


async def lateness(stop: asyncio.Event) -> list[float]:
    """The delay of each wake-up, in milliseconds."""
    late = []
    while not stop.is_set():
        due = perf_counter() + WAKE
        await asyncio.sleep(WAKE)
        late.append((perf_counter() - due) * 1000)
    return late


async def measure(name: str, pipeline: Pipeline, texts: list[str], deadline: float | None = None) -> None:
    stop = asyncio.Event()
    watching = asyncio.create_task(lateness(stop))
    started = perf_counter()
    if texts:
        results = await asyncio.gather(*(pipeline.asearch(text, deadline=deadline) for text in texts))
        found = sum(bool(result.hits) for result in results)
    else:
        await asyncio.sleep(2)
        found = 0
    seconds = perf_counter() - started
    stop.set()
    late = await watching
    print(
        f"| {name} | {seconds:.2f} | {found} | {np.median(late):.1f} | {np.percentile(late, 99):.1f} "
        f"| {max(late):.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--searches", type=int, default=200)
    options = parser.parse_args()
    collection = load(options.directory)
    embedder = KeptEmbedder(OnnxEmbedder(), f"{collection.name}-OnnxEmbedder")
    arms = {"bm25": "bm25", "dense": Faiss(embedder=embedder)}
    pipeline = Pipeline.build(collection.documents, retrievers=arms, rerank_k=2)
    embedder.embed(list(collection.queries.values()), role="query")
    pipeline.warm_up()
    texts = list(islice(cycle(collection.queries.values()), options.searches))
    print("| searches at once | seconds | answered | late, median ms | late, 99 % | late, most |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    plain = pipeline.replace(reranker=None)
    asyncio.run(measure("none", plain, []))
    asyncio.run(measure(f"{len(texts)}, no reranker", plain, texts))
    asyncio.run(measure(f"{len(texts)}, 2 candidates reranked", pipeline, texts))
    asyncio.run(measure(f"{len(texts)}, 20 candidates, deadline 1 s", pipeline.replace(rerank_k=20), texts, 1.0))


if __name__ == "__main__":
    main()
