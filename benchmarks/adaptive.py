"""How many candidates must a reranker read? nDCG@10 and pairs at fixed depths, and where reranking stops itself.

    python benchmarks/adaptive.py DIRECTORY[:SPLIT] […] --blend 0 0.3      # needs bm25s and ir_measures

Each collection (in BEIR's layout) is searched once at the full depth, and every rule is replayed on the recorded
traces. Ratios are to the full depth under the same blend; "missed" is the part of the full depth's best ten that a
rule does not find, and "worse" the share of the queries that lose more than a hundredth of nDCG by stopping.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from blend import arguments, recorded
from traces import Recorded, Searches, interval

from hybridrank.blending import blended
from hybridrank.stopping import Settled

K = 10


def stopped(search: Recorded, rule: Settled, weight: float, depth: int) -> int:
    """How many candidates a pipeline with this rule and this blend scores."""
    scores = search.scores[:depth]
    count = min(rule.next(0, k=K), len(scores))
    while count < len(scores) and not rule.holds(blended(scores[:count], weight=weight), k=K):
        count = min(count + rule.next(count, k=K), len(scores))
    return count


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--depth", type=int, default=100, help="the full depth")
    parser.add_argument("--fixed", type=int, nargs="*", default=[10, 15, 20, 25, 30, 40, 50])
    parser.add_argument("--quiet", type=int, nargs="*", default=[2, 4, 6, 8, 12, 16])
    parser.add_argument("--step", type=int, default=4)
    parser.add_argument("--blend", type=float, nargs="+", default=[0.0, 0.3])
    options = parser.parse_args()
    collections = recorded(options.collections, queries=options.queries, depth=options.depth)
    rules: dict[str, Callable[[float], Callable[[Recorded], int]]] = {
        f"the first {count}": lambda _, count=count: lambda search: min(count, len(search.scores))
        for count in options.fixed
    }
    for quiet in options.quiet:
        rule = Settled(quiet=quiet, step=options.step)
        rules[f"settled, quiet {quiet}"] = lambda weight, rule=rule: (
            lambda search: stopped(search, rule, weight, options.depth)
        )
    for weight in options.blend:
        for name, searches in collections.items():
            report(name, searches, weight, {label: rule(weight) for label, rule in rules.items()})


def report(name: str, searches: Searches, weight: float, rules: dict[str, Callable[[Recorded], int]]) -> None:
    def ranked(search: Recorded, count: int) -> list[str]:
        return search.ranked(blended(search.scores[:count], weight=weight))

    full = [ranked(search, len(search.scores)) for search in searches]
    best = np.array([search.ndcg(ids) for search, ids in zip(searches, full, strict=True)])
    pairs = np.mean([len(search.scores) for search in searches])
    print(f"\n{name}, {len(searches)} queries, blend {weight:g}: {best.mean():.4f} with {pairs:.0f} pairs each")
    print("| rule | pairs | of all | nDCG@10 | ratio | 95 % of the difference | missed | worse |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for label, rule in rules.items():
        counts = [rule(search) for search in searches]
        found = [ranked(search, count) for search, count in zip(searches, counts, strict=True)]
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
