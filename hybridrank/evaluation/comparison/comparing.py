"""Comparison of pipelines, paired over the queries, with tests, intervals and examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hybridrank.errors import InputError
from hybridrank.evaluation.comparison.evaluating import Evaluation, evaluate
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.metrics.measures import default_measures
from hybridrank.evaluation.metrics.similarity import overlap, rank_biased_overlap
from hybridrank.evaluation.metrics.statistics import (
    CONFIDENCE,
    RESAMPLES,
    SEED,
    Interval,
    holm,
    mean_interval,
    paired_test,
)
from hybridrank.evaluation.recordings.recording import Recording

__all__ = ["Agreement", "ComparedQuery", "Comparison", "Difference", "common_queries", "compare"]

_EXAMPLES = 5
_TIE = 1e-12  # of a measure: what rounding makes


@dataclass(frozen=True)
class ComparedQuery:
    """A query, with its results from the baseline and from the other pipeline."""

    query_id: str
    query: str
    baseline: float
    value: float

    @property
    def difference(self) -> float:
        """The gain over the baseline."""
        return self.value - self.baseline


@dataclass(frozen=True)
class Difference:
    """How a pipeline's results differ from the baseline's in one measure.

    `interval` is of the mean difference; `p` is of the paired randomization test, and `adjusted_p` that by Holm's
    method over all pipelines that are compared in this measure. All three are None with one query.
    """

    name: str
    baseline: str
    measure: str
    mean: float
    interval: Interval | None
    p: float | None
    adjusted_p: float | None
    wins: int
    ties: int
    losses: int
    gained: tuple[ComparedQuery, ...]
    lost: tuple[ComparedQuery, ...]

    def significant(self, level: float = 0.05) -> bool:
        """Whether `adjusted_p` is below `level`."""
        return self.adjusted_p is not None and self.adjusted_p < level


@dataclass(frozen=True)
class Agreement:
    """The similarity of the rankings of two pipelines: means over the queries, 1 where they are the same.

    `overlap` is of the first `k`; `rbo` is rank-biased overlap (p = 0.9) of all that both ranked.
    """

    name: str
    other: str
    k: int
    overlap: float
    rbo: float


@dataclass(frozen=True)
class Comparison:
    """Pipelines on one dataset, each against the `baseline`."""

    dataset: Dataset
    baseline: str
    evaluations: tuple[Evaluation, ...]
    recordings: tuple[Recording, ...]
    differences: tuple[Difference, ...]
    agreements: tuple[Agreement, ...]
    confidence: float = CONFIDENCE
    resamples: int = RESAMPLES
    seed: int = SEED
    warnings: tuple[str, ...] = ()

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures; the first is the main one."""
        return self.evaluations[0].measures

    def evaluation(self, name: str) -> Evaluation:
        """The figures of one pipeline.

        Raises:
            KeyError: there is none of that name.
        """
        for evaluation in self.evaluations:
            if evaluation.name == name:
                return evaluation
        raise KeyError(name)

    def difference(self, name: str, measure: str | None = None) -> Difference:
        """How one pipeline differs from the baseline in a measure, the first if none is given.

        Raises:
            KeyError: there is no such pipeline but the baseline, or no such measure.
        """
        for difference in self.differences:
            if (difference.name, difference.measure) == (name, measure or self.measures[0]):
                return difference
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "dataset": self.dataset.label,
            "queries": len(self.dataset),
            "baseline": self.baseline,
            "statistics": {
                "test": "paired randomization, two-sided; Holm over the pipelines of a measure",
                "interval": "bootstrap (BCa) of the mean",
                "confidence": self.confidence,
                "resamples": self.resamples,
                "seed": self.seed,
            },
            "pipelines": [evaluation.to_dict() for evaluation in self.evaluations],
            "differences": [_to_plain(difference) for difference in self.differences],
            "agreements": [vars(agreement) for agreement in self.agreements],
            "warnings": list(self.warnings),
        }

    def _repr_html_(self) -> str:
        from hybridrank.evaluation.report.notebook import to_notebook

        return to_notebook(self)


