"""The diagnosis of a recording: the fate of every relevant document, and the findings that follow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hybridrank.errors import InputError
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.diagnosis.examining import Examination, examine, mean
from hybridrank.evaluation.diagnosis.fates import Fate, fates_of
from hybridrank.evaluation.diagnosis.findings import Finding
from hybridrank.evaluation.diagnosis.rules import find
from hybridrank.evaluation.metrics.statistics import CONFIDENCE, RESAMPLES, SEED, Interval, mean_interval
from hybridrank.evaluation.recordings.recording import RecordedSearch, Recording
from hybridrank.result.trace import StageKind

__all__ = ["Diagnosis", "Loss", "diagnose"]

_ORDER = ("found", "no room", "degraded", "not held", "beyond fetch_k", "missed", "dropped", "demoted")
_FEW = 20


@dataclass(frozen=True)
class Loss:
    """How many relevant documents had one fate.

    `share` is of all relevant documents, `queries` how many queries it happened to. `places` is the mean over the
    sound queries of the share of the places among the first k that was lost so (None of what is no loss), and
    `interval` is of that.
    """

    label: str
    documents: int
    share: float
    queries: int
    places: float | None = None
    interval: Interval | None = None


@dataclass(frozen=True)
class Diagnosis:
    """Where the relevant documents of a recording were lost, and the findings that follow.

    `fates` are by query. `examination` has the figures; None where every search was degraded. `odd` describes what
    is unusual, by query. `hybridrank.evaluation.report` words the findings.
    """

    name: str
    dataset: str
    k: int
    grade: int
    queries: Mapping[str, str]
    kinds: Mapping[str, StageKind]
    fetch_k: int
    rerank_k: int
    fates: Mapping[str, Sequence[Fate]]
    examination: Examination | None
    findings: tuple[Finding, ...]
    odd: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    deeper: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def losses(self) -> list[Loss]:
        """By fate, in the order of the stages: first what was found."""
        everything = [fate for fates in self.fates.values() for fate in fates]
        order = [*_ORDER, *self.kinds]
        labels = sorted(
            {fate.label: fate for fate in everything}.values(),
            key=lambda f: (order.index(f.kind) if f.kind in order else len(order), order.index(f.stage or "found")
                           if f.stage in order else 0, f.label),
        )  # fmt: skip
        return [self._loss(fate.label, everything) for fate in labels]

    def _loss(self, label: str, everything: Sequence[Fate]) -> Loss:
        of = [fate for fate in everything if fate.label == label]
        queries = len({fate.query_id for fate in of})
        if self.examination is None or label in ("no room", "degraded"):
            return Loss(label, len(of), len(of) / len(everything), queries)
        seen = self.examination
        places = seen.found if label == "found" else seen.lost_in((label,))
        return Loss(
            label, len(of), len(of) / len(everything), queries, mean(places), mean_interval(list(places.values()))
        )

    def examples(self, label: str, count: int = 3) -> list[Fate]:
        """Documents of one fate, one a query, the highest grades and those that came nearest to the top first."""
        of = sorted(
            (fate for fates in self.fates.values() for fate in fates if fate.label == label),
            key=lambda fate: (-fate.grade, min(fate.ranks.values(), default=0), fate.query_id, fate.doc_id),
        )
        first: dict[str, Fate] = {}
        for fate in of:
            first.setdefault(fate.query_id, fate)
        return list(first.values())[:count]

    def per_query(self) -> Iterator[dict[str, Any]]:
        """Each query with what was lost of it, those that lost most first; JSON values."""
        examination = self.examination
        found = {} if examination is None else examination.found
        for query_id in sorted(self.queries, key=lambda q: (found.get(q, 1.0), q)):
            fates = self.fates[query_id]
            yield {
                "query_id": query_id,
                "query": self.queries[query_id],
                "odd": self.odd.get(query_id, ""),
                "relevant": len(fates),
                "places_taken": found.get(query_id),
                "found": [fate.doc_id for fate in fates if fate.kind == "found"],
                "lost": [fate.to_dict() for fate in fates if fate.kind != "found"],
            }

    def to_dict(self, *, per_query: bool = True) -> dict[str, Any]:
        """All of it as JSON values."""
        seen = self.examination
        return {
            "name": self.name,
            "dataset": self.dataset,
            "queries": len(self.queries),
            "k": self.k,
            "grade": self.grade,
            "fetch_k": self.fetch_k,
            "rerank_k": self.rerank_k,
            "deeper_fetch_k": self.deeper,
            "warnings": list(self.warnings),
            "findings": [finding.to_dict() for finding in self.findings],
            "losses": [
                {
                    "fate": loss.label,
                    "documents": loss.documents,
                    "share": loss.share,
                    "queries": loss.queries,
                    "places": loss.places,
                    "interval": None if loss.interval is None else list(loss.interval),
                }
                for loss in self.losses
            ],
            "stages": {}
            if seen is None
            else {
                stage: {
                    "kind": kind,
                    seen.measure: mean(seen.values[stage]),
                    seen.recall_measure: mean(seen.recall[stage]),
                }
                for stage, kind in seen.kinds.items()
            },
            "best_possible": None if seen is None else mean(seen.best),
            "evidence": {} if seen is None else {name: each.to_dict() for name, each in seen.evidence.items()},
            "odd_queries": dict(self.odd),
            "interval": {"method": "bootstrap", "confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED},
            "settings": dict(self.settings),
            **({"by_query": list(self.per_query())} if per_query else {}),
        }

    def _repr_html_(self) -> str:
        from hybridrank.evaluation.report.notebook import to_notebook

        return to_notebook(self)


def diagnose(
    recording: Recording,
    *,
    dataset: Dataset | None = None,
    deeper: Recording | None = None,
    k: int = 10,
    grade: int = 1,
) -> Diagnosis:
    """Say where the relevant documents of a recording were lost, and what to do about it.

    `k` is how many results users see; a document is relevant with at least this `grade`. `dataset` brings
    judgments in place of the recorded ones. `deeper` is a recording of the same queries over the same documents
    with a greater fetch_k: it tells how far down the arms have what they did not fetch.

    Raises:
        InputError: `k` or `grade` is below 1, no document has that grade, or `deeper` is of other queries or
            documents, or no deeper.
        MissingDependencyError: ir_measures or scipy is not installed.
    """
    if k < 1 or grade < 1:
        raise InputError(f"k and grade are at least 1, not {min(k, grade)}")
    if dataset is not None:
        recording = recording.judged_by(dataset)
    judged = dataset or recording.dataset
    further = {} if deeper is None else _deeper(recording, deeper)
    fates = {
        query_id: fates_of(search, k=k, grade=grade, deeper=further.get(query_id))
        for query_id, search in recording.searches.items()
    }
    if not any(fates.values()):
        raise InputError(f"no document of {judged.label} has the grade {grade} or more")
    examination = examine(recording, fates, k=k, grade=grade, deeper=deeper is not None)
    traces = [search.trace for search in recording.searches.values()]
    warnings = list(dict.fromkeys([*recording.warnings, *judged.warnings()]))
    if 1 < len(traces) < _FEW:
        warnings.append(f"{len(traces)} queries only: few differences can be shown with so few")
    return Diagnosis(
        name=recording.name,
        dataset=judged.label,
        k=k,
        grade=grade,
        queries=judged.queries,
        kinds=recording.kinds,
        fetch_k=max(trace.fetch_k for trace in traces),
        rerank_k=max(trace.rerank_k for trace in traces),
        fates=fates,
        examination=examination,
        findings=tuple(find(recording, fates, examination, k=k, deeper=deeper)),
        odd=_unusual_queries(recording),
        warnings=tuple(warnings),
        deeper=None if deeper is None else max(s.trace.fetch_k for s in further.values()),
        settings=recording.header.settings,
    )


def _deeper(recording: Recording, deeper: Recording) -> dict[str, RecordedSearch]:
    """The deeper recording's searches for these queries.

    Raises:
        InputError: it cannot be compared with the recording.
    """
    mine, others = recording.header.documents.get("digest"), deeper.header.documents.get("digest")
    if mine != others:
        raise InputError(f"recording {deeper.name!r} is of other documents than {recording.name!r}")
    found = {}
    for query_id, search in recording.searches.items():
        other = deeper.searches.get(query_id)
        if other is None or other.trace.query != search.trace.query:
            raise InputError(f"recording {deeper.name!r} has no search for query {query_id!r} as it is asked here")
        if other.trace.fetch_k <= search.trace.fetch_k:
            raise InputError(
                f"recording {deeper.name!r} fetched {other.trace.fetch_k} an arm, which is no deeper than the "
                f"{search.trace.fetch_k} of {recording.name!r}"
            )
        found[query_id] = other
    arms = [name for name, kind in recording.kinds.items() if kind == "retrieve"]
    if not set(arms) & set(deeper.kinds):
        raise InputError(f"recording {deeper.name!r} has none of the arms {', '.join(arms)}")
    return found


def _unusual_queries(recording: Recording) -> dict[str, str]:
    """What is unusual about queries, of those about which something is."""
    first: dict[str, str] = {}
    odd = {}
    for query_id, search in recording.searches.items():
        text = " ".join(search.trace.query.lower().split())
        words = re.findall(r"\w+", text)
        said = []
        if not words:
            said.append("no word in it")
        elif len(words) == 1:
            said.append("one word")
        if text in first:
            said.append(f"the same text as query {first[text]!r}")
        first.setdefault(text, query_id)
        for stage in search.trace.stages:
            if stage.kind == "retrieve" and stage.error is None and not stage.ids:
                said.append(f"{stage.name} finds nothing")
            if any(stage.details.get(name) for name in ("query_tokens_cut", "query_truncated")):
                said.append(f"{stage.name} does not read it to the end")
        if said:
            odd[query_id] = "; ".join(said)
    return odd
