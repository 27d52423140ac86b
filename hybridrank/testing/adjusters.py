"""Checks of an adjuster: documents and their scores -> new scores, in the documents' order."""

# ruff: noqa: ARG001  (every check takes the component and the tolerances)

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from hybridrank.component.protocols import Adjuster, VectorAdjuster
from hybridrank.component.validation import validate_scores
from hybridrank.errors import BackendResponseError
from hybridrank.testing.kit import (
    THREADS,
    CheckFailed,
    Tolerances,
    call,
    in_threads,
    near,
    require,
    require_json,
    skip,
)
from hybridrank.testing.samples import DOCUMENTS, ODD_TEXTS, queries
from hybridrank.types import Candidates, Document, Scores

__all__ = ["CHECKS"]

_DIM = 8


def _candidates(adjuster: Adjuster, documents: Sequence[Document] = DOCUMENTS, *, query: int = 0) -> Candidates:
    """Documents with their vectors, if it needs them; equal texts have equal vectors."""
    if not _needs_vectors(adjuster):
        return Candidates(queries()[query], list(documents))
    vectors = np.zeros((len(documents), _DIM), np.float32)
    for row, document in enumerate(documents):
        vectors[row] = np.random.default_rng(zlib.crc32(document.content.encode())).normal(size=_DIM)
        vectors[row] /= np.linalg.norm(vectors[row])
    return Candidates(queries()[query], list(documents), vectors)


def _needs_vectors(adjuster: Adjuster) -> bool:
    return isinstance(adjuster, VectorAdjuster) and adjuster.needs_vectors


def _falling(count: int) -> list[float]:
    """Scores as a reranker returns them, best first: on an arbitrary scale, two of them equal."""
    return [4.25, *(1.5 - 3.0 * place**0.5 for place in range(count - 2)), 1.5][:count]


def _adjust(
    adjuster: Adjuster, candidates: Candidates, scores: Sequence[float] | None = None, what: str = "adjust()"
) -> Scores:
    """Adjust, and validate the result."""
    given = _falling(len(candidates)) if scores is None else scores
    row = call(lambda: adjuster.adjust(candidates, given), what)
    try:
        (adjusted,) = validate_scores([row], [candidates], source=what)
    except BackendResponseError as error:
        raise CheckFailed(
            f"{error}. Expected one finite float per document, in the documents' order: the pipeline sorts"
        ) from error
    require_json(getattr(row, "details", {}), what)
    return adjusted


def _same(
    got: Scores, expected: Scores, documents: Sequence[Document], tolerances: Tolerances, what: str, why: str
) -> None:
    for score, other, document in zip(got, expected, documents, strict=True):
        require(
            near(score, other, tolerances.tolerance),
            f"{what}: document {document.id!r} got {score:.8g}, expected {other:.8g} "
            f"(tolerance {tolerances.tolerance:g}). {why}",
        )


def thread_safe(adjuster: Adjuster, tolerances: Tolerances) -> None:
    """Eight threads that adjust concurrently get the same scores as alone."""
    some = [_candidates(adjuster, DOCUMENTS[: 3 + number % 5], query=number % 3) for number in range(THREADS)]
    together = in_threads(lambda number: [_adjust(adjuster, some[number]) for _ in range(5)])
    for rows, candidates in zip(together, some, strict=True):
        for row in rows:
            _same(
                row,
                _adjust(adjuster, candidates),
                candidates.documents,
                tolerances,
                f"with {THREADS} threads at once",
                "A server adjusts many searches at once with one component: keep what belongs to one call in "
                "local variables",
            )


def adjusts_every_document(adjuster: Adjuster, tolerances: Tolerances) -> None:
    """One finite float for each document."""
    _adjust(adjuster, _candidates(adjuster))


def nothing_to_adjust(adjuster: Adjuster, tolerances: Tolerances) -> None:
    """No documents give no scores."""
    _adjust(adjuster, _candidates(adjuster, []), what="adjust() of no documents")


def one_document(adjuster: Adjuster, tolerances: Tolerances) -> None:
    """A single document gets a finite score, whatever its previous score."""
    for score in (0.0, -7.5, 1e-300):
        _adjust(adjuster, _candidates(adjuster, DOCUMENTS[:1]), [score], f"adjust() of one document at {score:g}")


