"""Checks of a reranker: (query, documents) -> one score per document, in the documents' order."""

# ruff: noqa: ARG001  (every check takes the component and the tolerances)

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hybridrank.blend import confidence_range_of
from hybridrank.component.protocols import AsyncReranker, ConfidentReranker, FittedReranker, Reranker
from hybridrank.component.validation import validate_scores
from hybridrank.errors import BackendResponseError, ConfigError, InputError
from hybridrank.relevance.settings import Relevance
from hybridrank.rerank.members import is_pointwise, known_identity, metadata_fields_of
from hybridrank.testing.kit import (
    THREADS,
    CheckFailed,
    Tolerances,
    call,
    in_new_loop,
    in_threads,
    near,
    require,
    require_json,
    skip,
)
from hybridrank.testing.samples import DOCUMENTS, ODD_TEXTS, TWINS, huge_text, queries
from hybridrank.types import Candidates, Document, Query, Scores

__all__ = ["CHECKS"]


def _batch() -> list[Candidates]:
    """Every question with documents that differ in number or order."""
    first, second, third = queries()
    return [
        Candidates(first, list(DOCUMENTS)),
        Candidates(second, list(DOCUMENTS[:2])),
        Candidates(third, list(DOCUMENTS[:2:-1])),
    ]


def _score(reranker: Reranker, batch: Sequence[Candidates], what: str = "score()") -> Sequence[Scores]:
    """Score, and validate the result."""
    return _checked(call(lambda: reranker.score(batch), what), batch, what)


def _checked(rows: Any, batch: Sequence[Candidates], what: str) -> Sequence[Scores]:
    try:
        scores = validate_scores(rows, batch, source=what)
    except BackendResponseError as error:
        raise CheckFailed(
            f"{error}. Expected one finite float per document, in the documents' order: the pipeline sorts"
        ) from error
    for row in rows:
        require_json(getattr(row, "details", {}), what)
    return scores


def _same(
    got: Scores, expected: Scores, documents: Iterable[Document], tolerances: Tolerances, what: str, why: str
) -> None:
    for score, other, document in zip(got, expected, documents, strict=True):
        require(
            near(score, other, tolerances.tolerance),
            f"{what}: document {document.id!r} got {score:.8g}, expected {other:.8g} "
            f"(tolerance {tolerances.tolerance:g}). {why}",
        )


def thread_safe(reranker: Reranker, tolerances: Tolerances) -> None:
    """Eight threads that score concurrently get the same scores as alone."""
    batch = _batch()

    def score(number: int) -> list[Sequence[Scores]]:
        return [_score(reranker, [batch[(number + turn) % len(batch)]]) for turn in range(2)]

    together = in_threads(score)
    alone = [_score(reranker, [candidates])[0] for candidates in batch]
    for number, turns in enumerate(together):
        for turn, rows in enumerate(turns):
            at = (number + turn) % len(batch)
            _same(
                rows[0],
                alone[at],
                batch[at].documents,
                tolerances,
                f"with {THREADS} threads at once, query {batch[at].query.text!r}",
                "A server scores many searches at once with one component: keep what belongs to one call in "
                "local variables, and lock a library that is not thread-safe",
            )


def scores_every_document(reranker: Reranker, tolerances: Tolerances) -> None:
    """One finite float for each document of each query."""
    _score(reranker, _batch())


def nothing_to_score(reranker: Reranker, tolerances: Tolerances) -> None:
    """An empty batch gives no rows; a query without documents gives an empty row, also among others."""
    _score(reranker, [], "score() of an empty batch")
    _score(reranker, [Candidates(queries()[0], [])], "score() of a query without documents")
    batch = _batch()
    batch.insert(1, Candidates(queries()[1], []))
    _score(reranker, batch, "score() of a batch where one query has no documents")


def repeatable(reranker: Reranker, tolerances: Tolerances) -> None:
    """The same input gets the same scores again, and later calls do not change earlier results."""
    batch = _batch()
    rows = call(lambda: reranker.score(batch), "score()")
    first = _checked(rows, batch, "score()")
    _score(reranker, [Candidates(batch[0].query, list(DOCUMENTS[::-1]))])
    for later, what in (
        (_checked(rows, batch, "score()"), "the answer of the first call, read after another call"),
        (_score(reranker, batch), "the same batch, scored again"),
    ):
        for row, expected, candidates in zip(later, first, batch, strict=True):
            _same(
                row,
                expected,
                candidates.documents,
                tolerances,
                what,
                "Results must not change from one search to the next: switch dropout off, and return values that "
                "no later call writes to",
            )


