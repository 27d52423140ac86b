"""Checks of a retriever of a remote engine, into which the kit loads documents: filters, and whole documents."""

# ruff: noqa: ARG001  (every check takes the component and the tolerances)

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from hybridrank.errors import ConfigError, InputError
from hybridrank.testing import components
from hybridrank.testing.filter_samples import EXPECTED, FILTER_DOCUMENTS, FILTER_QUERY, FILTERS
from hybridrank.testing.kit import CheckFailed, Tolerances, call, require, same_ranking, skip
from hybridrank.testing.retrievers.asking import ALL, retrieve, searchable
from hybridrank.testing.retrievers.searching import ENGINE_CHECKS, require_the_best, require_tie_order
from hybridrank.testing.samples import DOCUMENTS, ODD_TEXTS, huge_text, queries
from hybridrank.types import Document, Query, Ranking

__all__ = ["Loaded", "checks"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """How to load documents into an engine, and search them.

    ``load(documents)`` is a context manager. It removes what the engine holds, loads the documents, waits until
    all of them are searchable, and gives the retriever.
    """

    load: Callable[[Sequence[Document]], AbstractContextManager[Any]]

    @contextmanager
    def holding(self, documents: Sequence[Document] = DOCUMENTS) -> Iterator[Any]:
        """Give the retriever over these documents.

        Raises:
            CheckFailed: loading them failed.
        """
        context = self.load(documents)
        retriever = call(context.__enter__, f"loading {len(documents)} documents")
        try:
            searchable(retriever)
            yield retriever
        finally:
            context.__exit__(None, None, None)


def finds_the_best(loaded: Loaded, tolerances: Tolerances) -> None:
    """A query in a document's own words finds that document first, and its twin with the same score."""
    with loaded.holding() as retriever:
        require_the_best(retriever)


def ties_survive_the_cut(loaded: Loaded, tolerances: Tolerances) -> None:
    """Where k cuts through a tie, the smaller id stays."""
    with loaded.holding() as retriever:
        require_tie_order(retriever)


def holds_what_was_loaded(loaded: Loaded, tolerances: Tolerances) -> None:
    """Documents are found as soon as they are loaded, and those of an earlier load no more."""
    for documents in (DOCUMENTS[:2], DOCUMENTS[2:4], DOCUMENTS):
        with loaded.holding(documents) as retriever:
            for document in documents:
                if document.text.strip():
                    (ranking,) = retrieve(retriever, [Query(document.text)], ALL)
                    held = {each.id for each in documents}
                    require(
                        document.id in ranking.ids and held.issuperset(ranking.ids),
                        f"after loading {sorted(held)}, the text of {document.id!r} found {list(ranking.ids)}: "
                        "load() has to remove what was there, and to wait until every document is searchable",
                    )


def documents_come_back_whole(loaded: Loaded, tolerances: Tolerances) -> None:
    """The documents that a ranking brings along are those that were loaded, with title and metadata."""
    for documents, asked in ((DOCUMENTS, queries()), (FILTER_DOCUMENTS, [Query(FILTER_QUERY)])):
        known = {document.id: document for document in documents}
        with loaded.holding(documents) as retriever:
            for ranking in retrieve(retriever, asked, ALL):
                if ranking.ids and not ranking.documents:
                    raise skip("its rankings bring no documents along: a pipeline needs them in its own store")
                for doc_id in ranking.ids:
                    brought = ranking.documents.get(doc_id)
                    require(
                        brought == known[doc_id],
                        f"the ranking brings {brought!r} along, expected {known[doc_id]!r}: put every document "
                        "into Ranking.documents, from stored JSON rather than from the engine's own types",
                    )


def odd_documents(loaded: Loaded, tolerances: Tolerances) -> None:
    """Empty, blank and unusual texts, and a huge one, can be loaded, and the others are found among them."""
    odd = [Document(f"odd: {name}", text) for name, text in ODD_TEXTS.items()]
    odd.append(Document("odd: huge", huge_text(tolerances.huge)))
    with loaded.holding([*DOCUMENTS, *odd]) as retriever:
        found = {doc_id for ranking in retrieve(retriever, queries(), ALL) for doc_id in ranking.ids}
        require(
            {"soil", "wing"} <= found,
            f"among unusual texts, only {sorted(found)} were found, expected 'soil' and 'wing' among them",
        )


def filters_mean_the_same(loaded: Loaded, tolerances: Tolerances) -> None:
    """A filter finds exactly the documents that it matches, in the order of the whole ranking, or is refused."""
    with loaded.holding(FILTER_DOCUMENTS) as retriever:
        whole = _whole(retriever)
        refused = []
        for name, written in FILTERS.items():
            query = Query(FILTER_QUERY, filters=dict(written))
            try:
                retriever.retrieve([query], k=1)
            except (InputError, ConfigError):
                refused.append(name)
                continue
            except Exception as error:
                raise CheckFailed(f"the filter {written} raised {type(error).__name__}: {error}") from error
            for k in (ALL, 5, 1):
                (found,) = retrieve(retriever, [query], k)
                _require_documents(found, name, k)
                same_ranking(
                    found,
                    _among(whole, EXPECTED[name], k),
                    tolerance=tolerances.tolerance,
                    what=f"the filter {written} with k = {k}",
                    why="A filter must not change the scores, and must be applied before the cut at k",
                )
        if len(refused) >= len(FILTERS) - 1:
            raise skip(f"it refuses filters ({len(refused)} of {len(FILTERS)})")


def _require_documents(found: Ranking, name: str, k: int) -> None:
    metadata = {document.id: document.metadata for document in FILTER_DOCUMENTS}
    wrong = [doc_id for doc_id in found.ids if doc_id not in EXPECTED[name]]
    missing = sorted(EXPECTED[name].difference(found.ids)) if len(found) < min(k, len(EXPECTED[name])) else []
    for doc_ids, problem in ((wrong, "found"), (missing, "missed")):
        require(
            not doc_ids,
            f"the filter {dict(FILTERS[name])} with k = {k} {problem} {doc_ids[:1]} with the metadata "
            f"{[metadata[doc_id] for doc_id in doc_ids[:1]]}, and {len(doc_ids) - 1} more, against the filter "
            "language: leave what the engine evaluates differently out of its FilterSupport, or refuse it",
        )


def filters_and_ids_together(loaded: Loaded, tolerances: Tolerances) -> None:
    """A query with filters and ids finds the documents that both allow; each query of a batch has its own."""
    names = ["true", "above zero", "does not exist", "either"]
    ids = frozenset(document.id for document in FILTER_DOCUMENTS[::2])
    with loaded.holding(FILTER_DOCUMENTS) as retriever:
        whole = _whole(retriever)
        asked = [Query(FILTER_QUERY, ids=ids, filters=dict(FILTERS[name])) for name in names]
        try:
            retriever.retrieve(asked, k=1)
        except (InputError, ConfigError) as error:
            raise skip(f"it refuses them: {error}") from None
        for k in (ALL, 2):
            for name, found in zip(names, retrieve(retriever, asked, k), strict=True):
                same_ranking(
                    found,
                    _among(whole, EXPECTED[name] & ids, k),
                    tolerance=tolerances.tolerance,
                    what=f"{dict(FILTERS[name])} and every other id, with k = {k}, in a batch of {len(asked)}",
                    why="A user who may see few documents would see others, or fewer",
                )


def _whole(retriever: Any) -> Ranking:
    (whole,) = retrieve(retriever, [Query(FILTER_QUERY)], ALL)
    require(
        len(whole) == len(FILTER_DOCUMENTS),
        f"the query {FILTER_QUERY!r} found {len(whole)} documents, expected all {len(FILTER_DOCUMENTS)}: each "
        "holds these words",
    )
    return whole


def _among(whole: Ranking, allowed: frozenset[str], k: int) -> Ranking:
    pairs = [(doc_id, s) for doc_id, s in zip(whole.ids, whole.scores, strict=True) if doc_id in allowed][:k]
    return Ranking(tuple(doc_id for doc_id, _ in pairs), tuple(score for _, score in pairs))


def checks() -> Sequence[Callable[[Loaded, Tolerances], None]]:
    """The checks here, and those of every retriever, on one that holds the kit's documents."""
    return (
        *map(_with_documents, ENGINE_CHECKS),
        finds_the_best,
        ties_survive_the_cut,
        holds_what_was_loaded,
        documents_come_back_whole,
        odd_documents,
        filters_mean_the_same,
        filters_and_ids_together,
        *map(_with_documents, components.checks("retriever")),
    )


def _with_documents(check: Callable[[Any, Tolerances], None]) -> Callable[[Loaded, Tolerances], None]:
    @wraps(check)
    def on_loaded(loaded: Loaded, tolerances: Tolerances) -> None:
        with loaded.holding() as retriever:
            check(retriever, tolerances)

    return on_loaded
