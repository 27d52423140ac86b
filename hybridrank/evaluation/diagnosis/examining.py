"""The figures behind findings: differences between stages and settings, tested with one correction for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hybridrank.evaluation.diagnosis.fates import IN_RANKING, IN_RETRIEVAL, Fate
from hybridrank.evaluation.diagnosis.what_if import (
    blend_with,
    candidate_weights,
    fixed_weight,
    fuse_with,
    held_out_gains,
    reads_each_alone,
    rerank_to,
)
from hybridrank.evaluation.metrics.measures import Evaluator
from hybridrank.evaluation.metrics.statistics import Interval, holm, mean_interval, paired_test
from hybridrank.evaluation.recordings.recording import Recording
from hybridrank.result.trace import StageKind

__all__ = ["LEVEL", "Evidence", "Examination", "examine", "lost_places"]

LEVEL = 0.05
"""What the p-value must be below, after Holm's correction over all tests of a diagnosis."""

_SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
_DEPTHS = (5, 10, 20, 50, 100, 200)


@dataclass(frozen=True)
class Evidence:
    """A mean over the queries, above or below 0, and whether that may be chance.

    `p` is of the paired randomization test, `adjusted_p` that by Holm's method over all of a diagnosis. None where
    there are fewer than two queries.
    """

    what: str
    mean: float
    interval: Interval | None
    p: float | None
    adjusted_p: float | None = None

    @property
    def shown(self) -> bool:
        """Whether it is more than chance would do."""
        return self.adjusted_p is not None and self.adjusted_p < LEVEL

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "what": self.what,
            "mean": self.mean,
            "interval": None if self.interval is None else list(self.interval),
            "p": self.p,
            "adjusted_p": self.adjusted_p,
        }


@dataclass(frozen=True)
class Examination:
    """Of the sound searches of a recording: measures by stage and query, what was lost, and what was tested.

    `values` are by stage, and then by query, of `measure`; `lost` by a fate's label, then by query: the share of
    the places among the first k that relevant documents could take. `best` is the best possible order of what
    the reranker saw, or of all that was fused. `settings` are the settings that did best on all queries, by what
    was tried.
    """

    queries: tuple[str, ...]
    kinds: Mapping[str, StageKind]
    measure: str
    values: Mapping[str, Mapping[str, float]]
    recall: Mapping[str, Mapping[str, float]]
    recall_measure: str
    best: Mapping[str, float]
    found: Mapping[str, float]
    lost: Mapping[str, Mapping[str, float]]
    judged: float
    evidence: Mapping[str, Evidence]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms, in the pipeline's order."""
        return tuple(name for name, kind in self.kinds.items() if kind == "retrieve")

    @property
    def later(self) -> tuple[str, ...]:
        """The stages after the arms."""
        return tuple(name for name, kind in self.kinds.items() if kind != "retrieve")

    @property
    def reranker(self) -> str | None:
        """The name of the reranker's stage."""
        return next((name for name, kind in self.kinds.items() if kind == "rerank"), None)

    @property
    def reranked(self) -> str:
        """The stage after which the reranker's word is in the order: its own, or the blend that follows it."""
        return next((name for name, kind in self.kinds.items() if kind == "blend"), self.reranker or self.later[0])

    @property
    def better_arm(self) -> str:
        """The arm that measures best on these queries."""
        return max(self.arms, key=lambda arm: mean(self.values[arm]))

    def lost_in(self, kinds: Sequence[str]) -> dict[str, float]:
        """By query, the places lost to fates of these kinds."""
        chosen = [of for label, of in self.lost.items() if label in kinds or _kind(label) in kinds]
        return {query_id: sum(of.get(query_id, 0.0) for of in chosen) for query_id in self.queries}


def mean(values: Mapping[str, float]) -> float:
    """The mean over queries; 0 of none."""
    return sum(values.values()) / len(values) if values else 0.0


