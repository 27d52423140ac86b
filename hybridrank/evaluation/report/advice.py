"""The wording of a diagnosis's findings: what was measured, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch

from hybridrank.evaluation.diagnosis.examining import Evidence
from hybridrank.evaluation.diagnosis.findings import (
    Action,
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
)
from hybridrank.evaluation.metrics.statistics import Interval
from hybridrank.evaluation.report.sections import counted, p_value

__all__ = ["Advice", "describe"]


@dataclass(frozen=True)
class Advice:
    """A finding in words: what was measured, what to do ("" for nothing), and the pages or commands to use."""

    says: str
    do: str = ""
    see: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.says, self.do and f"→ {self.do}", self.see and f"({self.see})")))


def describe(finding: Finding) -> Advice:
    """Word a finding.

    >>> print(describe(NotHeld(documents=2, example="d7", queries=("q1",))))
    2 relevant documents are not in the collection, such as 'd7', for 1 query.
    """
    remedies = finding.remedies
    return Advice(
        _says(finding),
        _first(" ".join(_do(finding, remedy) for remedy in remedies)),
        next((remedy.see for remedy in reversed(remedies) if remedy.see), ""),
    )


@singledispatch
def _says(finding: Finding) -> str:
    raise TypeError(f"no words for {type(finding).__name__}")


@_says.register
def _(finding: Outage) -> str:
    sound = finding.searches - finding.degraded
    return (
        f"{counted(finding.degraded, 'search was', 'searches were')} degraded out of {finding.searches:,}, such "
        f"as that for {finding.queries[0]!r} ({finding.stage}: {finding.reason}). An outage says nothing about "
        f"quality: degraded searches are left out, and everything below is about the other {sound:,}."
    )


@_says.register
def _(finding: NotHeld) -> str:
    return (
        f"{counted(finding.documents, 'relevant document is', 'relevant documents are')} not in the collection, "
        f"such as {finding.example!r}, for {counted(len(finding.queries), 'query', 'queries')}."
    )


@_says.register
def _(finding: Losses) -> str:
    recall = (
        f"{finding.recall_measure} is {finding.recall:.3f} after the fusion ({_between(finding.recall_interval)})"
    )
    places = (
        f"Of the places among the first {finding.k} that relevant documents could take, {finding.taken:.1%} "
        f"are taken; {finding.ranking:.1%} are lost in ranking, to documents that were fetched, and "
        f"{finding.retrieval:.1%} in retrieval (difference {_tested(finding.evidence[0])})."
    )
    if finding.little:
        return f"{places} There is little to gain."
    if finding.about == "ranking":
        ranked = (
            "what was fetched" if finding.rerank_k is None else f"the reranker's {finding.rerank_k} candidates"
        )
        return (
            f"Work on the ranking first: it loses more than retrieval. {places} {_first(recall)}. The best order "
            f"of {ranked} would have {finding.measure} {finding.best:.3f}; the result has {finding.final:.3f}. "
            f"The largest loss in ranking: {finding.most_lost}, {finding.most_lost_share:.1%}."
        )
    if finding.about == "retrieval":
        by_arm = ", ".join(f"{recall:.3f} for {arm}" for arm, recall in finding.recall_by_arm.items())
        return f"Fix retrieval first: {recall}. {places} By arm, {finding.recall_measure} is {by_arm}."
    return f"{places} The difference between the two is not significant. {_first(recall)}."


@_says.register
def _(finding: Missed) -> str:
    missed = (
        f"{counted(finding.documents, 'relevant document was', 'relevant documents were')} fetched by no arm at "
        f"fetch_k {finding.fetch_k}."
    )
    exhausted = ""
    if finding.exhausted:
        exhausted = (
            f" For {finding.exhausted:,} of them {', '.join(finding.exhausted_arms)} returned everything that "
            "matches: no greater depth finds them."
        )
    if (deeper := finding.deeper) is None:
        return (
            f"{missed}{exhausted} This recording does not show how far down the others are: record again with a "
            "greater fetch_k, and pass that recording with --deeper."
        )
    within = ", ".join(f"{count} within {limit}" for limit, count in deeper.within.items())
    by_arm = ", ".join(f"{count} in {arm}" for arm, count in deeper.by_arm.items())
    return (
        f"{missed} The deeper recording has {within} ({by_arm}); {deeper.not_found} are in no arm.{exhausted} "
        f"Recall would gain {_tested(finding.evidence[0])}."
    )


@_says.register
def _(finding: NothingFound) -> str:
    text = " ".join(finding.example.split())
    return (
        f"For {counted(len(finding.queries), 'query', 'queries')} of {finding.of:,} "
        f"({_between(finding.interval, percent=True)}) no arm fetched anything relevant, such as "
        f"{text if len(text) <= 80 else text[:79] + '…'!r}."
    )


@_says.register
def _(finding: FusionEffect) -> str:
    against, *gain = finding.evidence
    arm = "the better arm" if finding.arms == 2 else "the best arm"
    compared = (
        f"{finding.measure} of the fusion is {finding.value:.3f}, that of {finding.arm}, {arm}, "
        f"{finding.arm_value:.3f}: {_tested(against)}."
    )
    if gain and finding.weights is not None:
        weights = ", ".join(f"{name} {weight:g}" for name, weight in finding.weights.items())
        compared += (
            f" Of the weights that were tried, {weights} are best here ({finding.weights_value:.3f}); on held-out "
            f"queries, choosing the weights gained {_tested(gain[0])}."
        )
    if against.shown and against.mean < 0:
        unproven = "" if finding.about == "weights" else " No weights are shown to fix it."
        return f"The fusion is worse than {finding.arm} alone. {compared}{unproven}"
    if finding.about == "weights":
        return compared
    if against.shown:
        return f"The fusion helps. {compared}"
    return f"No difference was shown between the fusion and its {arm.removeprefix('the ')}. {compared}"


@_says.register
def _(finding: RerankerEffect) -> str:
    said = {
        "worse": "The reranker hurts.",
        "better": "The reranker helps.",
        "no difference shown": "The reranker is not shown to change the order for the better or the worse.",
    }[finding.verdict]
    parts = [
        f"{said} {finding.measure} is {finding.after:.3f} after the reranker{' and the blend' * finding.blended}, "
        f"which saw up to {finding.rerank_k} candidates, and {finding.before:.3f} before: "
        f"{_tested(finding.evidence[0])}."
    ]
    if finding.depth_gain is not None:
        parts.append(
            f"Of smaller depths, rerank_k {finding.depth} is best here ({finding.depth_value:.3f}); on held-out "
            f"queries, choosing the depth gained {_tested(finding.depth_gain)}."
        )
    if finding.blend_gain is not None:
        parts.append(
            f"Of fixed weights of the fused order (blend), {finding.blend:g} is best here "
            f"({finding.blend_value:.3f}); on held-out queries, choosing the weight gained "
            f"{_tested(finding.blend_gain)}."
        )
    if finding.verdict == "no difference shown":
        parts.append(f"It takes {finding.seconds:.2f} s a query.")
    return " ".join(parts)


@_says.register
def _(finding: RerankDepth) -> str:
    half = finding.evidence[0]
    return (
        f"The deeper the reranker reads, the better: {half.what} is {_tested(half)}. "
        f"{counted(finding.documents, 'relevant document was', 'relevant documents were')} fetched and not shown "
        f"to it ({finding.places:.1%} of the places, {_between(finding.interval, percent=True)}); {finding.near} "
        f"of them are up to rank {2 * finding.rerank_k} after the fusion."
    )


@_says.register
def _(finding: StageEffect) -> str:
    evidence = finding.evidence[0]
    return f"{finding.stage} makes the order {finding.verdict}: {evidence.what} is {_tested(evidence)}."


@_says.register
def _(finding: Truncated) -> str:
    return (
        f"Of {counted(finding.lost, 'relevant document', 'relevant documents')} that the reranker lost, it did "
        f"not read {finding.cut} to the end ({finding.surely} certainly; of the others only the number of cut "
        f"documents is known, and these are the longest): {finding.share:.1%} of the relevant documents "
        f"({_between(finding.interval, percent=True)})."
    )


@_says.register
def _(finding: IdleArm) -> str:
    return (
        f"{finding.arm} adds almost nothing to what is fetched: {finding.share:.2%} of the relevant documents "
        f"are found by it alone ({_between(finding.interval, percent=True)})."
    )


_ACTIONS: Mapping[Action, str] = {
    "record again": "Fix the cause and record again: the same command repeats the degraded searches.",
    "index documents": "Index them, or correct the judgments: no setting finds what is not there.",
    "improve retrieval": "A reranker cannot bring back what was not fetched: fetch deeper, try another embedder "
    "or another text analysis, add an arm, or split long documents.",
    "fix the fusion": "Fix the fusion: most of what is lost was ranked high enough by an arm.",
    "add a reranker": "Add a reranker, and compare: a model reads query and document together.",
    "replace the reranker": "Use a model of your domain, fine-tune one on your own queries, or rerank nothing "
    '(reranker "none"); compare them.',
    "improve the reranker": "Fine-tune the reranker on your own judged queries (hybridrank train reranker), or "
    "try a stronger one.",
    "fetch deeper": "Fetch deeper, and let the reranker see more candidates where these rank low: compare both "
    "with this.",
    "read the queries": "Read them: they may use other words than the documents, or a language or codes that the "
    "models do not know; documents may be missing, or judgments wrong.",
    "split documents": "Split long documents, or let the reranker read in windows: the answer may be at the end.",
}


def _do(finding: Finding, remedy: Remedy) -> str:
    settings = remedy.settings
    match remedy.action, finding:
        case "set weights", _:
            weights = ", ".join(f'"{arm}": {weight:g}' for arm, weight in settings["weights"].items())
            return f"Use these weights, {{{weights}}}, and record again: only a search shows how it is reranked."
        case "tune the fusion", FusionEffect():
            return f"Let hybridrank tune try {finding.arm} alone and other fusions, or judge more queries."
        case "set options", _:
            options = " or ".join(f"{name} to {value:g}" for name, value in settings.items())
            return f"Set {options}{'; each was tried alone' if len(settings) > 1 else ''}."
        case "rerank deeper", _:
            return f"Try rerank_k {settings['rerank_k']} where the time allows it, and compare."
        case "remove the stage", StageEffect():
            return f"Remove {finding.stage}, or weaken it, unless it serves something other than relevance."
        case "compare without the arm", _:
            return f"Compare with a pipeline without {settings['arm']}: it may cost time alone, or help the order."
    return _ACTIONS[remedy.action]


def _tested(evidence: Evidence) -> str:
    """Word evidence: ``+0.031 (+0.010 to +0.050; p < 0.001)``."""
    if evidence.interval is None or evidence.adjusted_p is None:
        return f"{evidence.mean:+.3f}, for one query"
    p = p_value(evidence.adjusted_p)
    between = f"{evidence.interval.low:+.3f} to {evidence.interval.high:+.3f}"
    return f"{evidence.mean:+.3f} ({between}; p {p if p.startswith('<') else f'= {p}'})"


def _between(interval: Interval | None, *, percent: bool = False) -> str:
    if interval is None:
        return "one query"
    form = ".1%" if percent else ".3f"
    return f"{interval.low:{form}} to {interval.high:{form}}"


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]
