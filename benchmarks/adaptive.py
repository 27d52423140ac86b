"""Early stopping: nDCG@10 and pairs at fixed depths, and with a stopping rule.

    python benchmarks/adaptive.py DIRECTORY[:SPLIT] […]      # needs bm25s and ir_measures

Each collection (in BEIR's layout) is searched once at the full depth, and every rule is replayed on the recorded
traces, under the default blend or those that are asked for (0 is the reranker alone). Ratios are to the full depth
under the same blend; "missed" is the part of the full depth's best ten that a rule does not find, and "worse" the
share of the queries that lose more than a hundredth of nDCG by stopping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from blend import Rule, arguments, at, recorded, weight
from traces import Recorded, Searches, interval

from hybridrank.blend import ConfidenceBlend, blend_scores
from hybridrank.rerank.early_stopping import EarlyStopping

K = 10

Depth = Callable[[Recorded, Rule], int]


def stopped(search: Recorded, blend: Rule, *, rule: EarlyStopping) -> int:
    """How many candidates a pipeline with this rule and this blend scores."""
    count = min(rule.next(0, k=K), len(search.scores))
    while count < len(search.scores):
        scores = search.scores[:count]
        if rule.should_stop(blend_scores(scores, weight=weight(blend, scores)), k=K):
            break
        count = min(count + rule.next(count, k=K), len(search.scores))
    return count


def first(search: Recorded, _: Rule, *, count: int) -> int:
    return min(count, len(search.scores))


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--depth", type=int, default=100, help="the full depth")
    parser.add_argument("--fixed", type=int, nargs="*", default=[10, 15, 20, 25, 30, 40, 50])
    parser.add_argument("--quiet", type=int, nargs="*", default=[2, 3, 4, 6, 8, 12])
    parser.add_argument("--step", type=int, default=4)
    parser.add_argument("--blend", type=float, nargs="*", default=[], help="fixed shares of the fused order")
    options = parser.parse_args()
    collections = recorded(options.collections, queries=options.queries, depth=options.depth)
    depths = depths_of(options.fixed, options.quiet, step=options.step)
    blends: Mapping[str, Rule] = {
        "the default blend": ConfidenceBlend(),
        **{f"blend {share:g}": share for share in options.blend},
    }
    for label, blend in blends.items():
        for name, searches in collections.items():
            report(f"{name}, {label}", searches, blend, depths)


def depths_of(fixed: list[int], quiet: list[int], *, step: int) -> dict[str, Depth]:
    return {
        **{f"the first {count}": partial(first, count=count) for count in fixed},
        **{
            f"settled, quiet {each}": partial(stopped, rule=EarlyStopping(patience=each, step=step))
            for each in quiet
        },
    }


def report(name: str, searches: Searches, blend: Rule, depths: Mapping[str, Depth]) -> None:
    full = [at(blend, len(search.scores))(search) for search in searches]
    best = np.array([search.ndcg(ids) for search, ids in zip(searches, full, strict=True)])
    pairs = np.mean([len(search.scores) for search in searches])
    print(f"\n{name}, {len(searches)} queries: {best.mean():.4f} with {pairs:.0f} pairs each")
    print("| reranked | pairs | of all | nDCG@10 | ratio | 95 % of the difference | missed | worse |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for label, depth in depths.items():
        counts = [depth(search, blend) for search in searches]
        found = [at(blend, count)(search) for search, count in zip(searches, counts, strict=True)]
        values = np.array([search.ndcg(ids) for search, ids in zip(searches, found, strict=True)])
        missed = np.mean([len(set(a[:K]) - set(b[:K])) / K for a, b in zip(full, found, strict=True)])
        low, high = interval(values - best)
        print(
            f"| {label} | {np.mean(counts):.1f} | {np.mean(counts) / pairs:.0%} | {values.mean():.4f} "
            f"| {values.mean() / best.mean():.3f} | {low:+.3f} … {high:+.3f} | {missed:.0%} "
            f"| {np.mean(values < best - 0.01):.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