def any_scale(adjuster: Adjuster, tolerances: Tolerances) -> None:
    """Equal and extreme scores result in finite ones."""
    candidates = _candidates(adjuster)
    for score in (0.0, -3.5, 1e-300, 1e300):
        tied = [score] * len(candidates)
        _adjust(adjuster, candidates, tied, f"adjust() of documents that all scored {score:g}")
    extremes = [1.7e308, *([0.0] * (len(candidates) - 2)), -1.7e308]
    _adjust(adjuster, candidates, extremes, "adjust() of scores from 1.7e308 to -1.7e308")


def repeatable(adjuster: Adjuster, tolerances: Tolerances) -> None:
    """The same input gets the same scores again."""
    candidates = _candidates(adjuster)
    first = _adjust(adjuster, candidates)
    _adjust(adjuster, _candidates(adjuster, DOCUMENTS[::-1], query=1))
    _same(
        _adjust(adjuster, candidates),
        first,
        candidates.documents,
        tolerances,
        "the same candidates, adjusted again after others",
        "Results must not change from one search to the next",
    )


def order_follows_documents(adjuster: Adjuster, tolerances: Tolerances) -> None:
    """Documents in another order get the same scores, in that order: an adjuster never sorts."""
    scores = dict(zip((document.id for document in DOCUMENTS), _falling(len(DOCUMENTS)), strict=True))
    forward = _adjust(adjuster, _candidates(adjuster), list(scores.values()))
    expected = dict(zip(scores, forward, strict=True))
    turned = [*DOCUMENTS[3:], *DOCUMENTS[:3]][::-1]
    _same(
        _adjust(adjuster, _candidates(adjuster, turned), [scores[document.id] for document in turned]),
        Scores(expected[document.id] for document in turned),
        turned,
        tolerances,
        "with the documents in another order",
        "The first score is taken for the first document's, so scores in any other order land on the wrong "
        "documents without an error",
    )


def takes_any_sequence(adjuster: Adjuster, tolerances: Tolerances) -> None:
    """Tuples are accepted like lists."""
    candidates = _candidates(adjuster)
    as_tuple = replace(candidates, documents=tuple(candidates.documents))
    _same(
        _adjust(adjuster, as_tuple, tuple(_falling(len(candidates))), "adjust() of tuples"),
        _adjust(adjuster, candidates),
        candidates.documents,
        tolerances,
        "with tuples in place of lists",
        "Any Sequence may come",
    )


def input_is_unmutated(adjuster: Adjuster, tolerances: Tolerances) -> None:
    """The documents, their metadata and vectors, and the scores are unchanged."""
    documents = [Document(d.id, d.text, d.title, copy.deepcopy(dict(d.metadata))) for d in DOCUMENTS]
    candidates, scores = _candidates(adjuster, documents), _falling(len(documents))
    before = None if candidates.vectors is None else candidates.vectors.copy()
    _adjust(adjuster, candidates, scores)
    require(
        candidates.documents == list(DOCUMENTS)
        and scores == _falling(len(documents))
        and (candidates.vectors is before or np.array_equal(candidates.vectors, before)),  # type: ignore[arg-type]
        "adjust() changed its input. The pipeline still needs it: for the trace, for the order before where an "
        "adjuster fails, and for other searches that share the documents",
    )


def odd_documents(adjuster: Adjuster, tolerances: Tolerances) -> None:
    """Empty, blank and unusual texts get finite scores."""
    documents = [Document(f"odd: {name}", text) for name, text in ODD_TEXTS.items()]
    _adjust(adjuster, _candidates(adjuster, documents), what="adjust() of odd texts")


def documents_without_vectors(adjuster: Adjuster, tolerances: Tolerances) -> None:
    """Documents without a vector (a row of zeros) get finite scores."""
    candidates = _candidates(adjuster)
    if candidates.vectors is None:
        raise skip("it needs no vectors")
    candidates.vectors[1::2] = 0.0
    _adjust(adjuster, candidates, what="adjust() of documents of which every second has no vector")


CHECKS: Sequence[Callable[[Adjuster, Tolerances], None]] = (
    thread_safe,
    adjusts_every_document,
    nothing_to_adjust,
    one_document,
    any_scale,
    repeatable,
    order_follows_documents,
    takes_any_sequence,
    input_is_unmutated,
    odd_documents,
    documents_without_vectors,
)