def lost_places(fates: Sequence[Fate], *, k: int) -> tuple[float, dict[str, float]]:
    """Of one query: the share of the places that relevant documents take, and by label the share that is lost.

    There are as many places as relevant documents, and not more than `k`. Lost in retrieval are those that the
    best order of what was fetched could not have filled, and the others in ranking; both are lost in equal parts
    to the documents that were lost so. All shares sum to 1, or to 0 where nothing is relevant.
    """
    places = min(len(fates), k)
    if not places:
        return 0.0, {}
    found = sum(fate.kind == "found" for fate in fates)
    unfetched = [fate.label for fate in fates if fate.kind in IN_RETRIEVAL]
    others = [fate.label for fate in fates if fate.kind not in ("found", "no room", *IN_RETRIEVAL)]
    in_retrieval = max(0, places - (len(fates) - len(unfetched)))
    shares: dict[str, float] = {}
    for labels, lost in ((unfetched, in_retrieval), (others, places - found - in_retrieval)):
        for label in labels:
            shares[label] = shares.get(label, 0.0) + lost / places / len(labels)
    return found / places, shares


def examine(
    recording: Recording, fates: Mapping[str, Sequence[Fate]], *, k: int, grade: int, deeper: bool
) -> Examination | None:
    """Examine the searches that were not degraded and have something relevant; None where there are none.

    Raises:
        MissingDependencyError: ir_measures or scipy is not installed.
    """
    sound = {
        query_id: search
        for query_id, search in recording.searches.items()
        if fates[query_id] and not search.trace.degraded
    }
    if not sound:
        return None
    searches = list(sound.values())
    kinds = recording.kinds
    fetch_k = max(search.trace.fetch_k for search in searches)
    qrels = {
        query_id: {doc_id: given for doc_id, given in search.qrels.items() if doc_id not in search.ignored}
        for query_id, search in sound.items()
    }
    measure, judged = f"nDCG@{k}", f"Judged@{k}"
    recall = f"R(rel={grade})@{fetch_k}" if grade > 1 else f"R@{fetch_k}"
    evaluator = Evaluator(qrels, [measure, recall, judged])
    alone = Evaluator(qrels, [measure])
    measured = {
        stage: evaluator.per_query({q: order for q, order in orders.items() if q in sound})
        for stage, orders in replace(recording, searches=sound).rankings().items()
    }
    recall = evaluator.names[1]
    shares = {query_id: lost_places(fates[query_id], k=k) for query_id in sound}
    lost: dict[str, dict[str, float]] = {}
    for query_id, (_, by_label) in shares.items():
        for label, share in by_label.items():
            lost.setdefault(label, {})[query_id] = share
    examination = Examination(
        tuple(sound),
        kinds,
        measure,
        {stage: of[measure] for stage, of in measured.items()},
        {stage: of[recall] for stage, of in measured.items()},
        recall,
        alone.per_query(_ideal(sound))[measure],
        {query_id: found for query_id, (found, _) in shares.items()},
        lost,
        mean(measured[list(kinds)[-1]][judged]),
        {},
    )
    evidence, settings = _evidence(examination, searches, alone, recording.header.settings)
    if deeper:
        evidence["fetch_k"] = _test(
            "the share of relevant documents that only a greater fetch_k finds",
            {q: sum(f.kind == "beyond fetch_k" for f in fates[q]) / len(fates[q]) for q in sound},
        )
    return replace(examination, evidence=_correct(evidence), settings=settings)


