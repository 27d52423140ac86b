"""Blends of the fused and the reranked order: nDCG@10 under each rule, and the safest rule.

    python benchmarks/blend.py DIRECTORY[:SPLIT] […] --depths 20 50      # needs bm25s and ir_measures

Each collection (in BEIR's layout) is searched once at the greatest depth, and every blend is made of the recorded
traces. Ratios are to the better of the fused and the reranked order; the interval is of the mean difference to
it, by bootstrap over queries. The safest rule is the one whose worst ratio over the collections is the highest;
"from the others" is the one that is safest on all other collections, and what this one gets of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from traces import Recorded, Searches, interval, measured, named, record

from hybridrank.blend import ConfidenceBlend, blend_scores, confidence_range_of
from hybridrank.rerank import CrossEncoder

SURE, UNSURE = (0.0, 0.1, 0.2), (0.8, 0.9, 1.0)
BETWEEN = ((-2, 8), (0, 7), (0, 8), (0, 9), (0, 10), (2, 8), (2, 10), (4, 8), (4, 10), (5, 9))

Rule = float | ConfidenceBlend


def weight(rule: Rule, scores: Sequence[float]) -> float:
    """What the fused order weighs in a pipeline with this blend and the default reranker."""
    return (
        rule.weight(scores, declared=confidence_range_of(CrossEncoder()))
        if isinstance(rule, ConfidenceBlend)
        else rule
    )


def at(rule: Rule, depth: int) -> Callable[[Recorded], list[str]]:
    """The order that a pipeline with this blend and this `rerank_k` gives."""

    def ranking(search: Recorded) -> list[str]:
        scores = search.scores[:depth]
        return search.ranked(blend_scores(scores, weight=weight(rule, scores)))

    return ranking


def rules() -> dict[str, Rule]:
    fixed: dict[str, Rule] = {f"{share:g}": share for share in np.arange(0, 11) / 10}
    by_confidence = {
        f"{unsure:g} to {sure:g}, between {low:g} and {high:g}": ConfidenceBlend(
            weight_if_confident=sure, weight_if_unsure=unsure, score_range=(low, high)
        )
        for low, high in BETWEEN
        for sure in SURE
        for unsure in UNSURE
    }
    return {**fixed, "the default": ConfidenceBlend(), **by_confidence}


def arguments(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", nargs="+", metavar="DIRECTORY[:SPLIT]", help="the split is test by default")
    parser.add_argument("--queries", type=int, help="only the first so many judged queries of each")
    return parser


def recorded(collections: Sequence[str], *, queries: int | None, depth: int) -> dict[str, Searches]:
    """The searches of each collection, by a name that tells its split."""
    found = {}
    for given in collections:
        directory, _, split = given.partition(":")
        searches = record(Path(directory), split=split or "test", queries=queries, depth=depth)
        found[f"{named(Path(directory))} {split or 'test'}"] = searches
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 50])
    options = parser.parse_args()
    collections = recorded(options.collections, queries=options.queries, depth=max(options.depths))
    for depth in options.depths:
        report(collections, depth)


def report(collections: Mapping[str, Searches], depth: int) -> None:
    names, labels = list(collections), list(rules())
    values = {
        name: np.array([measured(searches, at(rule, depth)) for rule in rules().values()])
        for name, searches in collections.items()
    }
    reranked, fused, default = labels.index("0"), labels.index("1"), labels.index("the default")
    better = {name: rows[max((reranked, fused), key=rows.mean(1).__getitem__)] for name, rows in values.items()}
    ratios = np.array([values[name].mean(1) / better[name].mean() for name in names])
    worst = ratios.min(0)

    print(f"\nreranked to depth {depth}: the ratio to the better of fused (1) and reranked (0)")
    print("| the fused order weighs | " + " | ".join(names) + " | worst |")
    print("| --- |" + " ---: |" * (len(names) + 1))
    ranked = sorted(range(default + 1, len(labels)), key=worst.__getitem__, reverse=True)
    for row in [*range(default + 1), *ranked[:5], *ranked[-5:]]:
        print(f"| {labels[row]} | " + " | ".join(f"{r:.3f}" for r in ratios[:, row]) + f" | {worst[row]:.3f} |")

    safe = ", ".join(f"{np.mean(worst[ranked] >= bound):.0%} at {bound}" for bound in (1.0, 0.99, 0.98, 0.97))
    print(f"the best and the worst five of {len(ranked)} rules by confidence; all of them at least: {safe}")

    print(f"\nreranked to depth {depth}: nDCG@10")
    print("| collection | queries | fused | reranked | blended | ratio | 95 % of the difference ", end="")
    print("| from the others | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |")
    for place, name in enumerate(names):
        means = values[name].mean(1)
        low, high = interval(values[name][default] - better[name])
        others = np.delete(ratios, place, axis=0)
        chosen = int(others.min(0).argmax()) if len(others) else default
        print(
            f"| {name} | {values[name].shape[1]} | {means[fused]:.4f} | {means[reranked]:.4f} "
            f"| {means[default]:.4f} | {ratios[place, default]:.3f} | {low:+.3f} … {high:+.3f} "
            f"| {labels[chosen]} | {ratios[place, chosen]:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
