"""The fate of each relevant document in a recorded search: found, or lost at a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from hybridrank.evaluation.recordings.recording import RecordedSearch
from hybridrank.result.trace import Stage, Trace

__all__ = ["IN_RANKING", "IN_RETRIEVAL", "Fate", "FateKind", "Truncation", "fates_of"]

FateKind: TypeAlias = Literal[
    "found",
    "no room",
    "degraded",
    "not held",
    "beyond fetch_k",
    "missed",
    "dropped",
    "demoted",
    "not reranked",
    "left low",
]
"""The first that applies:

- found: among the first k that a user sees.
- no room: it is not, and all of those are relevant.
- degraded: a stage of the search failed, so what would have become of it nobody knows.
- not held: the collection has no such document.
- beyond fetch_k: no arm fetched it, and a deeper recording shows in which it stood further down.
- missed: no arm fetched it.
- dropped: an arm fetched it, and the fusion does not have it.
- demoted: it stood among the first k once; `Fate.stage` is the stage that then put it below for good.
- not reranked: it was never among the first k, and the reranker did not see it.
- left low: it was never among the first k, and the reranker, where there is one, saw it.
"""

IN_RETRIEVAL: tuple[FateKind, ...] = ("not held", "beyond fetch_k", "missed", "dropped")
"""Losses that no reordering can fix."""

IN_RANKING: tuple[FateKind, ...] = ("demoted", "not reranked", "left low")
"""Losses of documents that were fetched."""

Truncation: TypeAlias = Literal["surely", "perhaps", "no"]
"""Whether a reranker left the end of a document unread.

It counts the documents for which it did. *surely*: these were all that it was shown. *perhaps*: they were so many,
and this is among as many of the longest, or lengths are not known. *no*: none, or this is shorter.
"""


@dataclass(frozen=True)
class Fate:
    """The fate of one relevant document of one query.

    `ranks` are by stage, from 1, for the stages that ranked it; `deeper` the same for the arms of a
    deeper recording. `stage` is the one that lost it, "" where none did. `truncated` is None where the reranker
    did not see it or does not count. `exhausted` are the arms that had no more to give than they did, so that no
    greater fetch_k finds it there.
    """

    query_id: str
    doc_id: str
    grade: int
    kind: FateKind
    stage: str = ""
    ranks: Mapping[str, int] = field(default_factory=dict)
    deeper: Mapping[str, int] = field(default_factory=dict)
    truncated: Truncation | None = None
    exhausted: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The kind; of what was demoted, by which stage."""
        return f"demoted by {self.stage}" if self.kind == "demoted" else self.kind

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "document": self.doc_id,
            "grade": self.grade,
            "fate": self.kind,
            "stage": self.stage,
            "ranks": dict(self.ranks),
            **({"deeper": dict(self.deeper)} if self.deeper else {}),
            **({"truncated": self.truncated} if self.truncated is not None else {}),
            **({"exhausted": list(self.exhausted)} if self.exhausted else {}),
        }