def compare(
    recordings: Sequence[Recording],
    *,
    dataset: Dataset | None = None,
    baseline: str | None = None,
    measures: Sequence[str] | None = None,
    prices: Mapping[str, Mapping[str, float]] | None = None,
    k: int = 10,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Compare recorded pipelines, each with the `baseline`, by name; the first where none is given.

    They are compared on the queries of `dataset` and by its judgments, or without one on the queries that all of
    them recorded. `prices` are by pipeline, then as for `evaluate`. `k` is the depth of the overlap.

    Raises:
        InputError: there are fewer than two, two have one name, they have no query in common, or judgments
            that differ, or were made for other texts.
        MissingDependencyError: ir_measures or scipy is not installed.
    """
    if len(recordings) < 2:
        raise InputError("comparing takes at least two recordings")
    names = [recording.name for recording in recordings]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two recordings are called {twice[0]!r}; load one of them with another name=")
    if baseline is not None and baseline not in names:
        raise InputError(f"there is no recording {baseline!r} to compare with (there are: {', '.join(names)})")
    if unknown := [name for name in prices or {} if name not in names]:
        raise InputError(
            f"there is a price for {unknown[0]!r}, and no such recording (there are: {', '.join(names)})"
        )
    notes: list[str] = []
    if dataset is None:
        dataset, notes = common_queries(recordings)
    judged = tuple(recording.judged_by(dataset) for recording in recordings)
    if measures is None:
        measures = _shared_measures(judged)
    first = baseline or names[0]
    evaluations = tuple(
        evaluate(recording, dataset=dataset, measures=measures, prices=_prices(prices or {}, recording))
        for recording in judged
    )
    by_name = {evaluation.name: evaluation for evaluation in evaluations}
    others = [evaluation for evaluation in evaluations if evaluation.name != first]
    differences = []
    for measure in evaluations[0].measures:
        found = [_difference(by_name[first], other, measure, confidence, resamples, seed) for other in others]
        tested = [difference for difference in found if difference.p is not None]
        raised = iter(holm([difference.p or 0.0 for difference in tested]))
        differences += [d if d.p is None else replace(d, adjusted_p=next(raised)) for d in found]
    notes += _merge_warnings(evaluations)
    documents = {str(dict(recording.header.documents)) for recording in judged}
    if len(documents) > 1:
        notes.append("the recordings were made of different documents: what differs may be those")
    if len(machines := {recording.header.machine for recording in judged}) > 1:
        notes.append(f"latencies come from different machines ({'; '.join(sorted(machines))}), and do not compare")
    return Comparison(
        dataset,
        first,
        evaluations,
        judged,
        tuple(differences),
        tuple(_agreements(judged, first, k)),
        confidence,
        resamples,
        seed,
        tuple(notes),
    )


def _prices(prices: Mapping[str, Mapping[str, float]], recording: Recording) -> Mapping[str, float] | None:
    """The prices of one pipeline; where any are given, a pipeline without a reranker costs nothing."""
    free = bool(prices) and "rerank" not in recording.kinds.values()
    return {} if free else prices.get(recording.name)


def common_queries(recordings: Sequence[Recording]) -> tuple[Dataset, list[str]]:
    """The queries that all have recorded with the same judgments; and warnings about the others.

    Raises:
        InputError: they have no query in common, judgments that differ, or none.
    """
    first = recordings[0]
    shared = [q for q in first.searches if all(q in other.searches for other in recordings)]
    if not shared:
        raise InputError("the recordings have no query in common")
    for other in recordings[1:]:
        for query_id in shared:
            mine, others = first.searches[query_id], other.searches[query_id]
            if (mine.qrels, mine.ignored) != (others.qrels, others.ignored):
                raise InputError(
                    f"{first.name!r} and {other.name!r} have different judgments of query {query_id!r}; give the "
                    "dataset that is to count"
                )
    most = max(map(len, recordings))
    notes = [] if len(shared) == most else [f"compared on the {len(shared)} queries that all have, of {most}"]
    return first.dataset.only(shared), notes


def _shared_measures(recordings: Sequence[Recording]) -> Sequence[str]:
    """The default measures, with recall at the smallest `fetch_k`, which is fair to all."""
    return default_measures(
        min(search.trace.fetch_k for recording in recordings for search in recording.searches.values())
    )


def _difference(
    baseline: Evaluation, other: Evaluation, measure: str, confidence: float, resamples: int, seed: int
) -> Difference:
    before, after = baseline.per_query(measure), other.per_query(measure)
    examples = [ComparedQuery(q, baseline.queries[q], before[q], after[q]) for q in before]
    gains = [example.difference for example in examples]
    by_gain = sorted(examples, key=lambda example: (-example.difference, example.query_id))
    p = paired_test([after[q] for q in before], list(before.values()), resamples=resamples, seed=seed)
    return Difference(
        name=other.name,
        baseline=baseline.name,
        measure=measure,
        mean=sum(gains) / len(gains),
        interval=mean_interval(gains, confidence=confidence, resamples=resamples, seed=seed),
        p=p,
        adjusted_p=p,
        wins=sum(gain > _TIE for gain in gains),
        ties=sum(abs(gain) <= _TIE for gain in gains),
        losses=sum(gain < -_TIE for gain in gains),
        gained=tuple(example for example in by_gain[:_EXAMPLES] if example.difference > _TIE),
        lost=tuple(example for example in reversed(by_gain[-_EXAMPLES:]) if example.difference < -_TIE),
    )


def _agreements(recordings: Sequence[Recording], baseline: str, k: int) -> Iterator[Agreement]:
    orders = {r.name: r.rankings()[list(r.kinds)[-1]] for r in recordings}
    for name, of in orders.items():
        if name != baseline:
            pairs = [(of[query_id], order) for query_id, order in orders[baseline].items()]
            yield Agreement(
                name,
                baseline,
                k,
                sum(overlap(mine, theirs, k=k) for mine, theirs in pairs) / len(pairs),
                sum(rank_biased_overlap(mine, theirs) for mine, theirs in pairs) / len(pairs),
            )


def _merge_warnings(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """The warnings of each pipeline, with its name; a warning of all pipelines once, without."""
    for warning in dict.fromkeys(warning for evaluation in evaluations for warning in evaluation.warnings):
        about = [evaluation.name for evaluation in evaluations if warning in evaluation.warnings]
        yield warning if len(about) == len(evaluations) else f"{', '.join(about)}: {warning}"


def _to_plain(difference: Difference) -> dict[str, Any]:
    fields = {**vars(difference), "significant": difference.significant()}
    fields["interval"] = None if difference.interval is None else list(difference.interval)
    for name in ("gained", "lost"):
        fields[name] = [{**vars(each), "difference": each.difference} for each in getattr(difference, name)]
    return fields
