"""The rules of a diagnosis: from figures to findings. They word nothing; `evaluation.report.advice` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hybridrank.evaluation.diagnosis.examining import Evidence, Examination, mean
from hybridrank.evaluation.diagnosis.fates import IN_RANKING, IN_RETRIEVAL, Fate
from hybridrank.evaluation.diagnosis.findings import (
    Action,
    Depth,
    Finding,
    FusionEffect,
    IdleArm,
    Losses,
    Missed,
    NotHeld,
    NothingFound,
    Outage,
    Remedy,
    RerankDepth,
    RerankerEffect,
    StageEffect,
    Truncated,
    Verdict,
)
from hybridrank.evaluation.metrics.statistics import Interval, mean_interval
from hybridrank.evaluation.recordings.recording import Recording

__all__ = ["find"]

_LITTLE = 0.05
"""Of the places: smaller losses lead to no finding."""

_NEXT_TO_NOTHING = 0.01
"""Of the relevant documents, at the interval's upper end: an arm that alone finds less could be left out."""

_ENOUGH = 20
"""Queries, below which no share near 0 is reported."""


def find(
    recording: Recording,
    fates: Mapping[str, Sequence[Fate]],
    examination: Examination | None,
    *,
    k: int,
    deeper: Recording | None = None,
) -> list[Finding]:
    """Apply every rule. Findings that are shown come first, and problems of the data before all others."""
    found = list(_in_the_data(recording, fates))
    if examination is not None:
        found += _Rules(recording, fates, examination, k, deeper).apply()
    return sorted(found, key=lambda finding: not finding.shown)


def _in_the_data(recording: Recording, fates: Mapping[str, Sequence[Fate]]) -> Iterator[Finding]:
    if degraded := recording.degraded:
        stage, reason = next(iter(next(iter(degraded.values())).items()))
        yield Outage(
            degraded=len(degraded),
            searches=len(recording),
            stage=stage,
            reason=reason,
            queries=tuple(degraded),
            remedies=(Remedy("record again", see="docs/evaluation.md#recordings"),),
        )
    unheld = [fate for of in fates.values() for fate in of if fate.kind == "not held"]
    if unheld:
        yield NotHeld(
            documents=len(unheld),
            example=unheld[0].doc_id,
            queries=tuple(dict.fromkeys(fate.query_id for fate in unheld)),
            remedies=(Remedy("index documents", see="hybridrank index"),),
        )


