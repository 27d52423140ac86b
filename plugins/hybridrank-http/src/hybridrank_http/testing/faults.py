"""Invalid responses with status 200."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

__all__ = ["FAULTS", "MALFORMED", "results_of"]

Result: TypeAlias = dict[str, Any]

FAULTS = (
    "400",  # a status: any number from 300 to 599; a redirect leads to `RerankServer.elsewhere`
    "429 retry-after 1",  # with a Retry-After header, here of 1
    "echo",  # 401, with the request's Authorization in the body and in a header
    "echo score",  # 200, with the request's Authorization in place of a score
    "silence",  # no answer at all, until the client leaves
    "trickle",  # an answer that never ends, a byte at a time, until the client leaves
    "hang up",  # the connection ends in the middle of the body
    "not json",
    "endless",  # an answer far longer than any
    "compressed",  # an answer in gzip, which was not asked for
    "html",  # a proxy's page, as text/html
    "plain",  # a good answer that says it is text/plain
    "error body",  # 200, and an error in the answer
)
"""What `RerankServer.faults` and `RerankServer.fault` understand, besides the names in `MALFORMED`."""


def results_of(answer: Any) -> list[Result]:
    """Where the list of results is in any flavor's answer."""
    if isinstance(answer, list):
        return answer
    results: list[Result] = answer["results"] if "results" in answer else answer["data"]
    return results


def _changed(change: Callable[[list[Result]], object]) -> Callable[[Any], str]:
    def broken(answer: Any) -> str:
        change(results_of(answer))
        return json.dumps(answer)

    return broken


def _score(value: object) -> Callable[[Any], str]:
    def change(results: list[Result]) -> None:
        [name] = {"relevance_score", "score"} & set(results[-1])
        results[-1][name] = value

    return _changed(change)


def _index(value: object) -> Callable[[Any], str]:
    return _changed(lambda results: results[-1].update(index=value))


MALFORMED: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "empty": lambda _: "",
        "nested without end": lambda _: "[" * 200_000,
        "a number": lambda _: "42",
        "an object": lambda _: "{}",
        "results without names": lambda answer: json.dumps(answer).replace('"index"', '"i"'),
        "short": _changed(lambda results: results.pop()),
        "long": _changed(lambda results: results.append(dict(results[0]))),
        "repeated": _changed(lambda results: results[-1].update(index=results[0]["index"])),
        "out of range": _changed(lambda results: results[-1].update(index=len(results))),
        "negative index": _index(-1),
        "null index": _index(None),
        "true index": _index(True),
        "fractional index": _index(1.0),
        "text index": _index("1"),
        "null score": _score(None),
        "text score": _score("0.5"),
        "true score": _score(True),
        "nan": _score(float("nan")),
        "infinite": _score(float("-inf")),
        "a score beyond floats": _score(10**400),
    }
)
"""A name for each way to be wrong, and how to get there from a good answer."""
