"""Splits a batch into requests for a service that scores so many documents in a call, and merges the responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, TypeGuard

from hybridrank.errors import BackendResponseError
from hybridrank.types import Candidates, Scores, Span, spans_in_text

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

    `spans` are parts of the texts that were sent, a sequence for each text, or empty where there are none.

    For the trace of its query: `units` are what the service says it used, summed over the query's calls, and
    `notes` are what else it says, concatenated.
    """

    scores: tuple[float, ...]
    retries: int = 0
    units: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    spans: Sequence[Sequence[Span]] = ()


def split(batch: Sequence[Candidates], *, size: int, metadata_fields: Sequence[str] = ()) -> list[Request]:
    """Split a batch into parts of at most `size` documents; blank documents are left out.

    The texts are `Candidates.contents` with these fields of the metadata.
    """
    parts = []
    for member, candidates in enumerate(batch):
        texts = candidates.contents(metadata_fields)
        worded = [position for position, document in enumerate(candidates.documents) if document.content.strip()]
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
    """Merge the responses to `parts`: one `Scores` per query of the batch, in the documents' order.

    A blank document scores `blank`, or by default 1.0 below the worst of the others and at most -1.0.
    """
    found: list[dict[int, float]] = [{} for _ in batch]
    spans: list[dict[int, tuple[Span, ...]]] = [{} for _ in batch]
    own: list[list[Response]] = [[] for _ in batch]
    for part, answer in zip(parts, answers, strict=True):
        found[part.member].update(zip(part.positions, answer.scores, strict=True))
        own[part.member].append(answer)
        for position, text, given in zip(part.positions, part.texts, answer.spans, strict=bool(answer.spans)):
            document = batch[part.member].documents[position]
            spans[part.member][position] = spans_in_text(document, text, given)
    merged = []
    for candidates, scored, marked, called in zip(batch, found, spans, own, strict=True):
        lowest = min([0.0, *scored.values()]) - 1.0 if blank is None else blank
        scores = [scored.get(position, lowest) for position in range(len(candidates))]
        merged.append(
            Scores(
                scores,
                details=_details(called, blanks=len(scores) - len(scored)),
                spans=[marked.get(position, ()) for position in range(len(candidates))],
            )
        )
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
