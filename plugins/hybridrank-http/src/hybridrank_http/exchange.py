"""Requests to the server, and its responses, as pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hybridrank.errors import BackendResponseError
from hybridrank.remote import Request, Response, by_index, error_message, is_finite, one_line
from hybridrank_http.client import Reply
from hybridrank_http.flavors import Flavor

__all__ = ["body", "read", "results_in", "units_in"]


def body(part: Request, flavor: Flavor, *, model: str | None, instruction: str | None = None) -> bytes:
    """Write the request for one part of a batch, as JSON."""
    content = {
        **flavor.parameters,
        **({} if model is None else {"model": model}),
        flavor.query: part.query if instruction is None else f"{instruction}\n{part.query}",
        flavor.documents: [text[: flavor.characters] for text in part.texts],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()


def read(reply: Reply, count: int, flavor: Flavor, *, who: str, variable: str | None) -> Response:
    """Read the validated scores of `count` documents from a response.

    Raises:
        BackendResponseError: it is no JSON, has no list of results, or doesn't give every document one finite
            score.
    """
    answer, results = results_in(reply, flavor.results, who=who, variable=variable)
    named = [result if isinstance(result, dict) else {} for result in results]
    scores = by_index([(each.get(flavor.index), each.get(flavor.score)) for each in named], count, who=who)
    return Response(scores, units=units_in(answer, reply.headers, flavor.usage, flavor.usage_headers))


def results_in(reply: Reply, path: str, *, who: str, variable: str | None) -> tuple[Any, list[Any]]:
    """Read a response, and the list of results at `path` in it: keys with dots between, or "" for the response.

    Raises:
        BackendResponseError: it is no JSON, or has no list of results.
    """
    try:
        answer = json.loads(reply.text)
    except (ValueError, RecursionError):
        kind = one_line(reply.headers.get("content-type", "of no type"), variable)
        raise BackendResponseError(f"{who} answered what is no JSON ({kind})") from None
    results = _within(answer, path)
    if not isinstance(results, list):
        where = f'under "{path}"' if path else "in its answer"
        words = f": {one_line(error_message(answer), variable)}" if isinstance(answer, dict) and answer else ""
        raise BackendResponseError(f"{who} gave no list {where}, but {type(results).__name__}{words}")
    return answer, results


def _within(answer: Any, path: str) -> Any:
    for key in path.split(".") if path else ():
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer


def units_in(
    answer: Any, headers: Mapping[str, str], path: str, usage_headers: Mapping[str, str]
) -> dict[str, float]:
    """The usage that the server reports, at `path` in its response and in its headers, if it is a number."""
    usage = _within(answer, path) if path else None
    named = usage if isinstance(usage, dict) else {}
    units = {name: amount for name, amount in named.items() if is_finite(amount)}
    for header, name in usage_headers.items():
        if (amount := headers.get(header, "")).isdecimal():
            units[name] = int(amount)
    return units
