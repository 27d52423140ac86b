"""What a report says, whatever it is written in: sections of sentences and tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from hybridrank.evaluation.comparison.comparing import ComparedQuery, Comparison, Difference
from hybridrank.evaluation.comparison.evaluating import Evaluation, Latency
from hybridrank.evaluation.diagnosis import Diagnosis
from hybridrank.evaluation.metrics.statistics import CONFIDENCE, RESAMPLES, SEED
from hybridrank.evaluation.report.diagnosis import sections_of_diagnosis
from hybridrank.evaluation.report.sections import Section, Table, between, counted, money, p_value
from hybridrank.evaluation.report.tuning import sections_of_tuning, title_of_tuning
from hybridrank.evaluation.tuning import Tuning

__all__ = ["Report", "Section", "Table", "sections", "title"]

Report: TypeAlias = Evaluation | Comparison | Diagnosis | Tuning

_TOKENS = ("tokens_read", "tokens", "total_tokens")
_LEVEL = 0.05


def title(report: Report) -> str:
    """What a report is about, in a line."""
    if isinstance(report, Tuning):
        return title_of_tuning(report)
    if isinstance(report, Evaluation):
        return f"{report.name} on {report.dataset}"
    if isinstance(report, Diagnosis):
        return f"Diagnosis of {report.name} on {report.dataset}"
    names = [evaluation.name for evaluation in report.evaluations]
    return f"{', '.join(names[:-1])} and {names[-1]} on {report.dataset.label}"


def sections(report: Report) -> list[Section]:
    """The content of the report, the most important first."""
    if isinstance(report, Diagnosis):
        made = sections_of_diagnosis(report)
    elif isinstance(report, Tuning):
        made = sections_of_tuning(report)
    else:
        made = _of_evaluation(report) if isinstance(report, Evaluation) else _of_comparison(report)
    return [section for section in made if section.paragraphs or section.tables]


def _of_evaluation(evaluation: Evaluation) -> Iterator[Section]:
    yield Section("Warnings", [*evaluation.warnings], anchor="warnings")
    yield Section(
        "Stage by stage",
        [
            f"{counted(len(evaluation.queries), 'query', 'queries')}; each arm fetched {evaluation.fetch_k}"
            + (f", the reranker saw {evaluation.rerank_k}." if "rerank" in evaluation.kinds.values() else ".")
            + " A stage's row is the order as it stood after it; the last is what a user gets."
        ],
        [_stages(evaluation)],
        "stages",
    )
    yield Section("Time and cost", _describe_times(evaluation), [*_times(evaluation)], "costs")
    yield Section("How this was measured", [_describe_method(CONFIDENCE, RESAMPLES, SEED)])


def _of_comparison(comparison: Comparison) -> Iterator[Section]:
    first = comparison.measures[0]
    yield Section("Warnings", [*comparison.warnings], anchor="warnings")
    yield Section(
        "Summary",
        [_verdict(comparison.difference(e.name)) for e in comparison.evaluations if e.name != comparison.baseline],
    )
    yield Section(
        "Results",
        [f"{counted(len(comparison.dataset), 'query', 'queries')}, the same for all."],
        [_results(comparison)],
        "results",
    )
    yield Section(
        f"Differences from {comparison.baseline}",
        [
            "p comes from the paired randomization test; p (Holm) is corrected over the pipelines of one measure. "
            f"Where it is below {_LEVEL}, the last column says better or worse."
        ],
        [_differences(comparison)],
    )
    yield Section(
        f"Queries that gained and lost most, in {first}",
        [],
        [
            table
            for e in comparison.evaluations
            if e.name != comparison.baseline
            for table in _examples(comparison.difference(e.name))
        ],
        "examples",
    )
    yield Section(
        f"Similarity to the rankings of {comparison.baseline}",
        ["Without judgments; 1 means identical rankings. RBO is rank-biased overlap with p = 0.9, extrapolated."],
        [
            Table(
                "Agreement",
                ["pipeline", f"overlap@{comparison.agreements[0].k}", "RBO"],
                [[a.name, f"{a.overlap:.3f}", f"{a.rbo:.3f}"] for a in comparison.agreements],
            )
        ],
    )
    yield Section(
        "Stage by stage",
        ["A stage's row is the order as it stood after it."],
        [_stages(evaluation, caption=evaluation.name) for evaluation in comparison.evaluations],
        "stages",
    )
    yield Section(
        "How this was measured", [_describe_method(comparison.confidence, comparison.resamples, comparison.seed)]
    )


def _stages(evaluation: Evaluation, caption: str = "Stages") -> Table:
    first, *others = evaluation.measures
    rows = []
    for stage in evaluation.kinds:
        interval = evaluation.interval(first, stage=stage)
        rows.append(
            [
                stage,
                f"{evaluation.mean(first, stage=stage):.3f}",
                between(interval),
                *(f"{evaluation.mean(measure, stage=stage):.3f}" for measure in others),
            ]
        )
    return Table(caption, ["stage", first, f"{CONFIDENCE:.0%} interval", *others], rows)


def _times(evaluation: Evaluation) -> Iterator[Table]:
    rows = [
        ["whole search" if stage == "search" else stage, *_milliseconds(latency)]
        for stage, latency in evaluation.latencies.items()
    ]
    if rows:
        yield Table("Milliseconds", ["", "p50", "p95", "p99"], rows)


def _describe_times(evaluation: Evaluation) -> list[str]:
    said = []
    if whole := evaluation.latencies.get("search"):
        warm = whole.searches < len(evaluation.queries)
        said.append(
            f"Of {counted(whole.searches, 'search', 'searches')}, one at a time"
            + (", without the first, in which models are loaded" if warm else "")
            + f"; on {evaluation.machine or 'a machine that was not noted'}."
        )
    searches = len(evaluation.queries)
    if pairs := evaluation.usage.get("documents"):
        counts = [f"{pairs:,.0f} pairs were scored, {pairs / searches:,.1f} a query"]
        if (tokens := _tokens(evaluation)) is not None:
            counts.append(f"{tokens:,.0f} tokens read, {tokens / searches:,.0f} a query")
        said.append("; ".join(counts) + ".")
    if evaluation.cost is not None:
        said.append(f"At the prices given, a thousand queries cost {money(evaluation.cost)}.")
    return said


def _results(comparison: Comparison) -> Table:
    first, *others = comparison.measures
    rows = []
    for e in comparison.evaluations:
        pairs, tokens = e.usage.get("documents", 0) / len(e.queries), _tokens(e)
        interval = e.interval(
            first, confidence=comparison.confidence, resamples=comparison.resamples, seed=comparison.seed
        )
        rows.append(
            [
                e.name,
                f"{e.mean(first):.3f}",
                between(interval),
                *(f"{e.mean(measure):.3f}" for measure in others),
                *_milliseconds(e.latencies.get("search")),
                f"{pairs:,.0f}",
                "–" if tokens is None else f"{tokens / len(e.queries):,.0f}",
                "–" if e.cost is None else money(e.cost),
            ]
        )
    columns = [
        *("pipeline", first, f"{comparison.confidence:.0%} interval", *others),
        *("p50 ms", "p95 ms", "p99 ms", "pairs a query", "tokens a query", "cost of 1,000"),
    ]
    return _without_empty(Table("What a user gets", columns, rows))


def _differences(comparison: Comparison) -> Table:
    rows = [
        [
            d.name,
            d.measure,
            f"{d.mean:+.3f}",
            between(d.interval, signed=True),
            p_value(d.p),
            p_value(d.adjusted_p),
            f"{d.wins} / {d.ties} / {d.losses}",
            _word(d),
        ]
        for d in comparison.differences
    ]
    columns = ["pipeline", "measure", "difference", f"{comparison.confidence:.0%} interval", "p", "p (Holm)"]
    return Table(f"Against {comparison.baseline}", [*columns, "wins / ties / losses", "verdict"], rows, labels=2)


def _examples(difference: Difference) -> Iterator[Table]:
    for what, examples in (("gained", difference.gained), ("lost", difference.lost)):
        if examples:
            yield Table(
                f"{difference.name}: {what}",
                ["query", "id", difference.baseline, difference.name, "difference"],
                [_example(example) for example in examples],
                labels=2,
            )


def _example(example: ComparedQuery) -> list[str]:
    query = " ".join(example.query.split())
    return [
        query if len(query) <= 90 else query[:89] + "…",
        example.query_id if example.query_id != example.query else "",
        f"{example.baseline:.3f}",
        f"{example.value:.3f}",
        f"{example.difference:+.3f}",
    ]


def _verdict(difference: Difference) -> str:
    """A sentence on one pipeline, in the first measure."""
    of = f"{difference.measure} of {difference.name} is {abs(difference.mean):.3f}"
    if difference.adjusted_p is None or difference.interval is None:
        return (
            f"The {of} {'above' if difference.mean > 0 else 'below'} that of {difference.baseline}, for one query."
        )
    if not difference.significant(_LEVEL):
        return (
            f"No difference was shown between {difference.name} and {difference.baseline} in {difference.measure} "
            f"({difference.mean:+.3f}, interval {between(difference.interval, signed=True)}; p = "
            f"{p_value(difference.adjusted_p)}): more queries may show one."
        )
    return (
        f"{difference.name} is {_word(difference)} than {difference.baseline} in {difference.measure}: "
        f"{difference.mean:+.3f}, interval {between(difference.interval, signed=True)}; p = "
        f"{p_value(difference.adjusted_p)}."
    )


def _describe_method(confidence: float, resamples: int, seed: int) -> str:
    return (
        "Measures are those of trec_eval, through ir_measures. Documents that retrieval missed stay missed; "
        "documents that a stage did not receive keep their order below those that it ranked; a query without hits "
        "counts as 0. "
        f"Intervals are BCa bootstrap intervals of the mean over queries ({confidence:.0%}); tests are paired and "
        f"two-sided; {resamples:,} resamples, seed {seed}."
    )


def _without_empty(table: Table) -> Table:
    """A table without the columns in which there is nothing."""
    kept = [n for n in range(len(table.columns)) if any(row[n] not in ("–", "0") for row in table.rows)]
    return Table(
        table.caption,
        [table.columns[n] for n in kept],
        [[row[n] for n in kept] for row in table.rows],
        table.labels,
    )


def _tokens(evaluation: Evaluation) -> float | None:
    return next((evaluation.usage[name] for name in _TOKENS if name in evaluation.usage), None)


def _milliseconds(latency: Latency | None) -> list[str]:
    if latency is None:
        return ["–", "–", "–"]
    return [_short(1000 * seconds) for seconds in (latency.p50, latency.p95, latency.p99)]


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 1 else f"{number:.2f}"


def _word(difference: Difference) -> str:
    if not difference.significant(_LEVEL):
        return "not shown"
    return "better" if difference.mean > 0 else "worse"