def fates_of(
    search: RecordedSearch, *, k: int, grade: int = 1, deeper: RecordedSearch | None = None
) -> list[Fate]:
    """The fate of each document that is relevant to the query, those with higher grades first.

    Relevant is what has at least this `grade` and is not ignored. `deeper` is a search for the same query with a
    greater fetch_k.
    """
    trace, orders = search.trace, search.rankings()
    places = {stage: _places(order) for stage, order in orders.items()}
    below = {} if deeper is None else {s: _places(o) for s, o in deeper.rankings().items()}
    arms = [stage for stage in trace.stages if stage.kind == "retrieve"]
    later = [stage.name for stage in trace.stages if stage.ranks and stage.kind != "retrieve"]
    reranker = next((stage for stage in trace.stages if stage.kind == "rerank"), None)
    shown = _shown(search, reranker)
    relevant = {
        doc_id: given for doc_id, given in search.qrels.items() if given >= grade and doc_id not in search.ignored
    }
    top = orders[later[-1]][:k]
    crowded = len(top) == k and all(doc_id in relevant for doc_id in top)
    longest = _longest(search, reranker)
    fates = []
    for doc_id, given in sorted(relevant.items(), key=lambda item: (-item[1], item[0])):
        ranks = {stage: place[doc_id] for stage, place in places.items() if doc_id in place}
        further = {
            arm.name: below[arm.name][doc_id]
            for arm in arms
            if arm.name not in ranks and doc_id in below.get(arm.name, {})
        }
        kind, stage = _fate(doc_id, ranks, trace, search, later, shown, k, crowded=crowded, further=bool(further))
        fates.append(
            Fate(
                search.query_id,
                doc_id,
                given,
                kind,
                stage,
                ranks,
                further,
                longest.get(doc_id) if doc_id in shown else None,
                tuple(a.name for a in arms if a.error is None and a.name not in ranks and _is_exhausted(a, trace)),
            )
        )
    return fates


def _fate(
    doc_id: str,
    ranks: Mapping[str, int],
    trace: Trace,
    search: RecordedSearch,
    later: Sequence[str],
    shown: Mapping[str, str],
    k: int,
    *,
    crowded: bool,
    further: bool,
) -> tuple[FateKind, str]:
    arms = [stage.name for stage in trace.stages if stage.kind == "retrieve"]
    if ranks.get(later[-1], k + 1) <= k:
        return "found", ""
    if crowded:
        return "no room", ""
    if trace.degraded:
        return "degraded", ", ".join(trace.degraded)
    if search.unheld is not None and doc_id in search.unheld:
        return "not held", ""
    if not any(arm in ranks for arm in arms):
        return ("beyond fetch_k" if further else "missed"), ""
    if later[0] not in ranks:
        return "dropped", later[0]
    high = [number for number, stage in enumerate(later, start=1) if ranks.get(stage, k + 1) <= k]
    if high or any(ranks.get(arm, k + 1) <= k for arm in arms):
        return "demoted", later[max(high, default=0)]
    reranker = next((stage.name for stage in trace.stages if stage.kind == "rerank"), None)
    if reranker is not None and doc_id not in shown:
        return "not reranked", later[0]
    return "left low", reranker or later[0]


def _places(order: Sequence[str]) -> dict[str, int]:
    return {doc_id: rank for rank, doc_id in enumerate(order, start=1)}


def _is_exhausted(arm: Stage, trace: Trace) -> bool:
    return len(arm.ids) < trace.fetch_k


def _shown(search: RecordedSearch, reranker: Stage | None) -> dict[str, str]:
    """The documents that the reranker was shown, and as which unit: of its passages, the best."""
    if reranker is None:
        return {}
    fused = next(stage for stage in search.trace.stages if stage.kind == "fuse")
    ranked, found = set(reranker.ids), dict[str, str]()
    for unit in fused.ids:
        if unit in ranked:  # not all that it received, where it stopped
            found.setdefault(search.parents.get(unit, unit), unit)
    return found


def _longest(search: RecordedSearch, reranker: Stage | None) -> dict[str, Truncation]:
    """Whether each document that the reranker was shown was read to its end; nothing where it does not count."""
    shown = _shown(search, reranker)
    count = None if reranker is None else reranker.details.get("truncated")
    if reranker is None or type(count) is not int:
        return {}
    if count == 0:
        return dict.fromkeys(shown, "no")
    if count >= len(reranker.ids):
        return dict.fromkeys(shown, "surely")
    sizes = {doc_id: search.chars.get(unit) for doc_id, unit in shown.items()}
    known = sorted((size for size in sizes.values() if size is not None), reverse=True)
    if len(known) < len(sizes):
        return dict.fromkeys(shown, "perhaps")
    least = known[min(count, len(known)) - 1]
    return {doc_id: "perhaps" if (size or 0) >= least else "no" for doc_id, size in sizes.items()}
