"""Recordings made by hand: the trace says where each document stands."""

from __future__ import annotations

from hybridrank import Stage, Trace
from hybridrank.evaluation import RecordedSearch, Recording
from hybridrank.evaluation.recordings.settings import Header

RRF = {"fusion": {"use": "rrf"}, "reranker": {"use": "cross-encoder"}}


def stage(name, kind, ids, *, received=None, error=None, **details):
    ids = tuple(ids)
    return Stage(name, kind, 0.01, ids, tuple(map(float, range(len(ids), 0, -1))), received, error, details)


def search(query_id, qrels, arms, fused, reranked=None, *, fetch_k=20, rerank_k=10, **options):
    """A search with these arms, fused so; `reranked` is the order of the first `rerank_k` of it."""
    errors, details = options.pop("errors", {}), options.pop("details", {})
    later = options.pop("later", ())
    stages = [stage(name, "retrieve", ids, error=errors.get(name)) for name, ids in arms.items()]
    stages.append(stage("fusion", "fuse", fused, received=len(fused)))
    if reranked is not None:
        shown = min(rerank_k, len(fused))
        stages.append(stage("rerank", "rerank", reranked, received=shown, error=errors.get("rerank"), **details))
    stages += later
    trace = Trace(options.pop("query", f"query {query_id}"), 10, fetch_k, rerank_k, 0.1, tuple(stages))
    return RecordedSearch(query_id, trace, qrels, **options)


def recording(searches, *, settings=None, name="made", **header):
    header = Header(settings or RRF, 10, dataset="made", **header)
    return Recording(name, header, {each.query_id: each for each in searches})
