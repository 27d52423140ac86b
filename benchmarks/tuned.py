"""Tuned pipelines compared with their best arm, on held-out queries.

    python benchmarks/tuned.py RECORDING [RECORDING …]      # hybridrank record … --deep 100 --to RECORDING

nDCG@10 on recordings of the default models, 100 candidates deep: of each arm, of fusions, reranked to several
depths, and blended by default; and of what `tune` answers, under bounds on the 95th percentile of a search's time.
Queries are cut into five folds; what `tune` answers from four of them, the default (or what of it keeps within the
bound) if nothing else is shown to be better, is measured on the fifth. Differences to the better arm come with the
paired randomization test; all intervals are bootstrapped.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from random import Random

from hybridrank.evaluation import Evaluator, Goal, Recording, Space, Variant, mean_interval, paired_test, tune
from hybridrank.evaluation.replay.replaying import replay_all
from hybridrank.fusion import RRF
from hybridrank.pipeline.config import PipelineConfig

MEASURE = "nDCG@10"
FOLDS = 5


def values(recording: Recording, variant: Variant, measure: str = MEASURE) -> list[float]:
    """The measure, query by query."""
    replayed = replay_all(recording, variant)
    last = list(replayed.kinds)[-1]
    per_query = Evaluator(recording.dataset.qrels, [measure]).per_query(replayed.rankings()[last])[measure]
    return [per_query[query_id] for query_id in recording.searches]


@dataclass(frozen=True)
class Row:
    """The values of one way to search, query by query, compared with those of the better arm."""

    numbers: Sequence[float]
    others: Sequence[float]
    notes: str = ""

    @cached_property
    def mean(self) -> str:
        return f"{sum(self.numbers) / len(self.numbers):.3f}"

    @cached_property
    def interval(self) -> str:
        low, high = mean_interval(self.numbers)
        return f"({low:.3f}–{high:.3f})"

    @cached_property
    def gain(self) -> float:
        return (sum(self.numbers) - sum(self.others)) / len(self.numbers)

    @cached_property
    def p(self) -> float:
        return paired_test(list(self.numbers), list(self.others))

    def __str__(self) -> str:
        return f"{self.mean} {self.interval} | {self.gain:+.3f} | {self.p:.3f} | {self.notes}"

    @property
    def mark(self) -> str:
        return "" if self.p >= 0.05 else " ▲" if self.gain > 0 else " ▼"


def report(recording: Recording, bounds: Sequence[float]) -> dict[str, Row]:
    default = replace(Variant.recorded(recording.header), fusion=PipelineConfig().fusion)
    whole = replace(default, fetch_k=100)
    fused = replace(whole, rerank_k=0)
    arms = {arm: replace(fused, arms=(arm,)) for arm in whole.arms}
    rows = dict(arms)
    rows["RRF, k = 60, equal weights"] = replace(fused, fusion=RRF())
    rows["RRF, the default"] = fused
    for depth in (10, 20, 50, 100):
        rows[f"reranked to {depth}, no blend"] = replace(whole, rerank_k=depth, blend=0.0)
    for depth in (20, 50):
        rows[f"reranked to {depth}, default blend"] = replace(whole, rerank_k=depth)
    found = {label: values(recording, variant) for label, variant in rows.items()}
    best = max(arms, key=lambda arm: sum(found[arm]))
    table = {label: Row(numbers, found[best]) for label, numbers in found.items()}
    print(f"\n## {recording.dataset.label}, {len(recording)} queries; the better arm is {best}\n")
    print(f"| | {MEASURE} (95 %) | less the better arm | p | |\n| --- | ---: | ---: | ---: | --- |")
    for label, row in table.items():
        print(f"| {label} | {row} |", flush=True)
    tasks = {"tuned fusion, not reranked": (Space(rerank_k=(0,)), None, fused)}
    tasks |= {f"tuned, p95 under {bound:g} s": (Space(), bound, default) for bound in bounds}
    for label, (space, bound, start) in tasks.items():
        numbers, answers = held_out(recording, space, Goal(MEASURE, p95=bound), start)
        table[label] = Row([numbers[query_id] for query_id in recording.searches], found[best], "; ".join(answers))
        print(f"| {label} | {table[label]} |", flush=True)
    return table


def held_out(
    recording: Recording, space: Space, goal: Goal, default: Variant
) -> tuple[dict[str, float], list[str]]:
    """The measure of each query by what was tuned on the other folds, and what that was, how often."""
    numbers: dict[str, float] = {}
    answers: Counter[str] = Counter()
    ids = sorted(recording.searches)
    Random(0).shuffle(ids)
    for fold in range(FOLDS):
        tested = ids[fold::FOLDS]
        others = [query_id for query_id in ids if query_id not in tested]
        tuned = tune(part(recording, others), space=space, goal=goal, default=default)
        test = part(recording, tested)
        numbers |= dict(zip(test.searches, values(test, tuned.answer.variant), strict=True))
        answers[tuned.answer.variant.label] += 1
    return numbers, [f"{answer} ({count} of {FOLDS})" for answer, count in answers.most_common()]


def part(recording: Recording, query_ids: Sequence[str]) -> Recording:
    return replace(recording, searches={query_id: recording.searches[query_id] for query_id in query_ids})


def together(tables: Mapping[str, Mapping[str, Row]]) -> None:
    """All collections in one table: ▲ and ▼ mark what is better or worse than the better arm."""
    print("\n| | " + " | ".join(tables) + " |\n" + "| --- " * (len(tables) + 1) + "|")
    for label in next(iter(tables.values())):
        cells = [f"{table[label].mean}<br>{table[label].interval}{table[label].mark}" for table in tables.values()]
        print(f"| {label} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--bounds", type=float, nargs="*", default=[0.2, 1.0], help="seconds")
    options = parser.parse_args()
    recordings = [Recording.load(path) for path in options.recordings]
    together({f"{each.dataset.name}, {len(each)}": report(each, options.bounds) for each in recordings})


if __name__ == "__main__":
    main()