class _Rules:
    """The rules over one examination."""

    def __init__(
        self,
        recording: Recording,
        fates: Mapping[str, Sequence[Fate]],
        examination: Examination,
        k: int,
        deeper: Recording | None,
    ) -> None:
        self.recording, self.k, self.deeper = recording, k, deeper
        self.seen, self.evidence = examination, examination.evidence
        self.fates = {query_id: fates[query_id] for query_id in examination.queries}
        traces = [recording.searches[query_id].trace for query_id in examination.queries]
        self.fetch_k = max(trace.fetch_k for trace in traces)
        self.rerank_k = max(trace.rerank_k for trace in traces)

    def apply(self) -> list[Finding]:
        """The findings of every rule, in the order of their importance."""
        rules = (
            self._losses,
            self._missed,
            self._nothing_found,
            self._fusion,
            self._reranker,
            self._rerank_depth,
            self._later_stages,
            self._truncated,
            self._idle_arms,
        )
        return [finding for rule in rules for finding in rule()]

    def _losses(self) -> Iterator[Finding]:
        """Whether more is lost in ranking or in retrieval."""
        seen, evidence = self.seen, self.evidence["ranking"]
        retrieval, ranking = (mean(seen.lost_in(kinds)) for kinds in (IN_RETRIEVAL, IN_RANKING))
        recall = seen.recall[seen.later[0]]
        little = retrieval + ranking < _LITTLE
        shown = evidence.shown and not little
        most_lost = self._most_lost()
        remedies: tuple[Remedy, ...] = ()
        if shown and evidence.mean > 0:
            see = "docs/rerankers.md" if seen.reranker is None else "docs/training.md"
            remedies = (Remedy(self._better_order(most_lost), see=see),)
        elif shown:
            remedies = (Remedy("improve retrieval", see="docs/writing-a-plugin.md"),)
        yield Losses(
            k=self.k,
            taken=mean(seen.found),
            ranking=ranking,
            retrieval=retrieval,
            recall_measure=seen.recall_measure,
            recall=mean(recall),
            recall_interval=_interval(recall),
            recall_by_arm={arm: mean(seen.recall[arm]) for arm in seen.arms},
            measure=seen.measure,
            best=mean(seen.best),
            final=mean(seen.values[seen.later[-1]]),
            rerank_k=self.rerank_k if seen.reranker else None,
            most_lost=most_lost,
            most_lost_share=mean(seen.lost_in((most_lost,))),
            little=little,
            shown=shown,
            evidence=(evidence,),
            remedies=remedies,
        )

    def _most_lost(self) -> str:
        """The label of the fate in ranking to which most is lost; "" where there is none."""
        labels = {f.label for of in self.fates.values() for f in of if f.kind in IN_RANKING}
        return max(sorted(labels), key=lambda label: mean(self.seen.lost_in((label,))), default="")

    def _better_order(self, most_lost: str) -> Action:
        seen = self.seen
        if most_lost == f"demoted by {seen.later[0]}":
            return "fix the fusion"
        if seen.reranker is None:
            return "add a reranker"
        return "replace the reranker" if _worse(self.evidence[seen.reranker]) else "improve the reranker"

    def _missed(self) -> Iterator[Finding]:
        """Whether a greater fetch_k finds what was missed."""
        lost = [fate for of in self.fates.values() for fate in of if fate.kind in ("missed", "beyond fetch_k")]
        if not lost or mean(self.seen.lost_in(IN_RETRIEVAL)) < _LITTLE:
            return
        exhausted = [fate for fate in lost if fate.exhausted]
        evidence = None if self.deeper is None else self.evidence["fetch_k"]
        shown = evidence is not None and evidence.shown
        yield Missed(
            documents=len(lost),
            fetch_k=self.fetch_k,
            exhausted=len(exhausted),
            exhausted_arms=tuple(dict.fromkeys(arm for fate in exhausted for arm in fate.exhausted)),
            deeper=None if self.deeper is None else self._depth(lost, self.deeper),
            shown=shown,
            evidence=() if evidence is None else (evidence,),
            remedies=(Remedy("fetch deeper", see="docs/evaluation.md#comparing"),) if shown else (),
        )

    def _depth(self, lost: Sequence[Fate], deeper: Recording) -> Depth:
        depth = max(search.trace.fetch_k for search in deeper.searches.values())
        found = [fate for fate in lost if fate.deeper]
        limits = [step * self.fetch_k for step in (2, 3, 5, 10) if step * self.fetch_k < depth]
        return Depth(
            within={limit: sum(min(fate.deeper.values()) <= limit for fate in found) for limit in limits}
            | {depth: len(found)},
            by_arm={arm: sum(arm in fate.deeper for fate in found) for arm in self.seen.arms},
            not_found=len(lost) - len(found),
        )

    def _nothing_found(self) -> Iterator[Finding]:
        """Queries for which no arm found anything relevant."""
        none = {q: float(all(f.kind in IN_RETRIEVAL for f in of)) for q, of in self.fates.items()}
        queries = tuple(query_id for query_id, missed in none.items() if missed)
        if queries:
            yield NothingFound(
                of=len(none),
                interval=_interval(none),
                example=self.recording.searches[queries[0]].trace.query,
                queries=queries,
                remedies=(Remedy("read the queries", see="docs/doctor.md#queries"),),
            )

    def _fusion(self) -> Iterator[Finding]:
        """Whether the fusion is better than its best arm, and which weights are better."""
        seen = self.seen
        if len(seen.arms) < 2:
            return
        arm, fusion = seen.better_arm, seen.later[0]
        against, gain = self.evidence[f"fusion, {arm}"], self.evidence.get("weights")
        weights: Mapping[str, float] | None = None if gain is None else seen.settings["weights"]
        remedies: tuple[Remedy, ...] = ()
        if _better(gain):
            remedies = (Remedy("set weights", {"weights": dict(weights or {})}, "README.md#configuration"),)
        elif _worse(against):
            remedies = (Remedy("tune the fusion", see="docs/tuning.md"),)
        yield FusionEffect(
            measure=seen.measure,
            value=mean(seen.values[fusion]),
            arm=arm,
            arm_value=mean(seen.values[arm]),
            arms=len(seen.arms),
            weights=weights,
            weights_value=None if gain is None else seen.settings["weights here"],
            shown=against.shown or bool(remedies),
            evidence=(against,) if gain is None else (against, gain),
            remedies=remedies,
        )

    def _reranker(self) -> Iterator[Finding]:
        """Whether the reranker improves the order, and which depth and blend are better."""
        seen = self.seen
        if seen.reranker is None:
            return
        evidence, depth = self.evidence[seen.reranker], self.evidence.get("depth")
        blend = self.evidence.get("weight of the blend")
        options = {"rerank_k": seen.settings["depth"]} if _better(depth) else {}
        if _better(blend):
            options["blend"] = seen.settings["weight of the blend"]
        remedies = (Remedy("set options", options, "docs/blending.md"),) if options else ()
        if _worse(evidence):
            remedies = (*remedies, Remedy("replace the reranker", see="docs/rerankers.md"))
        yield RerankerEffect(
            verdict=_verdict(evidence),
            measure=seen.measure,
            after=mean(seen.values[seen.reranked]),
            before=mean(seen.values[seen.later[0]]),
            blended=seen.reranked != seen.reranker,
            rerank_k=self.rerank_k,
            seconds=self._seconds(),
            depth=None if depth is None else seen.settings["depth"],
            depth_value=None if depth is None else seen.settings["depth here"],
            depth_gain=depth,
            blend=None if blend is None else seen.settings["weight of the blend"],
            blend_value=None if blend is None else seen.settings["weight of the blend here"],
            blend_gain=blend,
            shown=evidence.shown or bool(remedies),
            evidence=tuple(filter(None, (evidence, depth, blend))),
            remedies=remedies,
        )

    def _rerank_depth(self) -> Iterator[Finding]:
        """Whether the reranker should see more."""
        seen, half = self.seen, self.evidence.get("half")
        hidden = [fate for of in self.fates.values() for fate in of if fate.kind == "not reranked"]
        if half is None or not hidden or not _better(half):
            return
        places = seen.lost_in(("not reranked",))
        yield RerankDepth(
            documents=len(hidden),
            rerank_k=self.rerank_k,
            near=sum(fate.ranks[seen.later[0]] <= 2 * self.rerank_k for fate in hidden),
            places=mean(places),
            interval=_interval(places),
            evidence=(half,),
            remedies=(Remedy("rerank deeper", {"rerank_k": 2 * self.rerank_k}, "docs/deadlines.md"),),
        )

    def _later_stages(self) -> Iterator[Finding]:
        """Stages after the reranker that improve or worsen the order."""
        for stage in self.seen.later[1:]:
            evidence = self.evidence[stage]
            if stage == self.seen.reranker or not evidence.shown:
                continue
            yield StageEffect(
                stage=stage,
                verdict=_verdict(evidence),
                evidence=(evidence,),
                remedies=(Remedy("remove the stage", see="docs/adjusting.md"),) if _worse(evidence) else (),
            )

    def _truncated(self) -> Iterator[Finding]:
        """Relevant documents that the reranker lost and did not read to the end."""
        seen = self.seen
        lost = [
            fate
            for of in self.fates.values()
            for fate in of
            if fate.kind in ("demoted", "left low") and fate.stage == seen.reranker
        ]
        cut = [fate for fate in lost if fate.truncated in ("surely", "perhaps")]
        if not cut:
            return
        shares = {q: sum(fate in cut for fate in of) / len(of) if of else 0.0 for q, of in self.fates.items()}
        interval = _interval(shares)
        shown = interval is not None and interval.low > _NEXT_TO_NOTHING
        yield Truncated(
            lost=len(lost),
            cut=len(cut),
            surely=sum(fate.truncated == "surely" for fate in cut),
            share=mean(shares),
            interval=interval,
            shown=shown,
            queries=tuple(dict.fromkeys(fate.query_id for fate in cut)),
            remedies=(Remedy("split documents", see="README.md#configuration"),) if shown else (),
        )

    def _idle_arms(self) -> Iterator[Finding]:
        """Arms that contribute almost nothing of their own."""
        if len(self.seen.arms) < 2 or len(self.fates) < _ENOUGH:
            return
        for arm in self.seen.arms:
            if arm == self.seen.better_arm:
                continue
            alone = {
                q: sum([a for a in self.seen.arms if a in fate.ranks] == [arm] for fate in of) / len(of)
                for q, of in self.fates.items()
            }
            interval = _interval(alone)
            if interval is not None and interval.high < _NEXT_TO_NOTHING:
                yield IdleArm(
                    arm=arm,
                    share=mean(alone),
                    interval=interval,
                    remedies=(Remedy("compare without the arm", {"arm": arm}, "docs/evaluation.md#comparing"),),
                )

    def _seconds(self) -> float:
        spent = [
            stage.seconds / stage.batch
            for query_id in self.seen.queries
            for stage in self.recording.searches[query_id].trace.stages
            if stage.kind == "rerank"
        ]
        return sum(spent) / len(self.seen.queries)


def _interval(values: Mapping[str, float]) -> Interval | None:
    return mean_interval(list(values.values()))


def _worse(evidence: Evidence) -> bool:
    return evidence.shown and evidence.mean < 0


def _better(evidence: Evidence | None) -> bool:
    return evidence is not None and evidence.shown and evidence.mean > 0


def _verdict(evidence: Evidence) -> Verdict:
    if not evidence.shown:
        return "no difference shown"
    return "worse" if evidence.mean < 0 else "better"
