"""Inverted lists that real queries need, and the number predicted by the queries that recall is tuned on.

    python benchmarks/recall.py DIRECTORY [DIRECTORY …]      # collections in BEIR's layout, with a test split

`Faiss(factory="auto")` tunes its probes on vectors made of stored ones, since real queries are not known when an
index is built. Here both are known: for each way of making them, the probes at which 95 % of the ten nearest
documents are found, and what those probes find for the collection's real queries.
"""

from __future__ import annotations

import argparse
from math import ceil
from pathlib import Path

import faiss
import numpy as np
from beir import KeptEmbedder, load

from hybridrank.embedding import OnnxEmbedder

TARGET = 0.95


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", type=Path, nargs="+")
    options = parser.parse_args()
    print(f"| collection | queries made of | probes for {TARGET} of them | recall of real queries |")
    print("| --- | --- | ---: | ---: |")
    for directory in options.directories:
        report(directory)


def report(directory: Path) -> None:
    collection = load(directory)
    embedder = KeptEmbedder(OnnxEmbedder(), f"{collection.name}-OnnxEmbedder")
    stored = unit(embedder.embed([document.content for document in collection.documents], role="document"))
    asked = unit(embedder.embed(list(collection.queries.values()), role="query"))
    embedder.keep()
    lists = 2 * round(len(stored) ** 0.5)
    index = faiss.index_factory(stored.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(stored)
    home = index.quantizer.search(stored, 1)[1][:, 0]

    def needed(points: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """For each point's ten nearest documents, how many lists must be probed to find them."""
        scores = points @ stored.T
        if own is not None:
            scores[np.arange(len(points)), own] = -2
        nearest = np.argpartition(-scores, 9, axis=1)[:, :10]
        order = index.quantizer.search(points, lists)[1]
        place = np.empty_like(order)
        np.put_along_axis(place, order, np.broadcast_to(np.arange(1, lists + 1), order.shape), 1)
        return np.sort(np.take_along_axis(place, home[nearest], 1), axis=None)

    real = needed(asked)
    random = np.random.default_rng(0)
    own, other = (random.choice(len(stored), min(1000, len(stored)), replace=False) for _ in range(2))
    ways = {"the real ones": real, "one document, itself left out": needed(stored[own], own)}
    for share in (0.25, 0.5, 0.75, 1.0):
        ways[f"one document and {share:g} of another"] = needed(unit(stored[own] + share * stored[other]))
    for name, places in ways.items():
        probes = int(places[ceil(TARGET * len(places)) - 1])
        print(f"| {collection.name} | {name} | {probes} of {lists} | {np.mean(real <= probes):.3f} |")


if __name__ == "__main__":
    main()