def batch_equals_singles(reranker: Reranker, tolerances: Tolerances) -> None:
    """A query gets the same scores alone and in a batch."""
    batch = _batch()
    for row, candidates in zip(_score(reranker, batch), batch, strict=True):
        _same(
            row,
            _score(reranker, [candidates])[0],
            candidates.documents,
            tolerances,
            f"in a batch of {len(batch)}, query {candidates.query.text!r}",
            "A user's results would depend on who else searches. Where it is rounding (padding, int8), state a "
            "wider tolerance",
        )


def order_follows_documents(reranker: Reranker, tolerances: Tolerances) -> None:
    """Documents in another order get the same scores, in that order: a reranker never sorts."""
    query = queries()[0]
    forward = _score(reranker, [Candidates(query, list(DOCUMENTS))])[0]
    turned = [*DOCUMENTS[3:], *DOCUMENTS[:3]][::-1]
    scores = dict(zip((document.id for document in DOCUMENTS), forward, strict=True))
    _same(
        _score(reranker, [Candidates(query, turned)])[0],
        Scores(scores[document.id] for document in turned),
        turned,
        tolerances,
        "with the documents in another order",
        "The first score is taken for the first document's, so scores in any other order land on the wrong "
        "documents without an error",
    )


def same_text_same_score(reranker: Reranker, tolerances: Tolerances) -> None:
    """Two documents with the same text get the same score."""
    scores = _score(reranker, [Candidates(queries()[1], list(DOCUMENTS))])[0]
    first, second = (next(s for s, d in zip(scores, DOCUMENTS, strict=True) if d.id == twin) for twin in TWINS)
    require(
        near(first, second, tolerances.tolerance),
        f"two documents with the same text got {first:.8g} and {second:.8g} (tolerance {tolerances.tolerance:g}): "
        "a score has to come from the text, not from the id or the place among the candidates",
    )


def pointwise_as_declared(reranker: Reranker, tolerances: Tolerances) -> None:
    """A reranker that declares itself `pointwise` gives each document the same score as alone."""
    if not is_pointwise(reranker):
        raise skip("it does not say that it is pointwise: every list is then scored whole")
    query = queries()[0]
    together = _score(reranker, [Candidates(query, list(DOCUMENTS))])[0]
    alone = [_score(reranker, [Candidates(query, [document])])[0][0] for document in DOCUMENTS]
    _same(
        together,
        Scores(alone),
        DOCUMENTS,
        tolerances,
        f"with {len(DOCUMENTS)} documents at once",
        "It says `pointwise`, so that its scores are kept, replayed, and mixed from several calls: leave that out "
        "where a score depends on what is next to the document",
    )


def reads_declared_metadata_only(reranker: Reranker, tolerances: Tolerances) -> None:
    """Metadata fields that are not in `metadata_fields` do not change scores."""
    named = metadata_fields_of(reranker)
    require(
        all(isinstance(name, str) for name in named),
        f"metadata_fields is {named!r}, expected names of fields: caches of scores key by these fields",
    )
    query = queries()[0]
    others = [
        Document(
            d.id,
            d.text,
            d.title,
            {name: d.metadata[name] for name in named if name in d.metadata} | _undeclared(named),
        )
        for d in DOCUMENTS
    ]
    _same(
        _score(reranker, [Candidates(query, others)])[0],
        _score(reranker, [Candidates(query, list(DOCUMENTS))])[0],
        DOCUMENTS,
        tolerances,
        "with other metadata in fields that metadata_fields does not name",
        "A cache would give the score of the old metadata: name every field that it reads in `metadata_fields`",
    )


def _undeclared(named: Sequence[str]) -> dict[str, str]:
    values = {"year": "1904", "tags": "wing", "source": "compost heaps need air"}
    return {name: value for name, value in values.items() if name not in named}


def confidence_range_as_declared(reranker: Reranker, tolerances: Tolerances) -> None:
    """`confidence_range`, if declared, is two finite scores, the lower first."""
    if not isinstance(reranker, ConfidentReranker):
        raise skip("it has no confidence_range: blending by confidence does not change its order")
    try:
        confidence_range_of(reranker)
    except ConfigError as error:
        raise CheckFailed(f"{error}: a blend weighs the fused order by it") from error


def fitted_relevance_as_declared(reranker: Reranker, tolerances: Tolerances) -> None:
    """`fitted_relevance`, if declared, has options of `Relevance` that were fitted for this reranker."""
    if not isinstance(reranker, FittedReranker):
        raise skip("it has no fitted_relevance: hits have a relevance once its user has calibrated it")
    for options in reranker.fitted_relevance:
        try:
            fitted = Relevance(**options)
        except (ConfigError, TypeError) as error:
            raise CheckFailed(f"{error}: a pipeline builds Relevance with these options") from error
        named, own = fitted.fitted_for.get("reranker"), known_identity(reranker)
        require(
            named == own,
            f"fitted_for says {named!r}, and its identity is {own!r}: a pipeline uses what was fitted for the "
            "reranker itself",
        )


