"""How much of the fused order should a reranked one keep? nDCG@10 at each weight, and the weight that is safest.

    python benchmarks/blend.py DIRECTORY[:SPLIT] […] --depths 20 50      # needs bm25s and ir_measures

Each collection (in BEIR's layout) is searched once at the greatest depth, and every blend is made of the recorded
traces. "Better" is the better of the fused and the reranked order; the interval is of the mean difference to it,
by bootstrap over queries. The safest weight is the one whose worst ratio over the collections is the highest;
"chosen from the others" is the one that is safest on all other collections, and what this one gets of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from traces import Recorded, Searches, interval, measured, record

from hybridrank.blending import blended

WEIGHTS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def at(weight: float, depth: int):
    """The order that a pipeline with this blend and `rerank_k` gives."""

    def ranking(search: Recorded) -> list[str]:
        return search.ranked(blended(search.scores[:depth], weight=weight))

    return ranking


def arguments(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", metavar="DIRECTORY[:SPLIT]", help="the split is test by default")
    parser.add_argument("--queries", type=int, help="only the first so many judged queries of each")
    return parser


def recorded(collections: Sequence[str], *, queries: int | None, depth: int) -> dict[str, Searches]:
    """The searches of each collection, by a name that tells its split too."""
    found = {}
    for given in collections:
        directory, _, split = given.partition(":")
        searches = record(Path(directory), split=split or "test", queries=queries, depth=depth)
        found[f"{Path(directory).name} {split or 'test'}"] = searches
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS)
    options = parser.parse_args()
    collections = recorded(options.collections, queries=options.queries, depth=max(options.depths))
    for depth in options.depths:
        report(collections, depth, options.weights)


def report(collections: Mapping[str, Searches], depth: int, weights: Sequence[float]) -> None:
    values = {
        name: np.array([measured(searches, at(weight, depth)) for weight in (0.0, 1.0, *weights)])
        for name, searches in collections.items()
    }
    ratios = np.array([rows.mean(1)[2:] / rows.mean(1)[:2].max() for rows in values.values()])
    safest = int(ratios.min(0).argmax())
    print(f"\nreranked to depth {depth}, nDCG@10; in brackets: of the better of fused and reranked")
    print("| collection | queries | fused | reranked | " + " | ".join(f"{w:g}" for w in weights) + " |")
    print("| --- |" + " ---: |" * (3 + len(weights)))
    for (name, rows), row in zip(values.items(), ratios, strict=True):
        means = rows.mean(1)
        cells = [f"{mean:.3f} ({ratio:.3f})" for mean, ratio in zip(means[2:], row, strict=True)]
        print(f"| {name} | {rows.shape[1]} | {means[1]:.3f} | {means[0]:.3f} | " + " | ".join(cells) + " |")
    print("| the worst ratio | | | | " + " | ".join(f"{ratio:.3f}" for ratio in ratios.min(0)) + " |")

    print(f"\nthe safest weight: {weights[safest]:g}")
    print("| collection | its ratio | 95 % of the difference | chosen from the others | its ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for place, (name, rows) in enumerate(values.items()):
        better = rows[:2][rows[:2].mean(1).argmax()]
        low, high = interval(rows[2 + safest] - better)
        others = np.delete(ratios, place, axis=0)
        chosen = int(others.min(0).argmax()) if len(others) else safest
        print(
            f"| {name} | {ratios[place, safest]:.3f} | {low:+.3f} … {high:+.3f} "
            f"| {weights[chosen]:g} | {ratios[place, chosen]:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
