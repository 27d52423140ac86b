"""What a batch asks of the API, and what the answers say: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from hybridrank.errors import BackendResponseError
from hybridrank.types import Candidates, Scores

__all__ = ["Answer", "Request", "merge", "plan", "read"]

_BLANK = -1.0  # the score of a blank document, below all of Cohere's, whatever it is scored with


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the API: some documents of one `Candidates`.

    `member` is the index of those candidates in the batch, `positions` are the documents' indexes among them.
    """

    member: int
    query: str
    positions: tuple[int, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call gave: a finite score per text, in the order of the texts, and notes on the call."""

    scores: tuple[float, ...]
    retries: int
    request_id: str | None
    billed: Mapping[str, float]
    warnings: tuple[str, ...]


def plan(batch: Sequence[Candidates], *, batch_size: int) -> list[Request]:
    """Split a batch into calls of at most `batch_size` documents; blank documents are left out."""
    requests = []
    for member, candidates in enumerate(batch):
        texts = [document.content for document in candidates.documents]
        worded = [position for position, text in enumerate(texts) if text.strip()]
        for start in range(0, len(worded), batch_size):
            part = tuple(worded[start : start + batch_size])
            requests.append(Request(member, candidates.query.text, part, tuple(texts[p] for p in part)))
    return requests


def read(response: Any, request: Request, *, retries: int) -> Answer:
    """Take the scores out of the SDK's response, which the SDK itself doesn't check.

    Raises:
        BackendResponseError: an index is missing, repeated, out of range or no integer, or a score is not a
            finite number.
    """
    results = getattr(response, "results", None)
    expected = len(request.texts)
    if not isinstance(results, list):
        raise BackendResponseError(f"Cohere's answer holds no list of results, but {type(results).__name__}")
    if len(results) != expected:
        raise BackendResponseError(f"Cohere scored {len(results)} documents, expected {expected}")
    scores: dict[int, float] = {}
    for result in results:
        index: Any = getattr(result, "index", None)
        score: Any = getattr(result, "relevance_score", None)
        if type(index) is not int or not 0 <= index < expected:
            raise BackendResponseError(f"Cohere scored document {index!r:.80} of {expected}: no such index")
        if index in scores:
            raise BackendResponseError(f"Cohere scored document {index} of {expected} twice")
        if type(score) not in (int, float) or not isfinite(score):
            raise BackendResponseError(
                f"Cohere scored document {index} of {expected} {score!r:.80}, not a finite number"
            )
        scores[index] = float(score)
    request_id, meta = getattr(response, "id", None), getattr(response, "meta", None)
    warnings = getattr(meta, "warnings", None)
    return Answer(
        scores=tuple(scores[index] for index in range(expected)),
        retries=retries,
        request_id=request_id if isinstance(request_id, str) else None,
        billed=_billed(getattr(meta, "billed_units", None)),
        warnings=tuple(map(str, warnings)) if isinstance(warnings, list) else (),
    )


def _billed(units: Any) -> dict[str, float]:
    named = vars(units) if hasattr(units, "__dict__") else {}
    return {name: amount for name, amount in named.items() if type(amount) in (int, float) and isfinite(amount)}


def merge(batch: Sequence[Candidates], requests: Sequence[Request], answers: Sequence[Answer]) -> list[Scores]:
    """Put the answers together: one `Scores` for each of the batch, in the documents' order."""
    found: list[dict[int, float]] = [{} for _ in batch]
    own: list[list[Answer]] = [[] for _ in batch]
    for request, answer in zip(requests, answers, strict=True):
        found[request.member].update(zip(request.positions, answer.scores, strict=True))
        own[request.member].append(answer)
    merged = []
    for candidates, scored, called in zip(batch, found, own, strict=True):
        scores = [scored.get(position, _BLANK) for position in range(len(candidates))]
        merged.append(Scores(scores, details=_details(called, blanks=len(scores) - len(scored))))
    return merged


def _details(answers: Sequence[Answer], *, blanks: int) -> dict[str, Any]:
    details: dict[str, Any] = {"requests": len(answers), "retries": sum(answer.retries for answer in answers)}
    for answer in answers:
        for unit, amount in answer.billed.items():
            details[unit] = details.get(unit, 0) + amount
    details["request_ids"] = [answer.request_id for answer in answers if answer.request_id]
    if warnings := [warning for answer in answers for warning in answer.warnings]:
        details["warnings"] = warnings
    if blanks:
        details["blank_documents"] = blanks
    return details