def takes_any_sequence(reranker: Reranker, tolerances: Tolerances) -> None:
    """Tuples are accepted like lists."""
    batch = _batch()
    as_tuples = tuple(Candidates(candidates.query, tuple(candidates.documents)) for candidates in batch)
    for row, expected, candidates in zip(
        _score(reranker, as_tuples, "score() of tuples"), _score(reranker, batch), batch, strict=True
    ):
        _same(
            row,
            expected,
            candidates.documents,
            tolerances,
            "with tuples in place of lists",
            "Any Sequence may come",
        )


def input_is_unmutated(reranker: Reranker, tolerances: Tolerances) -> None:
    """The batch, the lists in it, and the documents' metadata are unchanged."""
    documents = [Document(d.id, d.text, d.title, copy.deepcopy(dict(d.metadata))) for d in DOCUMENTS]
    batch = [Candidates(query, list(documents)) for query in queries()]
    before = [(candidates.query.text, list(DOCUMENTS)) for candidates in batch]
    call(lambda: reranker.score(batch), "score()")
    after = [(candidates.query.text, candidates.documents) for candidates in batch]
    require(
        before == after,
        f"score() changed its input: it was {before}, and is {after}. The pipeline still needs it: for the trace, "
        "for the fallback when a reranker fails, and for other searches that share the documents",
    )


def odd_documents(reranker: Reranker, tolerances: Tolerances) -> None:
    """Empty, blank and unusual texts get finite scores."""
    query = queries()[0]
    documents = [Document(f"odd: {name}", text) for name, text in ODD_TEXTS.items()]
    _odd(reranker, [Candidates(query, documents)], [Candidates(query, [document]) for document in documents])


def odd_queries(reranker: Reranker, tolerances: Tolerances) -> None:
    """Unusual queries get finite scores."""
    documents = list(DOCUMENTS[:2])
    batch = [Candidates(Query(text), documents) for text in ODD_TEXTS.values() if text.strip()]
    _odd(reranker, batch, batch)


def _odd(reranker: Reranker, batch: Sequence[Candidates], singles: Sequence[Candidates]) -> None:
    """Score the batch; if that fails, find the document or query that causes it."""
    try:
        _score(reranker, batch)
    except CheckFailed:
        for candidates in singles:
            text = f"the query {candidates.query.text!r} and the document {candidates.documents[0].text!r}"
            _score(reranker, [candidates], f"score() of {text}")
        raise


def huge_document(reranker: Reranker, tolerances: Tolerances) -> None:
    """A huge text gets a finite score, or is rejected with an InputError; its neighbors are scored too."""
    huge = Document("huge", huge_text(tolerances.huge, words=50_000))  # a model may well read every word
    batch = [Candidates(queries()[0], [DOCUMENTS[0], huge, DOCUMENTS[1]])]
    what = f"score() with a document of {tolerances.huge:,} characters"
    try:
        rows = reranker.score(batch)
    except InputError:
        return
    except Exception as error:
        raise CheckFailed(
            f"{what} raised {type(error).__name__} ({error!s:.200}), expected a finite score or an InputError: "
            "one long document among the candidates must not take a search down"
        ) from error
    _checked(rows, batch, what)


def async_equals_sync(reranker: Reranker, tolerances: Tolerances) -> None:
    """`ascore` returns the scores of `score`, twice concurrently, and again in a second event loop."""
    if not isinstance(reranker, AsyncReranker):
        raise skip("it has no ascore(): the pipeline runs score() in a thread")
    batch = _batch()
    expected = _score(reranker, batch)

    async def twice() -> Sequence[Any]:
        pending = [reranker.ascore(batch), reranker.ascore(batch)]
        require(
            all(map(inspect.isawaitable, pending)),
            f"ascore() returned {type(pending[0]).__name__}, expected something to await: write "
            "`async def ascore`",
        )
        return await asyncio.gather(*pending)

    for loop in ("an event loop", "a second event loop, after the first was closed"):
        for rows in call(lambda: in_new_loop(twice), f"ascore() in {loop}"):
            for row, scores, candidates in zip(_checked(rows, batch, "ascore()"), expected, batch, strict=True):
                _same(
                    row,
                    scores,
                    candidates.documents,
                    tolerances,
                    f"ascore() in {loop}",
                    "search() and asearch() promise the same results: let both share the code around the wait",
                )


CHECKS: Sequence[Callable[[Reranker, Tolerances], None]] = (
    thread_safe,  # first, so that a component is first used by many threads at once
    scores_every_document,
    nothing_to_score,
    repeatable,
    batch_equals_singles,
    order_follows_documents,
    same_text_same_score,
    pointwise_as_declared,
    reads_declared_metadata_only,
    confidence_range_as_declared,
    fitted_relevance_as_declared,
    takes_any_sequence,
    input_is_unmutated,
    odd_documents,
    odd_queries,
    huge_document,
    async_equals_sync,
)
