"""Quality, latency and cost of a recorded pipeline, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple

from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.metrics.measures import Evaluator, default_measures
from hybridrank.evaluation.metrics.statistics import CONFIDENCE, RESAMPLES, SEED, Interval, mean_interval
from hybridrank.evaluation.recordings.recording import Recording
from hybridrank.result.trace import StageKind, Trace
from hybridrank.result.usage import Usage

__all__ = ["Evaluation", "Latency", "evaluate", "latencies_of"]


class Latency(NamedTuple):
    """Seconds that so many searches took: the median, and what 95 and 99 of a hundred did not exceed.

    Each is a time that a search really took (the nearest rank), the slowest where there are fewer than twenty or a
    hundred.
    """

    searches: int
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Of the times of some searches, at least one."""
        ordered = sorted(seconds)
        p50, p95, p99 = (ordered[max(0, ceil(share * len(ordered)) - 1)] for share in (0.5, 0.95, 0.99))
        return cls(len(ordered), p50, p95, p99)


@dataclass(frozen=True)
class Evaluation:
    """A pipeline's figures on one dataset.

    `values` are by stage, measure and query; the last stage's order is what a user gets. `latencies` are by stage,
    and ``"search"`` is the whole; empty where queries were searched for in batches. `usage` is what reranking
    counted, over all queries; `cost` what that costs for a thousand queries, None where no price was given.
    """

    name: str
    dataset: str
    queries: Mapping[str, str]
    kinds: Mapping[str, StageKind]
    measures: tuple[str, ...]
    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    latencies: Mapping[str, Latency]
    usage: Mapping[str, float]
    cost: float | None = None
    degraded: int = 0
    machine: str = ""
    fetch_k: int = 0
    rerank_k: int = 0
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def result(self) -> str:
        """The last stage: what a user gets."""
        return list(self.kinds)[-1]

    def per_query(self, measure: str, *, stage: str | None = None) -> Mapping[str, float]:
        """A measure's value for each query, at a stage or in the result."""
        return self.values[stage or self.result][measure]

    def mean(self, measure: str, *, stage: str | None = None) -> float:
        """A measure's mean over the queries, at a stage or in the result."""
        of = self.per_query(measure, stage=stage)
        return sum(of.values()) / len(of)

    def interval(
        self,
        measure: str,
        *,
        stage: str | None = None,
        confidence: float = CONFIDENCE,
        resamples: int = RESAMPLES,
        seed: int = SEED,
    ) -> Interval | None:
        """The interval of `mean`; None where there is one query only."""
        of = self.per_query(measure, stage=stage)
        return mean_interval(list(of.values()), confidence=confidence, resamples=resamples, seed=seed)

    def to_dict(self, *, per_query: bool = True) -> dict[str, Any]:
        """All of it as JSON values; seconds for latencies, the prices' currency for the cost."""
        stages = {}
        for stage, kind in self.kinds.items():
            measured = {}
            for measure in self.measures:
                interval = self.interval(measure, stage=stage)
                measured[measure] = {
                    "mean": self.mean(measure, stage=stage),
                    "interval": None if interval is None else list(interval),
                    **({"queries": dict(self.per_query(measure, stage=stage))} if per_query else {}),
                }
            latency = self.latencies.get(stage)
            stages[stage] = {
                "kind": kind,
                "measures": measured,
                "latency": None if latency is None else latency._asdict(),
            }
        whole = self.latencies.get("search")
        return {
            "name": self.name,
            "dataset": self.dataset,
            "queries": len(self.queries),
            "fetch_k": self.fetch_k,
            "rerank_k": self.rerank_k,
            "stages": stages,
            "latency": None if whole is None else whole._asdict(),
            "usage": dict(self.usage),
            "cost_per_1000_queries": self.cost,
            "degraded": self.degraded,
            "machine": self.machine,
            "interval": {"method": "bootstrap", "confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED},
            "warnings": list(self.warnings),
            "settings": dict(self.settings),
        }

    def _repr_html_(self) -> str:
        from hybridrank.evaluation.report.notebook import to_notebook

        return to_notebook(self)


def evaluate(
    recording: Recording,
    *,
    dataset: Dataset | None = None,
    measures: Sequence[str] | None = None,
    prices: Mapping[str, float] | None = None,
) -> Evaluation:
    """Measure what a recording holds, stage by stage.

    `dataset` brings judgments in place of the recorded ones, and chooses the queries. `measures` are names of
    `ir_measures` (None: `default_measures`). `prices` are for one of each thing that reranking counts, as
    ``{"search_units": 0.002}``: see `Pipeline.usage`.

    A document that a stage was not shown keeps its place behind those that it ranked; one that no retriever found
    is in no stage; a query for which nothing was found counts as 0.

    Raises:
        InputError: there is no such measure, a price is for what was never counted, or a query of the dataset was
            not recorded.
        MissingDependencyError: ir_measures is not installed.
    """
    if dataset is not None:
        recording = recording.judged_by(dataset)
    judged = dataset or recording.dataset
    traces = [search.trace for search in recording.searches.values()]
    fetch_k = max(trace.fetch_k for trace in traces)
    evaluator = Evaluator(judged.qrels, measures or default_measures(fetch_k))
    kinds = recording.kinds
    values = {stage: evaluator.per_query(orders) for stage, orders in recording.rankings().items()}
    latencies, notes = latencies_of(recording)
    usage = Usage()
    for trace in traces:
        for stage in trace.stages:
            if stage.kind == "rerank":
                usage.add(stage)
    counted = usage.to_dict(prices if "rerank" in kinds.values() else None)
    cost = counted.pop("cost", None if "rerank" in kinds.values() or prices is None else 0.0)
    said = list(dict.fromkeys([*recording.warnings, *judged.warnings(), *notes]))
    if recording.degraded:
        said.append(_degraded(recording.degraded))
    return Evaluation(
        name=recording.name,
        dataset=judged.label,
        queries=judged.queries,
        kinds=kinds,
        measures=evaluator.names,
        values=values,
        latencies=latencies,
        usage=counted,
        cost=None if cost is None else 1000 * cost / len(traces),
        degraded=len(recording.degraded),
        machine=recording.header.machine,
        fetch_k=fetch_k,
        rerank_k=max(trace.rerank_k for trace in traces),
        warnings=tuple(said),
        settings=recording.header.settings,
    )


def latencies_of(recording: Recording) -> tuple[dict[str, Latency], list[str]]:
    """Of each stage and of the whole, from searches that were made alone; and what is to be said about them."""
    searches = list(recording.searches.values())
    if any(stage.batch > 1 for search in searches for stage in search.trace.stages):
        return {}, ["queries were searched for in batches: there are no latencies of single searches"]
    warm = [search for search in searches if not search.first] or searches
    notes = []
    if len(warm) < 20:
        notes.append(f"latencies are of {len(warm)} searches: p95 and p99 are the slowest of them")
    cached = sum(_details(search.trace, "cache_hits") for search in warm)
    if cached:
        notes.append(f"{cached} of {len(warm)} searches found scores in a cache: their latencies are too low")
    shared = sum(_details(search.trace, "shared") for search in warm)
    if shared:
        notes.append(
            f"{shared} of {len(warm)} searches reuse stages or scores from other pipelines' recordings: their "
            "latencies are the sums of the recorded times of their stages"
        )
    latencies = {"search": Latency.of([search.trace.seconds for search in warm])}
    for name in recording.kinds:
        seconds = [stage.seconds for search in warm for stage in search.trace.stages if stage.name == name]
        if seconds:
            latencies[name] = Latency.of(seconds)
    return latencies, notes


def _details(trace: Trace, name: str) -> bool:
    return any(stage.details.get(name) for stage in trace.stages)


def _degraded(degraded: Mapping[str, Mapping[str, str]]) -> str:
    query_id, stages = next(iter(degraded.items()))
    stage, reason = next(iter(stages.items()))
    return (
        f"{len(degraded)} {'search was' if len(degraded) == 1 else 'searches were'} degraded, such as that for "
        f"{query_id!r} ({stage}: {reason}); they are measured as they came out"
    )
