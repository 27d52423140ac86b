"""What a report of tuning says."""

from __future__ import annotations

from collections.abc import Iterator

from hybridrank.evaluation.metrics.statistics import CONFIDENCE, RESAMPLES
from hybridrank.evaluation.report.sections import Section, Table, between, money, p_value
from hybridrank.evaluation.tuning import Figures, Tuning

__all__ = ["sections_of_tuning", "title_of_tuning"]


def title_of_tuning(tuning: Tuning) -> str:
    """In a line."""
    return f"Tuning {tuning.default.source} on {tuning.dataset}"


def sections_of_tuning(tuning: Tuning) -> Iterator[Section]:
    """The most important first."""
    yield Section("Warnings", _first(tuning), anchor="warnings")
    yield Section("Summary", [_verdict(tuning), _use(tuning)])
    yield Section("Results", [], [_results(tuning)])
    yield Section(
        "The best of each number of documents reranked",
        [
            "These choices were made and measured on the same queries, so the figures are optimistic. "
            "The gain above is cross-validated."
        ],
        [_table("Within the bounds", [("", figures) for figures in tuning.frontier], tuning)],
    )
    yield Section(
        "Fold by fold",
        ["In each, the choice was made on the other folds' queries, and measured on its own."],
        [_folds(tuning)],
    )
    yield Section("How this was done", [_done(tuning)])


def _first(tuning: Tuning) -> list[str]:
    said = list(tuning.warnings)
    if tuning.unsupervised:
        said.insert(
            0,
            "NO JUDGMENTS: what the reranker scores highest at full depth stands for what is relevant. This can "
            "find the reranker's best at less cost; whether the reranker is right, it cannot know",
        )
    if tuning.left_out:
        reasons = "; ".join(f"{count:,} were {reason}" for reason, count in tuning.left_out.items())
        said.append(f"of {tuning.tried + sum(tuning.left_out.values()):,} choices {reasons}, and are left out")
    if not tuning.default_feasible:
        instead = ", whatever of it is left out"
        if _reduced(tuning):
            instead = (
                ": gains are over the reduced default, the best of it within the bounds with less reranking or "
                f"with one arm alone ({tuning.baseline.variant.label})"
            )
        said.append(f"the default itself breaks a bound{instead}")
    return said


def _reduced(tuning: Tuning) -> bool:
    return tuning.baseline.variant != tuning.default.variant


def _baseline(tuning: Tuning) -> str:
    return "the reduced default" if _reduced(tuning) else "the default"


def _verdict(tuning: Tuning) -> str:
    baseline, chosen = tuning.held_out
    measure = tuning.goal.objective
    if tuning.best == tuning.baseline:
        return (
            f"Nothing was shown to be better than {_baseline(tuning)} in {measure}, of {tuning.tried:,} choices."
        )
    interval = between(tuning.interval, signed=True)
    gained = tuning.p is not None and tuning.p < 0.05 and tuning.gain > 0
    return (
        f"{'On' if gained else 'No gain was shown: on'} queries that did not choose, {measure} is {chosen:.3f}, "
        f"and {baseline:.3f} with {_baseline(tuning)}: {tuning.gain:+.3f} ({interval}), "
        f"p = {p_value(tuning.p)}."
    )


def _use(tuning: Tuning) -> str:
    if tuning.kept:
        return f"{'Use' if _reduced(tuning) else 'Keep'} {_baseline(tuning)}: {tuning.answer.variant.label}."
    words = f"Use {_named(tuning.answer, tuning)}."
    if tuning.p is None or tuning.p >= 0.05 or tuning.gain <= 0:
        words += " It is the best within the bounds, which the default breaks, whatever of it is left out."
    return words


def _named(figures: Figures, tuning: Tuning) -> str:
    several = len(tuning.settings) > 1
    return f"{figures.source}: {figures.variant.label}" if several else figures.variant.label


def _results(tuning: Tuning) -> Table:
    rows = [("default", tuning.default)]
    if _reduced(tuning):
        rows.append((_baseline(tuning), tuning.baseline))
    if tuning.best != tuning.baseline:
        rows.append(("chosen on all queries", tuning.best))
    return _table("On all queries", rows, tuning, labels=2)


def _table(caption: str, rows: list[tuple[str, Figures]], tuning: Tuning, *, labels: int = 1) -> Table:
    columns = ["choices", tuning.goal.objective, "reranked a query", "p95 ms", "cost of 1,000"]
    made = [
        [
            _named(figures, tuning),
            f"{figures.mean:.3f}",
            f"{figures.pairs:,.1f}",
            "–" if figures.p95 is None else f"{1000 * figures.p95:,.0f}",
            "–" if figures.cost is None else money(figures.cost),
        ]
        for _, figures in rows
    ]
    if labels > 1:
        columns.insert(0, "")
        made = [[name, *row] for (name, _), row in zip(rows, made, strict=True)]
    return Table(caption, columns, made, labels)


def _folds(tuning: Tuning) -> Table:
    rows = []
    for fold in tuning.folds:
        label = f"{fold.source}: {fold.chosen.label}" if len(tuning.settings) > 1 else fold.chosen.label
        gain = fold.mean - fold.baseline
        rows.append([label, f"{fold.queries}", f"{fold.baseline:.3f}", f"{fold.mean:.3f}", f"{gain:+.3f}"])
    return Table("Held-out queries", ["chosen", "queries", _baseline(tuning), "chosen", "gain"], rows)


def _done(tuning: Tuning) -> str:
    bounds = []
    if tuning.goal.p95 is not None:
        bounds.append(f"p95 of at most {tuning.goal.p95:g} s")
    if tuning.goal.cost is not None:
        bounds.append(f"a cost of at most {tuning.goal.cost:g} for a thousand queries")
    within = f"with a {' and '.join(bounds)}" if bounds else "without bounds on time and cost"
    return (
        f"{tuning.tried:,} choices on {tuning.queries:,} recorded queries, {within}. Seconds are predicted from "
        "those recorded, by the characters that the reranker reads. The simplest is chosen of those within "
        f"{tuning.tolerance:g} standard error(s) of the best; queries are cut into {len(tuning.folds)} folds. The "
        f"interval is a BCa bootstrap interval ({CONFIDENCE:.0%}) and the test the paired randomization test, "
        f"two-sided, of held-out queries; {RESAMPLES:,} resamples, seed {tuning.seed}. "
        f"{_baseline(tuning).capitalize()} is kept unless p is below 0.05."
    )
