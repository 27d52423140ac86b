"""The ranking of the documents after each stage of a search."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter

from hybridrank.result.trace import StageKind, Trace

__all__ = ["fill_stages", "rankings_by_stage", "stage_kinds"]


def rankings_by_stage(
    trace: Trace, *, ignored: Collection[str] = (), parents: Mapping[str, str] | None = None
) -> dict[str, tuple[str, ...]]:
    """The documents in order, best first, after each stage by name.

    Documents that a stage was not shown follow those that it ranked, in the order before; a failed stage keeps
    that order. `ignored` documents are left out; `parents` says
    which document a passage is of: each document has the rank of its best passage.

    >>> from hybridrank import Stage
    >>> fused = Stage("fusion", "fuse", 0.0, ("a", "b", "c"), (3.0, 2.0, 1.0))
    >>> reranked = Stage("rerank", "rerank", 0.0, ("b", "a"), (9.0, 8.0))
    >>> rankings_by_stage(Trace("q", 3, 3, 2, 0.0, (fused, reranked)))["rerank"]
    ('b', 'a', 'c')
    """
    orders: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ()
    for stage in trace.stages:
        if not stage.ranks:
            continue
        ids = _documents(stage.ids, ignored, parents)
        if stage.kind == "retrieve":
            orders[stage.name] = ids
            continue
        ranked = set(ids)
        before = (*ids, *(doc_id for doc_id in before if doc_id not in ranked))
        orders[stage.name] = before
    return orders


def stage_kinds(traces: Iterable[Trace]) -> dict[str, StageKind]:
    """The stages of searches by one pipeline that rank documents, in order, with their kinds."""
    kinds: dict[str, StageKind] = {}
    for trace in traces:
        for stage in filter(attrgetter("ranks"), trace.stages):
            kinds.setdefault(stage.name, stage.kind)
    return kinds


def fill_stages(orders: Mapping[str, Sequence[str]], kinds: Mapping[str, StageKind]) -> dict[str, Sequence[str]]:
    """A ranking for every stage of a pipeline; a stage that a search did not reach keeps the ranking before."""
    found: dict[str, Sequence[str]] = {}
    before: Sequence[str] = ()
    for name, kind in kinds.items():
        found[name] = orders.get(name, () if kind == "retrieve" else before)
        if kind != "retrieve":
            before = found[name]
    return found


def _documents(
    units: Iterable[str], ignored: Collection[str], parents: Mapping[str, str] | None
) -> tuple[str, ...]:
    ids = units if not parents else dict.fromkeys(parents.get(unit, unit) for unit in units)
    return tuple(doc_id for doc_id in ids if doc_id not in ignored)