def _evidence(
    found: Examination, searches: Sequence[Any], evaluator: Evaluator, config: Mapping[str, Any]
) -> tuple[dict[str, Evidence], dict[str, Any]]:
    """Everything that is tested, by name, and the settings that it is about."""
    values, measure, arms, (fusion, *later) = found.values, found.measure, found.arms, found.later
    retrieval, ranking = found.lost_in(IN_RETRIEVAL), found.lost_in(IN_RANKING)
    evidence = {
        "ranking": _test("places lost in ranking, less those lost in retrieval", _less(ranking, retrieval))
    }
    settings: dict[str, Any] = {}
    if len(arms) > 1:
        for arm in arms:
            evidence[f"fusion, {arm}"] = _test(
                f"{measure} of the fusion, less that of {arm}", _less(values[fusion], values[arm])
            )
    before = fusion
    for stage in later:
        after = found.reranked if stage == found.reranker else stage
        evidence[stage] = _test(
            f"{measure} after {after}, less that after {before}", _less(values[after], values[before])
        )
        before = stage
    weighed = [
        (weights, evaluator.per_query(fuse_with(searches, config, weights))[measure])
        for weights in candidate_weights(arms)
    ]
    _choose("weights", weighed, values[fusion], f"{measure} of the fusion", evidence, settings)
    if found.reranker is None:
        return evidence, settings
    reranked, what = values[found.reranked], f"{measure} after {found.reranked}"
    weight = fixed_weight(searches)
    blends = [(share, evaluator.per_query(blend_with(searches, share))[measure]) for share in _SHARES]
    _choose("weight of the blend", blends, reranked, what, evidence, settings)
    if weight is not None and reads_each_alone(config):
        most = max(search.trace.rerank_k for search in searches)
        depths = [
            (depth, evaluator.per_query(rerank_to(searches, depth, blend=weight))[measure])
            for depth in _DEPTHS
            if depth < most
        ]
        _choose("depth", depths, reranked, what, evidence, settings)
        half = [of for depth, of in depths if depth <= most // 2]
        if half:
            settings["half"] = max(depth for depth, _ in depths if depth <= most // 2)
            evidence["half"] = _test(
                f"{measure} at rerank_k {most}, less that at {settings['half']}",
                _less(reranked, half[-1]),
            )
    return evidence, settings


def _choose(
    name: str,
    tried: Sequence[tuple[Any, Mapping[str, float]]],
    current: Mapping[str, float],
    what: str,
    evidence: dict[str, Evidence],
    settings: dict[str, Any],
) -> None:
    """Choose among settings on some queries, and test on the others what that gains."""
    gains = held_out_gains({str(setting): of for setting, of in tried}, current)
    if gains is not None:
        setting, values = max(tried, key=lambda each: mean(each[1]))
        settings[name] = setting
        settings[f"{name} here"] = mean(values)
        evidence[name] = _test(f"{what}, gained on queries that the choice of {name} did not see", gains)


def _test(what: str, differences: Mapping[str, float]) -> Evidence:
    values = list(differences.values())
    p = paired_test(values, [0.0] * len(values))
    return Evidence(what, mean(differences), mean_interval(values), p)


def _correct(evidence: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """Raise the p-values by Holm's method."""
    tested = {name: each for name, each in evidence.items() if each.p is not None}
    raised = holm([each.p for each in tested.values() if each.p is not None])
    adjusted = dict(zip(tested, raised, strict=True))
    return {name: replace(each, adjusted_p=adjusted.get(name)) for name, each in evidence.items()}


def _ideal(sound: Mapping[str, Any]) -> dict[str, list[str]]:
    """The candidates of each query that were reranked, or else all that were fused, the best grades first."""
    orders = {}
    for query_id, search in sound.items():
        fused = next(stage for stage in search.trace.stages if stage.kind == "fuse")
        units = next((s.ids for s in search.trace.stages if s.kind == "rerank"), fused.ids)
        ids = dict.fromkeys(search.parents.get(unit, unit) for unit in units)
        kept = [doc_id for doc_id in ids if doc_id not in search.ignored]
        orders[query_id] = sorted(kept, key=lambda doc_id: -search.qrels.get(doc_id, 0))
    return orders


def _less(values: Mapping[str, float], others: Mapping[str, float]) -> dict[str, float]:
    return {query_id: value - others[query_id] for query_id, value in values.items()}


def _kind(label: str) -> str:
    return "demoted" if label.startswith("demoted by ") else label
