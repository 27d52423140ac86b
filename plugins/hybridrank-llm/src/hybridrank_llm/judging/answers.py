"""Parsing of a model's response: a query or a grade, or nothing; a response is never guessed at."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

__all__ = ["Read", "grade_in", "query_in"]

_HIGHEST = 3
_LONGEST = 300  # characters of a query
_GRADE = re.compile(r'"?\bgrade\b"?\s*[:=]\s*"?(-?\d+)(?![\d.])', re.IGNORECASE)
_QUERY = re.compile(r'"query"\s*:\s*("(?:[^"\\\n]|\\.)*")')
_ITSELF = re.compile(r"\b(this|the) (document|text|passage|article)\b", re.IGNORECASE)


class Read(NamedTuple):
    """What an answer says; `repaired` where it is not just what was asked for."""

    value: Any
    repaired: bool = False


def grade_in(answer: str) -> Read | None:
    """The grade in an answer, from 0 to 3; None where it names none, several, or another number.

    >>> grade_in('{"grade": 2}'), grade_in("<think>3?</think> Grade: 2"), grade_in("2 or 3")
    (Read(value=2, repaired=False), Read(value=2, repaired=True), None)
    """
    spoken = _spoken(answer)
    named = set(_GRADE.findall(spoken))
    if not named and re.fullmatch(r"[\s*`#]*-?\d+[\s*`.]*", spoken):
        named = set(re.findall(r"-?\d+", spoken))
    if len(named) != 1:
        return None
    value = int(named.pop())
    return Read(value, repaired=_parsed(answer) != {"grade": value}) if 0 <= value <= _HIGHEST else None


def query_in(answer: str) -> Read | None:
    """The query in an answer; None if there is none, or no usable one.

    It must hold a word, be one line of up to 300 characters, and not speak of the document.

    >>> query_in('Sure: {"query": "how to compost"}'), query_in("I cannot help with that.")
    (Read(value='how to compost', repaired=True), None)
    """
    found = {json.loads(string, strict=False) for string in _QUERY.findall(_spoken(answer)) if _is_json(string)}
    if len(found) != 1:
        return None
    text = " ".join(found.pop().split())
    if not re.search(r"\w", text) or len(text) > _LONGEST or not text.isprintable() or _ITSELF.search(text):
        return None
    return Read(text, repaired=_parsed(answer) != {"query": text})


def _spoken(answer: str) -> str:
    """Without what the model thought aloud."""
    return answer.rpartition("</think>")[2].partition("<think>")[0]


def _parsed(answer: str) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def _is_json(string: str) -> bool:
    try:
        json.loads(string, strict=False)
    except ValueError:
        return False
    return True
