"""Checks of an index: adding, replacing and deleting documents."""

# ruff: noqa: ARG001  (every check takes the component and the tolerances)

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hybridrank.component.protocols import VectorIndex, VectorRetriever
from hybridrank.testing.kit import Tolerances, call, require, skip
from hybridrank.testing.retrievers.asking import (
    ALL,
    add_documents,
    new_index,
    require_held,
    retrieve,
    same_answers,
)
from hybridrank.testing.samples import DOCUMENTS, ODD_TEXTS, huge_text, queries
from hybridrank.types import Document

__all__ = ["CHECKS"]


def empty_index(component: Any, tolerances: Tolerances) -> None:
    """A new index holds nothing and finds nothing; adding or deleting nothing changes nothing."""
    index = new_index(component, ())
    require_held(index, {}, "a new index")
    add_documents(index, (), "adding no documents")
    call(lambda: index.delete([]), "delete() of nothing")
    call(lambda: index.delete({"no such id"}), "delete() of an id that is not held")
    require_held(index, {}, "an index to which nothing was added")
    for ranking in retrieve(index, queries(), 3, "retrieve() on an empty index"):
        require(not ranking.ids, f"an empty index found {list(ranking.ids)}, expected nothing")


def encode_changes_nothing(component: Any, tolerances: Tolerances) -> None:
    """`encode` alone changes no answer and no length; it reports its progress, if it does, in order."""
    index = new_index(component, DOCUMENTS[:4])
    other = new_index(component, DOCUMENTS[:4])
    reports: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        reports.append((done, total))
        threads.add(threading.get_ident())

    call(lambda: index.encode(DOCUMENTS, progress=progress), "encode() with progress")
    require_held(index, {d.id: d for d in DOCUMENTS[:4]}, "an index, after encode() and before add(),")
    same_answers(
        index,
        other,
        tolerances,
        "after encode() and before add()",
        "encode runs concurrently with searches, without a lock",
    )
    end = reports[-1][1] if reports else 0
    require(
        threads <= {threading.get_ident()}
        and reports == sorted(reports)
        and all(total == end for _, total in reports)
        and (not reports or reports[-1] == (end, end)),
        f"encode() called progress with {reports}, expected (done, total) with done rising to one total, from the "
        "calling thread: a progress bar shows it",
    )


def delete_is_complete(component: Any, tolerances: Tolerances) -> None:
    """A deleted document is found no more and held no more, until it is added again."""
    index = new_index(component)
    kept = {document.id: document for document in DOCUMENTS}
    for doc_ids in (["soil"], {"twin-a", "no such id"}, ("blank",)):
        call(partial(index.delete, doc_ids), f"delete({doc_ids!r})")
        for doc_id in doc_ids:
            kept.pop(doc_id, None)
        require_held(index, kept, f"an index, after delete({doc_ids!r}),")
        for ranking in retrieve(index, queries(), ALL):
            require(
                kept.keys() >= set(ranking.ids),
                f"after delete({doc_ids!r}) the index still found {sorted(set(ranking.ids) - set(kept))}: deleted "
                "documents must be gone from the results at once",
            )
    index.delete(list(kept))
    require_held(index, {}, "an index, after everything was deleted,")
    require(
        not any(ranking.ids for ranking in retrieve(index, queries(), 3)),
        "an index still found documents after everything was deleted",
    )
    add_documents(index, DOCUMENTS, "adding to an index from which everything was deleted")
    same_answers(
        index,
        new_index(component),
        tolerances,
        "after deleting everything and adding it again",
        "A deletion must leave no trace in the scores",
    )


def add_replaces(component: Any, tolerances: Tolerances) -> None:
    """Adding under an id that is held puts the new text in place of the old."""
    index = new_index(component)
    new = Document("wing", "Compost heaps need elephants.")
    add_documents(index, [new], "adding under an id that is held")
    require_held(
        index, {document.id: document for document in DOCUMENTS}, "an index, after one document was replaced,"
    )
    replaced = [new if document.id == "wing" else document for document in DOCUMENTS]
    same_answers(
        index,
        new_index(component, replaced),
        tolerances,
        "after one document was replaced, compared with an index made with the new one",
        "The old text must not be found, nor weigh in the scores",
    )


def updates_equal_a_fresh_index(component: Any, tolerances: Tolerances) -> None:
    """Documents added in several calls, in any order, mixed with deletions, score as in an index made at once."""
    index = new_index(component, DOCUMENTS[5:])
    add_documents(index, DOCUMENTS[2:5][::-1])
    index.delete([DOCUMENTS[6].id, DOCUMENTS[3].id])
    add_documents(index, DOCUMENTS[:2])
    left = [document for document in DOCUMENTS if document.id not in (DOCUMENTS[6].id, DOCUMENTS[3].id)]
    require_held(index, {document.id: document for document in left}, "an index, after additions and deletions,")
    same_answers(
        index,
        new_index(component, left),
        tolerances,
        "after additions and deletions, compared with an index made at once",
        "Results would depend on the history of a collection, and change when it is rebuilt",
    )


def indexes_are_independent(component: Any, tolerances: Tolerances) -> None:
    """Two indexes of one component know nothing of each other."""
    first, second = new_index(component, DOCUMENTS[:2]), new_index(component, DOCUMENTS[2:5])
    first.delete([DOCUMENTS[2].id])
    require_held(first, {document.id: document for document in DOCUMENTS[:2]}, "the first of two indexes")
    require_held(second, {document.id: document for document in DOCUMENTS[2:5]}, "the second of two indexes")


def odd_documents(component: Any, tolerances: Tolerances) -> None:
    """Empty, blank and unusual texts, and a huge one, are held, and the other documents are found next to them."""
    odd = [Document(f"odd: {name}", text) for name, text in ODD_TEXTS.items()]
    odd.append(Document("odd: huge", huge_text(tolerances.huge)))
    index = new_index(component)
    try:
        add_documents(index, odd, "adding unusual texts")
    except AssertionError:
        for document in odd:
            text = (
                f"a text of {len(document.text):,} characters"
                if document.id == "odd: huge"
                else repr(document.text)
            )
            add_documents(new_index(component, ()), [document], f"adding {text} ({document.id})")
        raise
    missing = [document.id for document in (*DOCUMENTS, *odd) if document.id not in index]
    require(
        not missing and len(index) == len(DOCUMENTS) + len(odd),
        f"after adding unusual texts, len() is {len(index)}, expected {len(DOCUMENTS) + len(odd)}, and "
        f"{missing} are not held: a document without words can still be fetched and deleted by its id",
    )
    found = {doc_id for ranking in retrieve(index, queries(), ALL) for doc_id in ranking.ids}
    require(
        {"soil", "wing"} <= found,
        f"next to unusual texts, only {sorted(found)} were found, expected 'soil' and 'wing' among them",
    )


def vectors_are_declared(component: Any, tolerances: Tolerances) -> None:
    """A retriever whose index holds vectors names their embedder, before there is an index."""
    index = new_index(component, ())
    if not isinstance(index, VectorIndex):
        raise skip("its index holds no vectors")
    require(
        isinstance(component, VectorRetriever) and component.embedder == index.embedder,
        "its index holds vectors (it has `embedder` and `dim`), and the component has no attribute `embedder` "
        "equal to that: a pipeline embeds queries, and a collection stores vectors, by the component's attribute",
    )


CHECKS: Sequence[Callable[[Any, Tolerances], None]] = (
    empty_index,
    encode_changes_nothing,
    delete_is_complete,
    add_replaces,
    updates_equal_a_fresh_index,
    indexes_are_independent,
    odd_documents,
    vectors_are_declared,
)
