"""Validation of what a backend returns, before it is used; its details are converted to plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import isfinite
from numbers import Real
from operator import eq, ge, index
from typing import TYPE_CHECKING, Any

from hybridrank.errors import BackendResponseError
from hybridrank.types import Candidates, Document, Ranking, Scores, Span
from hybridrank.values.json_values import json_notes, sound_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["validate_rankings", "validate_scores", "validate_vectors"]


def _counted(values: Any, expected: int, what: str, source: str) -> None:
    try:
        count = len(values)
    except TypeError:
        raise BackendResponseError(f"{source} returned {type(values).__name__}, not {what}") from None
    if count != expected:
        raise BackendResponseError(f"{source} returned {count} {what}, expected {expected}")


def _finite(score: Any, doc_id: str, source: str) -> float:
    try:
        number = float(score)
    except (TypeError, ValueError):
        raise BackendResponseError(f"{source} scored document {doc_id!r} {score!r}, not a number") from None
    if not isfinite(number):
        raise BackendResponseError(f"{source} scored document {doc_id!r} {number}; scores must be finite")
    return number


def _refuse_flat(scores: Any, source: str) -> None:
    """Reject a flat list of numbers where one list per query is required, a common mistake."""
    if isinstance(scores, (list, tuple)) and scores and all(isinstance(score, Real) for score in scores):
        raise BackendResponseError(
            f"{source} returned a flat list of {len(scores)} scores: it is given a batch, and returns a list of "
            "scores for each Candidates in it, as in [[0.3, 0.9]] for one query and two documents"
        )


def validate_rankings(rankings: Any, *, queries: int, k: int, source: str) -> Sequence[Ranking]:
    """`rankings`, one per query, each finite, best first, ties by id, without duplicate ids and at most `k` long.

    Their details are copied as JSON values.

    A ranking that only repeats ids, breaks ties differently or exceeds `k` is corrected. One that is not sorted
    is rejected, since it is unknown which of its two orders is meant.

    Raises:
        BackendResponseError: the count is off, an id is not text, a score is not a finite number, or the order is
            not by score.
    """
    _counted(rankings, queries, "rankings", source)
    return [
        _with_json_notes(ranking if _is_sound(ranking, k) else _corrected(ranking, k, source))
        for ranking in rankings
    ]


def _with_json_notes(ranking: Ranking) -> Ranking:
    if type(ranking.details) is dict and not ranking.details:
        return ranking
    return replace(ranking, details=json_notes(ranking.details))


def _is_text(ids: Sequence[Any]) -> bool:
    if not set(map(type, ids)) <= {str}:
        return False
    joined = "".join(ids)
    return sound_text(joined) is joined


def _is_sound(ranking: Any, k: int) -> bool:
    """Whether a ranking is valid: a fast test for the common case."""
    if type(ranking) is not Ranking or not len(ranking.ids) == len(ranking.scores) <= k:
        return False
    ids, scores = ranking.ids, ranking.scores
    if not _is_text(ids) or len(set(ids)) < len(ids):
        return False
    if not set(map(type, scores)) <= {float} or not isfinite(sum(scores)) or not all(map(ge, scores, scores[1:])):
        return False
    return not any(map(eq, scores, scores[1:])) or all(
        a > b or i < j for (a, i), (b, j) in pairwise(zip(scores, ids, strict=True))
    )


def _corrected(ranking: Any, k: int, source: str) -> Ranking:
    """Correct a ranking if there is only one way to do so, and reject it otherwise."""
    if not isinstance(ranking, Ranking) or len(ranking.ids) != len(ranking.scores):
        raise BackendResponseError(f"{source} returned a ranking without one score per id")
    ids = [str.__str__(doc_id) if isinstance(doc_id, str) else doc_id for doc_id in ranking.ids]
    for doc_id in ids:
        if not _is_text([doc_id]):
            what = "holds a lone surrogate" if isinstance(doc_id, str) else f"is a {type(doc_id).__name__}"
            raise BackendResponseError(f"{source} returned the id {doc_id!r}, which {what}; ids are text (str)")
    scores = [_finite(score, doc_id, source) for doc_id, score in zip(ids, ranking.scores, strict=True)]
    pairs = list(zip(ids, scores, strict=True))
    for (above, higher), (below, lower) in pairwise(pairs):
        if lower > higher:
            raise BackendResponseError(
                f"{source} ranked document {below!r} below {above!r}, which it scored lower"
            )
    repaired = Ranking.of(pairs, k=k)
    return Ranking(repaired.ids, repaired.scores, ranking.documents, ranking.details)


def validate_scores(scores: Any, batch: Sequence[Candidates], *, source: str) -> Sequence[Scores]:
    """`scores`, one finite float per document for each query of the batch, with their details copied as JSON
    values.

    Spans are sorted, best first.

    Raises:
        BackendResponseError: a count is off, a score is not a finite number, or a span is not within its text.
    """
    _refuse_flat(scores, source)
    _counted(scores, len(batch), "lists of scores", source)
    checked = []
    for row, candidates in zip(scores, batch, strict=True):
        _counted(row, len(candidates), "scores", source)
        numbers = [_finite(s, doc.id, source) for s, doc in zip(row, candidates.documents, strict=True)]
        spans = _spans(getattr(row, "spans", ()), candidates, source)
        checked.append(Scores(numbers, details=json_notes(getattr(row, "details", None)), spans=spans))
    return checked


def _spans(spans: Any, candidates: Candidates, source: str) -> Sequence[Sequence[Span]]:
    try:
        if not any(spans):
            return ()
        _counted(spans, len(candidates), "tuples of spans", source)
        return [
            sorted((_span(span, doc, source) for span in row), key=lambda span: -span.score) if row else ()
            for row, doc in zip(spans, candidates.documents, strict=True)
        ]
    except TypeError as error:
        raise BackendResponseError(f"{source} returned spans that are no sequences of Span: {error}") from None


def _span(span: Any, document: Document, source: str) -> Span:
    if not isinstance(span, Span):
        raise BackendResponseError(
            f"{source} returned {span!r:.80} as a span of document {document.id!r}, expected a Span"
        )
    try:
        start, end = index(span.start), index(span.end)
    except TypeError:
        start = end = -1
    if not 0 <= start < end <= len(document.text):
        raise BackendResponseError(
            f"{source} returned {span!r:.120} of document {document.id!r}, whose text has {len(document.text)} "
            "characters: a span needs 0 <= start < end <= the length of the text"
        )
    return Span(start, end, _finite(span.score, document.id, source))


def validate_vectors(
    vectors: Any, *, count: int, source: str, dim: int | None = None, unit: bool = True
) -> NDArray[np.float32]:
    """`vectors` as a contiguous float32 matrix of shape (count, dim), all finite and, if `unit`, of unit length.

    Raises:
        BackendResponseError: the shape is off, `dim` is not the one that the index holds, a value is not
            finite, or a row is not of unit length (inner products would not be cosines).
    """
    import numpy as np

    matrix = np.ascontiguousarray(vectors, dtype=np.float32)
    if matrix.ndim != 2 or matrix.shape[0] != count:
        raise BackendResponseError(f"{source} returned shape {matrix.shape}, expected ({count}, dim)")
    if dim is not None and matrix.shape[1] != dim:
        raise BackendResponseError(
            f"{source} returned vectors of {matrix.shape[1]} dimensions, but the index holds {dim}; "
            "an index keeps the embedder that it was built with: rebuild it to change it"
        )
    if not np.isfinite(matrix).all():
        row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
        raise BackendResponseError(f"{source} returned a vector that is not finite, for text {row} of {count}")
    if not unit:
        return matrix
    lengths = np.linalg.norm(matrix, axis=1)
    if count and np.abs(lengths - 1.0).max() > 1e-3:
        row = int(np.abs(lengths - 1.0).argmax())
        raise BackendResponseError(
            f"{source} returned a vector of length {lengths[row]:.4g} for text {row} of {count}; "
            "vectors must be of unit length"
        )
    return matrix
