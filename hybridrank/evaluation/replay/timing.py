"""The seconds and units of a reranker that reads less than it did when it was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from hybridrank.evaluation.recordings.recording import RecordedSearch, Recording
from hybridrank.pipeline.latency_model import LinearLatency

__all__ = ["count_characters", "latency_of", "scale_detail", "scale_details"]

_LEAST = 10  # searches; fewer cannot show a fixed part
_ERRORS = 2.0  # standard errors, by which a fixed part must differ from 0


def latency_of(recording: Recording) -> LinearLatency:
    """Fit the seconds of a recording's reranking to the characters that the reranker read.

    Characters are those of the documents and, for each document, of the query. Where no fixed part is shown,
    seconds are in proportion to characters.

    Searches in which a model may have been loaded, that failed, or that found scores in a cache are left out.
    """
    calls = [call for search in recording.searches.values() if (call := _call(search)) is not None]
    return LinearLatency.fit(calls, least=_LEAST, errors=_ERRORS)


def count_characters(ids: Sequence[str], *, query: str, chars: Mapping[str, int]) -> float:
    """What a reranker reads of these documents; one whose size is not known has the mean of the others'."""
    known = [chars[doc_id] for doc_id in ids if doc_id in chars]
    mean = sum(known) / len(known) if known else 1.0
    return len(ids) * len(query) + sum(known) + mean * (len(ids) - len(known))


def scale_details(details: Mapping[str, Any], *, read: float, pairs: float) -> dict[str, Any]:
    """What a reranker counts, where it reads only these shares of the characters and of the documents.

    Tokens are in proportion to characters, everything else to documents; what comes in whole numbers is rounded
    up, as the units are that an API bills.
    """
    return {
        name: scale_detail(name, value, read=read, pairs=pairs) if type(value) in (int, float) else value
        for name, value in details.items()
    }


def scale_detail(name: str, value: float, *, read: float, pairs: float) -> float:
    """One of the things that `scale_details` scales."""
    part = value * (read if "token" in name else pairs)
    return ceil(part - 1e-9) if isinstance(value, int) else part


def _call(search: RecordedSearch) -> tuple[float, float] | None:
    for stage in search.trace.stages:
        if stage.kind == "rerank":
            sound = stage.ids and stage.error is None and stage.batch == 1
            if not sound or search.first or stage.details.get("cache_hits"):
                return None
            return count_characters(stage.ids, query=search.trace.query, chars=search.chars), stage.seconds
    return None
