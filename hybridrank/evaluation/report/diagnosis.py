"""What the report of a diagnosis says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hybridrank.evaluation.diagnosis import Diagnosis, Examination, Fate
from hybridrank.evaluation.diagnosis.examining import LEVEL, mean
from hybridrank.evaluation.diagnosis.findings import NothingFound
from hybridrank.evaluation.metrics.statistics import CONFIDENCE, RESAMPLES, SEED, mean_interval
from hybridrank.evaluation.report.advice import describe
from hybridrank.evaluation.report.sections import Section, Table, between, counted

__all__ = ["sections_of_diagnosis"]

_LISTED = 10

_MEANS = {
    "found": "among the first {k}",
    "no room": "the first {k} are all relevant without it",
    "degraded": "a stage of the search failed",
    "not held": "the collection has no such document",
    "beyond fetch_k": "further down in an arm than it fetched",
    "missed": "fetched by no arm",
    "dropped": "an arm had it, and the fusion has not",
    "not reranked": "fetched, never among the first {k}, and not shown to the reranker",
    "left low": "never among the first {k}, in no arm and not after",
}


def sections_of_diagnosis(diagnosis: Diagnosis) -> Iterator[Section]:
    """The content of the report, the most important first."""
    seen = diagnosis.examination
    number = sum(loss.documents for loss in diagnosis.losses)
    yield Section("Warnings", [*diagnosis.warnings], anchor="warnings")
    shown = [str(describe(finding)) for finding in diagnosis.findings if finding.shown]
    yield Section("Advice", shown or ["Nothing was shown that calls for a change."])
    yield Section(
        "Tested, not significant", [describe(finding).says for finding in diagnosis.findings if not finding.shown]
    )
    yield Section(
        "Fates of the relevant documents",
        [
            f"{counted(number, 'relevant document', 'relevant documents')} of "
            f"{counted(len(diagnosis.queries), 'query', 'queries')}. Of each query, as many relevant "
            f"documents count as fit into the first {diagnosis.k}. Shares are means over queries that were not "
            "degraded."
        ],
        [_losses(diagnosis)],
    )
    if seen is not None:
        yield Section("Stage by stage", [], [_stages(seen)], "stages")
        if len(seen.arms) > 1:
            yield Section("What each arm brings", [], [_arms(diagnosis, seen)])
    yield Section(
        "Examples of what was lost",
        [],
        [
            table
            for loss in diagnosis.losses
            if loss.label not in ("found", "no room", "degraded")
            for table in _examples(diagnosis, loss.label)
        ],
        "examples",
    )
    yield Section("Queries to look at", [], [*_queries(diagnosis)])
    yield Section("How this was measured", [_describe_method(diagnosis)])


def _losses(diagnosis: Diagnosis) -> Table:
    rows = [
        [
            loss.label,
            _describe_fate(loss.label, diagnosis),
            f"{loss.documents:,}",
            f"{loss.share:.1%}",
            f"{loss.queries:,}",
            "–" if loss.places is None else f"{loss.places:.1%}",
            between(loss.interval),
        ]
        for loss in diagnosis.losses
    ]
    columns = ["fate", "which is", "documents", "share", "queries", "places", f"{CONFIDENCE:.0%} interval"]
    return Table("Relevant documents", columns, rows, labels=2)


def _describe_fate(label: str, diagnosis: Diagnosis) -> str:
    if label.startswith("demoted by "):
        stage = label.removeprefix("demoted by ")
        return f"among the first {diagnosis.k} before {stage}, and then no more"
    if label == "left low" and "rerank" in diagnosis.kinds.values():
        return f"never among the first {diagnosis.k}, and read by the reranker"
    return _MEANS[label].format(k=diagnosis.k)


def _stages(seen: Examination) -> Table:
    rows = [
        [
            stage,
            f"{mean(seen.values[stage]):.3f}",
            between(mean_interval(list(seen.values[stage].values()))),
            f"{mean(seen.recall[stage]):.3f}",
        ]
        for stage in seen.kinds
    ]
    rows.append(["best possible", f"{mean(seen.best):.3f}", "–", "–"])
    caption = f"{counted(len(seen.queries), 'query', 'queries')}, not degraded, with a relevant document"
    return Table(caption, ["stage", seen.measure, f"{CONFIDENCE:.0%} interval", seen.recall_measure], rows)


def _arms(diagnosis: Diagnosis, seen: Examination) -> Table:
    found = [
        [arm for arm in seen.arms if arm in fate.ranks]
        for query_id in seen.queries
        for fate in diagnosis.fates[query_id]
    ]
    rows = [
        [arm, f"{sum(arm in arms for arms in found):,}", f"{sum(arms == [arm] for arms in found):,}"]
        for arm in seen.arms
    ]
    rows += [
        ["all of them", f"{sum(len(arms) == len(seen.arms) for arms in found):,}", "–"],
        ["none", f"{sum(not arms for arms in found):,}", "–"],
    ]
    return Table("Relevant documents fetched", ["arm", "by it", "by it alone"], rows)


def _examples(diagnosis: Diagnosis, label: str) -> Iterator[Table]:
    stages = list(diagnosis.kinds)
    rows = [
        [
            _brief(diagnosis.queries[fate.query_id]),
            fate.query_id,
            fate.doc_id,
            f"{fate.grade}",
            *(_rank(fate, stage) for stage in stages),
        ]
        for fate in diagnosis.examples(label)
    ]
    if rows:
        yield Table(f"{label}: ranks by stage", ["query", "id", "document", "grade", *stages], rows, labels=3)


def _rank(fate: Fate, stage: str) -> str:
    if stage in fate.ranks:
        return f"{fate.ranks[stage]}"
    return f"({fate.deeper[stage]})" if stage in fate.deeper else "–"


def _queries(diagnosis: Diagnosis) -> Iterator[Table]:
    missed = next((finding.queries for finding in diagnosis.findings if isinstance(finding, NothingFound)), ())
    if missed:
        rows = [[_brief(diagnosis.queries[query_id]), query_id] for query_id in missed[:_LISTED]]
        yield Table(_first(missed, "Nothing relevant fetched"), ["query", "id"], rows, labels=2)
    if diagnosis.odd:
        odd = list(diagnosis.odd)
        rows = [[_brief(diagnosis.queries[q]), q, diagnosis.odd[q]] for q in odd[:_LISTED]]
        yield Table(_first(odd, "Out of the ordinary"), ["query", "id", "what"], rows, labels=3)


def _first(queries: Sequence[str], caption: str) -> str:
    number = len(queries)
    return caption if number <= _LISTED else f"{caption}: {_LISTED} of {number:,}"


def _describe_method(diagnosis: Diagnosis) -> str:
    seen = diagnosis.examination
    judged = (
        ""
        if seen is None
        else f" Of the first {diagnosis.k} results {seen.judged:.0%} are judged; the others count as not relevant."
    )
    return (
        f"Relevant is what has grade {diagnosis.grade} or more. A document was lost by the stage after the last "
        f"one in whose order it stood among the first {diagnosis.k}.{judged} Measures are those of trec_eval, "
        f"through ir_measures; intervals are BCa bootstrap intervals of the mean over queries ({CONFIDENCE:.0%}); "
        "tests are paired randomization tests, two-sided, with Holm's correction over all of this report, and "
        f"shown is what is below {LEVEL}; settings are chosen on four fifths of the queries and measured on the "
        f"other, in turn; {RESAMPLES:,} resamples, seed {SEED}."
    )


def _brief(query: str) -> str:
    text = " ".join(query.split())
    return text if len(text) <= 90 else text[:89] + "…"
