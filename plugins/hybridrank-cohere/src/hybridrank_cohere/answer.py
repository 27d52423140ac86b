"""What the SDK's response says, which the SDK itself doesn't check."""

from __future__ import annotations

from typing import Any

from hybridrank.errors import BackendResponseError
from hybridrank.remote.batching import Response, by_index, is_finite

__all__ = ["read"]


def read(response: Any, count: int, *, retries: int) -> Response:
    """Take the scores of `count` documents out of the SDK's response.

    Raises:
        BackendResponseError: an index is missing, repeated, out of range or no integer, or a score is not a
            finite number.
    """
    results = getattr(response, "results", None)
    if not isinstance(results, list):
        raise BackendResponseError(f"Cohere's answer holds no list of results, but {type(results).__name__}")
    given = [(getattr(each, "index", None), getattr(each, "relevance_score", None)) for each in results]
    request_id, meta = getattr(response, "id", None), getattr(response, "meta", None)
    notes = {"request_ids": [request_id] if isinstance(request_id, str) else []}
    if isinstance(warnings := getattr(meta, "warnings", None), list) and warnings:
        notes["warnings"] = [str(warning) for warning in warnings]
    scores = by_index(given, count, who="Cohere")
    return Response(scores, retries, _billed(getattr(meta, "billed_units", None)), notes)


def _billed(units: Any) -> dict[str, float]:
    named = vars(units) if hasattr(units, "__dict__") else {}
    return {name: amount for name, amount in named.items() if is_finite(amount)}
