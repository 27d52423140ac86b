"""A batch in parts, for services that score so many documents in a call, and the answers put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, TypeGuard

from hybridrank.errors import BackendResponseError
from hybridrank.types import Candidates, Scores

__all__ = ["Request", "Response", "by_index", "is_finite", "merge", "split"]


@dataclass(frozen=True, slots=True)
class Request:
    """What one call is for: some documents of one `Candidates`, none of them blank.

    `member` is the index of those candidates in the batch, `positions` are the documents' indexes among them.
    """

    member: int
    query: str
    positions: tuple[int, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Response:
    """What one call gave: a finite score per text, in the order of the texts.

    For the trace of its query: `units` are what the service says it used, summed over the query's calls, and
    `notes` are what it says besides, strung together.
    """

    scores: tuple[float, ...]
    retries: int = 0
    units: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def split(batch: Sequence[Candidates], *, size: int) -> list[Request]:
    """Split a batch into parts of at most `size` documents; blank documents are left out."""
    parts = []
    for member, candidates in enumerate(batch):
        texts = [document.content for document in candidates.documents]
        worded = [position for position, text in enumerate(texts) if text.strip()]
        for start in range(0, len(worded), size):
            positions = tuple(worded[start : start + size])
            parts.append(Request(member, candidates.query.text, positions, tuple(texts[p] for p in positions)))
    return parts


def by_index(results: Iterable[tuple[Any, Any]], count: int, *, who: str) -> tuple[float, ...]:
    """Scores in the order asked, out of the indexes and scores that a service gave in an order of its own.

    Raises:
        BackendResponseError: not each of `count` documents has one finite score.
    """
    given, scores = list(results), dict[int, float]()
    if len(given) != count:
        raise BackendResponseError(f"{who} scored {len(given)} documents, expected {count}")
    for index, score in given:
        if type(index) is not int or not 0 <= index < count:
            raise BackendResponseError(f"{who} scored document {_shown(index)} of {count}: no such index")
        if index in scores:
            raise BackendResponseError(f"{who} scored document {index} of {count} twice")
        if not is_finite(score):
            problem = f"{who} scored document {index} of {count} {_shown(score)}, not a finite number"
            raise BackendResponseError(problem)
        scores[index] = float(score)
    return tuple(scores[index] for index in range(count))


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether `value` is a number, and no truth value, that a float can hold."""
    try:
        return type(value) in (int, float) and isfinite(value)
    except OverflowError:
        return False


def _shown(value: Any) -> str:
    """A number as it is, and of anything else the type: a server may say what is not for the log."""
    return f"{value!r:.40}" if value is None or isinstance(value, (int, float)) else type(value).__name__


def merge(
    batch: Sequence[Candidates], parts: Sequence[Request], answers: Sequence[Response], *, blank: float | None
) -> list[Scores]:
    """Put the answers to `parts` together: one `Scores` for each of the batch, in the documents' order.

    A blank document scores `blank`, or by default 1.0 below the worst of the others and at most -1.0.
    """
    found: list[dict[int, float]] = [{} for _ in batch]
    own: list[list[Response]] = [[] for _ in batch]
    for part, answer in zip(parts, answers, strict=True):
        found[part.member].update(zip(part.positions, answer.scores, strict=True))
        own[part.member].append(answer)
    merged = []
    for candidates, scored, called in zip(batch, found, own, strict=True):
        lowest = min([0.0, *scored.values()]) - 1.0 if blank is None else blank
        scores = [scored.get(position, lowest) for position in range(len(candidates))]
        merged.append(Scores(scores, details=_details(called, blanks=len(scores) - len(scored))))
    return merged


def _details(answers: Sequence[Response], *, blanks: int) -> dict[str, Any]:
    details: dict[str, Any] = {}
    for answer in answers:
        for unit, amount in answer.units.items():
            details[unit] = details.get(unit, 0) + amount
        for name, lines in answer.notes.items():
            details[name] = [*details.get(name, []), *lines]
    details |= {"requests": len(answers), "retries": sum(answer.retries for answer in answers)}
    if blanks:
        details["blank_documents"] = blanks
    return details
