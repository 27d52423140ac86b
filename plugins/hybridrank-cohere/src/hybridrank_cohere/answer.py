"""Reads the SDK's response, which the SDK itself does not validate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybridrank.errors import BackendResponseError
from hybridrank.remote import Response, by_index, is_finite
from hybridrank.types import Span

__all__ = ["billed", "read"]


def read(response: Any, texts: Sequence[str], *, retries: int) -> Response:
    """Take the scores of these texts, and the spans of them, out of the SDK's response.

    Raises:
        BackendResponseError: an index is missing, repeated, out of range or no integer, a score is not a finite
            number, or a span is not within its text.
    """
    results = getattr(response, "results", None)
    if not isinstance(results, list):
        raise BackendResponseError(f"Cohere's answer holds no list of results, but {type(results).__name__}")
    given = [(getattr(each, "index", None), getattr(each, "relevance_score", None)) for each in results]
    request_id, meta = getattr(response, "id", None), getattr(response, "meta", None)
    notes = {"request_ids": [request_id] if isinstance(request_id, str) else []}
    if isinstance(warnings := getattr(meta, "warnings", None), list) and warnings:
        notes["warnings"] = [str(warning) for warning in warnings]
    scores = by_index(given, len(texts), who="Cohere")
    spans: list[Sequence[Span]] = [()] * len(texts)
    for each in results:
        spans[each.index] = [
            _span(span, texts[each.index]) for span in getattr(each, "relevant_spans", None) or ()
        ]
    return Response(scores, retries, billed(getattr(meta, "billed_units", None)), notes, spans)


def _span(given: Any, text: str) -> Span:
    start, end, score = (getattr(given, name, None) for name in ("start", "end", "score"))
    if not (type(start) is type(end) is int and 0 <= start < end <= len(text) and is_finite(score)):
        raise BackendResponseError(
            f"Cohere gave the span {start!r:.20} to {end!r:.20}, score {score!r:.20}, of a text of {len(text)} "
            "characters"
        )
    return Span(start, end, float(score))


def billed(units: Any) -> dict[str, float]:
    """The units that Cohere bills for a call, if they are numbers."""
    named = vars(units) if hasattr(units, "__dict__") else {}
    return {name: amount for name, amount in named.items() if is_finite(amount)}
