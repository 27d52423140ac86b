"""Findings of a diagnosis as data: what was measured, the tests behind it, and the remedies. Reports word them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

from hybridrank.evaluation.diagnosis.examining import Evidence
from hybridrank.evaluation.metrics.statistics import Interval

__all__ = [
    "Action",
    "Depth",
    "Finding",
    "FusionEffect",
    "IdleArm",
    "Losses",
    "Missed",
    "NotHeld",
    "NothingFound",
    "Outage",
    "Remedy",
    "RerankDepth",
    "RerankerEffect",
    "StageEffect",
    "Truncated",
    "Verdict",
]

Action: TypeAlias = Literal[
    "record again",
    "index documents",
    "improve retrieval",
    "fix the fusion",
    "add a reranker",
    "replace the reranker",
    "improve the reranker",
    "fetch deeper",
    "read the queries",
    "set weights",
    "tune the fusion",
    "set options",
    "rerank deeper",
    "remove the stage",
    "split documents",
    "compare without the arm",
]
"""What to do about a finding."""

Verdict: TypeAlias = Literal["better", "worse", "no difference shown"]
"""What a test of a difference says."""


@dataclass(frozen=True)
class Remedy:
    """Something to do: the `action`, the settings that it takes, and the page or the command to use."""

    action: Action
    settings: Mapping[str, Any] = field(default_factory=dict)
    see: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"action": self.action, "settings": dict(self.settings), "see": self.see}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that was measured, and what to do about it. Subclasses hold the numbers.

    `shown` is True where the evidence is significant, or where the finding is a plain count; a finding that is not
    shown has no remedy. `queries` are the ids of the queries concerned, where the finding concerns some of them.
    """

    kind: ClassVar[str]

    shown: bool = True
    evidence: tuple[Evidence, ...] = ()
    queries: tuple[str, ...] = ()
    remedies: tuple[Remedy, ...] = ()

    @property
    def about(self) -> str:
        """What the finding is about; `kind`, unless the numbers decide."""
        return self.kind

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: the numbers are under ``numbers``."""
        common = {each.name for each in fields(Finding)}
        numbers = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in common}
        return {
            "about": self.about,
            "shown": self.shown,
            "numbers": {name: list(v) if isinstance(v, tuple) else v for name, v in numbers.items()},
            "evidence": [each.to_dict() for each in self.evidence],
            "queries": list(self.queries),
            "remedies": [each.to_dict() for each in self.remedies],
        }


@dataclass(frozen=True, kw_only=True)
class Outage(Finding):
    """Degraded searches: how many of all, and the `stage` that failed in the first one, and why."""

    kind = "outage"

    degraded: int
    searches: int
    stage: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class NotHeld(Finding):
    """Relevant documents that the collection does not hold: how many, and the id of one."""

    kind = "not held"

    documents: int
    example: str


@dataclass(frozen=True, kw_only=True)
class Losses(Finding):
    """Where relevant documents are lost, in shares of the places that they could take among the first `k`.

    `recall` is `recall_measure` after the fusion; `best` is `measure` of the best order of what the reranker saw
    (its `rerank_k` candidates), or without a reranker of all that was fetched, and `final` that of the result.
    `most_lost` is the fate in ranking that takes most, and `most_lost_share` its share.
    """

    kind = "losses"

    k: int
    taken: float
    ranking: float
    retrieval: float
    recall_measure: str
    recall: float
    recall_interval: Interval | None
    recall_by_arm: Mapping[str, float]
    measure: str
    best: float
    final: float
    rerank_k: int | None
    most_lost: str
    most_lost_share: float
    little: bool

    @property
    def about(self) -> str:
        """``"ranking"`` or ``"retrieval"``, whichever loses more; ``"losses"`` where neither is shown to."""
        if not self.shown:
            return self.kind
        return "ranking" if self.evidence[0].mean > 0 else "retrieval"


@dataclass(frozen=True)
class Depth:
    """What a deeper recording shows: how many of the missed documents it found down to each depth, and by arm."""

    within: Mapping[int, int]
    by_arm: Mapping[str, int]
    not_found: int


@dataclass(frozen=True, kw_only=True)
class Missed(Finding):
    """Relevant documents that no arm fetched.

    `exhausted` counts those for which `exhausted_arms` returned all that they have, so that no depth helps.
    `deeper` is None without a deeper recording.
    """

    kind = "fetch_k"

    documents: int
    fetch_k: int
    exhausted: int
    exhausted_arms: tuple[str, ...]
    deeper: Depth | None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        found = super().to_dict()
        if (deeper := self.deeper) is not None:
            found["numbers"]["deeper"] = {**vars(deeper), "within": {str(k): n for k, n in deeper.within.items()}}
        return found


@dataclass(frozen=True, kw_only=True)
class NothingFound(Finding):
    """Queries for which no arm fetched anything relevant: `of` how many, and the text of the first."""

    kind = "nothing found"

    of: int
    interval: Interval | None
    example: str


@dataclass(frozen=True, kw_only=True)
class FusionEffect(Finding):
    """The fusion compared with its best arm, and with other weights where those were tried.

    `weights` are those that do best on all queries, and `weights_value` is `measure` with them there. The first
    evidence compares with the arm; the second is the gain of choosing weights, on queries held out.
    """

    kind = "fusion"

    measure: str
    value: float
    arm: str
    arm_value: float
    arms: int
    weights: Mapping[str, float] | None = None
    weights_value: float | None = None

    @property
    def about(self) -> str:
        """``"weights"`` where other weights are shown to be better, else ``"fusion"``."""
        return "weights" if any(each.action == "set weights" for each in self.remedies) else self.kind


@dataclass(frozen=True, kw_only=True)
class RerankerEffect(Finding):
    """The order after the reranker, and after the `blend` if there is one, compared with the fused order.

    `depth` and `blend` are the rerank_k and the fixed weight that do best on all queries, with `measure` there;
    None where nothing was tried. `seconds` are those of reranking, for a query.
    """

    kind = "reranker"

    verdict: Verdict
    measure: str
    after: float
    before: float
    blended: bool
    rerank_k: int
    seconds: float
    depth: int | None = None
    depth_value: float | None = None
    depth_gain: Evidence | None = None
    blend: float | None = None
    blend_value: float | None = None
    blend_gain: Evidence | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        found = super().to_dict()
        for name in ("depth_gain", "blend_gain"):
            gain: Evidence | None = getattr(self, name)
            found["numbers"][name] = None if gain is None else gain.to_dict()
        return found


@dataclass(frozen=True, kw_only=True)
class RerankDepth(Finding):
    """Relevant documents that were fetched and not shown to the reranker, which does better the deeper it reads.

    `near` counts those up to rank ``2 * rerank_k`` after the fusion; `places` is the share of the places lost so.
    """

    kind = "rerank_k"

    documents: int
    rerank_k: int
    near: int
    places: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class StageEffect(Finding):
    """A stage after the reranker that changes the order for the better or the worse."""

    kind = "stage"

    stage: str
    verdict: Verdict

    @property
    def about(self) -> str:
        """The stage's name."""
        return self.stage


@dataclass(frozen=True, kw_only=True)
class Truncated(Finding):
    """Relevant documents that the reranker lost: `cut` were not read to the end, `surely` of those certainly.

    `share` is of all relevant documents.
    """

    kind = "truncated"

    lost: int
    cut: int
    surely: int
    share: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class IdleArm(Finding):
    """An arm that contributes almost nothing of its own: the share of the relevant documents."""

    kind = "idle arm"

    arm: str
    share: float
    interval: Interval | None
