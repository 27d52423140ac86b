"""Checks of a retriever: query -> ranking.

A local retriever (an `IndexedRetriever`) is given the kit's documents. One that holds documents of its own (a
remote engine) is searched as it stands, and the checks of writing are skipped.
"""

# ruff: noqa: ARG001  (every check takes the component and the limits)

from __future__ import annotations

import asyncio
import copy
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from hybridrank.component.protocols import AsyncRetriever, Index, IndexedRetriever, Retriever
from hybridrank.testing.kit import (
    THREADS,
    Limits,
    call,
    in_new_loop,
    in_threads,
    require,
    same_ranking,
    skip,
    sound_ranking,
)
from hybridrank.testing.samples import DOCUMENTS, ODD_TEXTS, TWINS, UNKNOWN_WORDS, huge_text, queries
from hybridrank.types import Document, Query, Ranking

__all__ = ["CHECKS"]

_ALL = 1000
"""More than the kit's documents."""


def _add(index: Index, documents: Sequence[Document], what: str = "adding documents") -> None:
    encoded = call(lambda: index.encode(documents), f"{what}: encode()")
    call(lambda: index.add([document.id for document in documents], encoded), f"{what}: add()")


def _index(component: Any, documents: Sequence[Document] = DOCUMENTS) -> Index:
    """A new index that holds `documents`."""
    if not isinstance(component, IndexedRetriever):
        raise skip("it has no create_index(): it holds documents of its own")
    index = call(component.create_index, "create_index()")
    require(
        isinstance(index, Index),
        f"create_index() returned {type(index).__name__}, expected an object with encode(), add(), delete(), "
        "retrieve(), len() and `in`",
    )
    if documents:
        _add(index, documents)
    return index


def _searchable(component: Any) -> Retriever:
    retriever = _index(component) if isinstance(component, IndexedRetriever) else component
    require(
        isinstance(retriever, Retriever), f"{type(retriever).__name__} has neither retrieve() nor create_index()"
    )
    return retriever


def _retrieve(retriever: Retriever, queries: Sequence[Query], k: int, what: str = "retrieve()") -> list[Ranking]:
    """Retrieve, and check what came, to the letter of the contract."""
    return _checked(call(lambda: retriever.retrieve(queries, k=k), what), queries, k, what)


def _checked(rankings: Any, queries: Sequence[Query], k: int, what: str) -> list[Ranking]:
    require(
        hasattr(rankings, "__len__") and len(rankings) == len(queries),
        f"{what} returned {len(rankings) if hasattr(rankings, '__len__') else type(rankings).__name__} rankings, "
        f"expected {len(queries)}: one for each query, in their order, empty where nothing was found",
    )
    return [
        sound_ranking(ranking, k=k, what=f"{what} of {query.text[:60]!r}")
        for ranking, query in zip(rankings, queries, strict=True)
    ]


def _same_answers(got: Retriever, expected: Retriever, limits: Limits, what: str, why: str) -> None:
    asked = queries()
    for query, ranking, other in zip(
        asked, _retrieve(got, asked, _ALL), _retrieve(expected, asked, _ALL), strict=True
    ):
        same_ranking(ranking, other, tolerance=limits.tolerance, what=f"{what}, the query {query.text!r}", why=why)


def thread_safe(component: Any, limits: Limits) -> None:
    """Eight threads that search at once, some while others encode, get the rankings that each gets alone."""
    retriever = _searchable(component)
    asked = queries()

    def search(number: int) -> list[Ranking]:
        if isinstance(retriever, Index) and number % 4 == 3:
            retriever.encode(DOCUMENTS[:2])
        return [_retrieve(retriever, [asked[(number + turn) % len(asked)]], 3)[0] for turn in range(3)]

    together = in_threads(search)
    alone = [_retrieve(retriever, [query], 3)[0] for query in asked]
    for number, rankings in enumerate(together):
        for turn, ranking in enumerate(rankings):
            at = (number + turn) % len(asked)
            same_ranking(
                ranking,
                alone[at],
                tolerance=limits.tolerance,
                what=f"with {THREADS} threads at once, the query {asked[at].text!r}",
                why="A server runs many searches at once on one index: keep what belongs to one call in local "
                "variables",
            )


def sound_rankings(component: Any, limits: Limits) -> None:
    """Best first, ties by id, each id once, finite scores, at most k, only documents that are held."""
    retriever = _searchable(component)
    for k in (1, 3, _ALL):
        rankings = _retrieve(retriever, queries(), k)
        if isinstance(retriever, Index):
            strangers = {doc_id for ranking in rankings for doc_id in ranking.ids if doc_id not in retriever}
            require(
                not strangers, f"retrieve() returned the ids {sorted(strangers)}, which the index doesn't hold"
            )
    _retrieve(retriever, [], 3, "retrieve() of no queries")


def finds_the_best(component: Any, limits: Limits) -> None:
    """A query in a document's own words finds that document first, and its twin with the same score."""
    index = _index(component)
    (ranking,) = _retrieve(index, [Query(DOCUMENTS[4].text)], _ALL)
    require(
        ranking.ids[:2] == TWINS,
        f"a query that is the text of {TWINS[0]!r} and {TWINS[1]!r} found {list(ranking.ids[:4])}, expected these "
        "two first, by id: a higher score is better, and ties are broken by id",
    )


def k_is_a_cut(component: Any, limits: Limits) -> None:
    """The best k are the first k of the best many, ties included; k may exceed the number of documents."""
    retriever = _searchable(component)
    asked = queries()
    for query, full in zip(asked, _retrieve(retriever, asked, _ALL), strict=True):
        for k in (1, 2, 3, 5):
            same_ranking(
                _retrieve(retriever, [query], k)[0],
                Ranking(full.ids[:k], full.scores[:k]),
                tolerance=limits.tolerance,
                what=f"the best {k} for {query.text!r}, beside the first {k} of the best {_ALL}",
                why="Pages of results would overlap or leave documents out",
            )


def ties_survive_the_cut(component: Any, limits: Limits) -> None:
    """Where k cuts through a tie, the smaller id stays."""
    index = _index(component)
    (ranking,) = _retrieve(index, [Query(DOCUMENTS[4].text)], 1)
    require(
        ranking.ids == TWINS[:1],
        f"for k = 1, {TWINS[0]!r} and {TWINS[1]!r} tie as the best, and {list(ranking.ids)} was returned, "
        f"expected [{TWINS[0]!r}]: select the k best by (-score, id), not by score alone",
    )


def filter_by_ids(component: Any, limits: Limits) -> None:
    """A query with ids ranks just these documents, as the full ranking does, before k cuts."""
    retriever = _searchable(component)
    for query in queries():
        full = _retrieve(retriever, [query], _ALL)[0]
        for step in (2, 3):
            allowed = frozenset(full.ids[1::step])
            expected = [(d, s) for d, s in zip(full.ids, full.scores, strict=True) if d in allowed]
            for k in (1, _ALL):
                (found,) = _retrieve(retriever, [Query(query.text, ids=allowed | {"no such id"})], k)
                same_ranking(
                    found,
                    Ranking(tuple(d for d, _ in expected[:k]), tuple(s for _, s in expected[:k])),
                    tolerance=limits.tolerance,
                    what=f"the query {query.text!r} with ids = {sorted(allowed)} and k = {k}",
                    why="A filter that is applied after the cut loses results, and one that is ignored shows "
                    "documents to people who may not see them",
                )
        for nothing in (frozenset[str](), frozenset({"no such id"})):
            (found,) = _retrieve(retriever, [Query(query.text, ids=nothing)], 3)
            require(
                not found.ids,
                f"a query with ids = {sorted(nothing)} found {list(found.ids)}, expected nothing: an empty filter "
                "allows no document, and is not the absence of a filter",
            )


def batch_equals_singles(component: Any, limits: Limits) -> None:
    """A query gets the same ranking alone, in a batch, and in a batch in another order, twice."""
    retriever = _searchable(component)
    asked = [*queries(), Query(queries()[0].text, ids=frozenset({DOCUMENTS[0].id, DOCUMENTS[2].id}))]
    alone = [_retrieve(retriever, [query], 3)[0] for query in asked]
    for turned in (asked, asked[::-1]):
        expected = alone if turned is asked else alone[::-1]
        for query, ranking, single in zip(turned, _retrieve(retriever, turned, 3), expected, strict=True):
            same_ranking(
                ranking,
                single,
                tolerance=limits.tolerance,
                what=f"the query {query.text!r} in a batch of {len(asked)}",
                why="A user's results would depend on who else searches, or be someone else's",
            )


def unknown_words(component: Any, limits: Limits) -> None:
    """A query of words that no document holds is no error."""
    _retrieve(_searchable(component), [Query(UNKNOWN_WORDS)], 3)


def odd_queries(component: Any, limits: Limits) -> None:
    """Unusual queries, and a long one, get a sound ranking."""
    retriever = _searchable(component)
    asked = [Query(text) for text in ODD_TEXTS.values() if text.strip()]
    _retrieve(retriever, [*asked, Query(huge_text(10_000))], 3, "retrieve()")


def input_is_unmutated(component: Any, limits: Limits) -> None:
    """The lists of queries and of documents, and the documents' metadata, are as they were."""
    documents = [Document(d.id, d.text, d.title, copy.deepcopy(dict(d.metadata))) for d in DOCUMENTS]
    ids = [document.id for document in documents]
    doomed = ids[:2]
    retriever = component
    if isinstance(component, IndexedRetriever):
        retriever = index = _index(component, ())
        encoded = call(lambda: index.encode(documents), "encode()")
        call(lambda: index.add(ids, encoded), "add()")
        call(lambda: index.delete(doomed), "delete()")
        require(
            documents == list(DOCUMENTS) and ids == [d.id for d in DOCUMENTS] and doomed == ids[:2],
            "encode(), add() or delete() changed the documents or ids that it was given: the same documents go to "
            "every arm of the search, and to the store",
        )
    asked = queries()
    before = list(asked)
    call(lambda: retriever.retrieve(asked, k=3), "retrieve()")
    require(
        asked == before,
        f"retrieve() changed its list of queries: it was {before}, and is {asked}. Every arm gets that list",
    )


def async_equals_sync(component: Any, limits: Limits) -> None:
    """`aretrieve` gives the rankings of `retrieve`, twice at once, and again in a second event loop."""
    retriever = _searchable(component)
    if not isinstance(retriever, AsyncRetriever):
        raise skip("it has no aretrieve(): the pipeline gives retrieve() a thread")
    asked = queries()
    expected = _retrieve(retriever, asked, 3)

    async def twice() -> Sequence[Any]:
        pending = [retriever.aretrieve(asked, k=3), retriever.aretrieve(asked, k=3)]
        require(
            all(map(inspect.isawaitable, pending)),
            f"aretrieve() returned {type(pending[0]).__name__}, expected something to await: write "
            "`async def aretrieve`",
        )
        return await asyncio.gather(*pending)

    for loop in ("an event loop", "a second event loop, after the first was closed"):
        for rankings in call(lambda: in_new_loop(twice), f"aretrieve() in {loop}"):
            for ranking, other in zip(_checked(rankings, asked, 3, "aretrieve()"), expected, strict=True):
                same_ranking(
                    ranking,
                    other,
                    tolerance=limits.tolerance,
                    what=f"aretrieve() in {loop}",
                    why="search() and asearch() promise the same results: let both share the code around the wait",
                )


def empty_index(component: Any, limits: Limits) -> None:
    """A new index holds nothing and finds nothing; adding or deleting nothing changes nothing."""
    index = _index(component, ())
    _require_held(index, {}, "a new index")
    _add(index, (), "adding no documents")
    call(lambda: index.delete([]), "delete() of nothing")
    call(lambda: index.delete({"no such id"}), "delete() of an id that is not held")
    _require_held(index, {}, "an index to which nothing was added")
    for ranking in _retrieve(index, queries(), 3, "retrieve() on an empty index"):
        require(not ranking.ids, f"an empty index found {list(ranking.ids)}, expected nothing")


def _require_held(index: Index, documents: Mapping[str, Document], what: str) -> None:
    require(
        len(index) == len(documents),
        f"{what} has len() {len(index)}, expected {len(documents)}: a pipeline compares it with its store to see "
        "that no index lost a document",
    )
    for document in DOCUMENTS:
        require(
            (document.id in index) == (document.id in documents),
            f"{what} says `{document.id!r} in index` is {document.id in index}, expected "
            f"{document.id in documents}, blank documents included",
        )


def encode_changes_nothing(component: Any, limits: Limits) -> None:
    """`encode` alone changes no answer and no length; it reports its progress, if it does, in order."""
    index = _index(component, DOCUMENTS[:4])
    other = _index(component, DOCUMENTS[:4])
    reports: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        reports.append((done, total))
        threads.add(threading.get_ident())

    call(lambda: index.encode(DOCUMENTS, progress=progress), "encode() with progress")
    _require_held(index, {d.id: d for d in DOCUMENTS[:4]}, "an index, after encode() and before add(),")
    _same_answers(
        index, other, limits, "after encode() and before add()", "encode runs beside searches, without a lock"
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


def delete_is_complete(component: Any, limits: Limits) -> None:
    """A deleted document is found no more and held no more, until it is added again."""
    index = _index(component)
    kept = {document.id: document for document in DOCUMENTS}
    for doc_ids in (["soil"], {"twin-a", "no such id"}, ("blank",)):
        call(partial(index.delete, doc_ids), f"delete({doc_ids!r})")
        for doc_id in doc_ids:
            kept.pop(doc_id, None)
        _require_held(index, kept, f"an index, after delete({doc_ids!r}),")
        for ranking in _retrieve(index, queries(), _ALL):
            require(
                kept.keys() >= set(ranking.ids),
                f"after delete({doc_ids!r}) the index still found {sorted(set(ranking.ids) - set(kept))}: deleted "
                "documents must be gone from the results at once",
            )
    index.delete(list(kept))
    _require_held(index, {}, "an index, after everything was deleted,")
    require(
        not any(ranking.ids for ranking in _retrieve(index, queries(), 3)),
        "an index still found documents after everything was deleted",
    )
    _add(index, DOCUMENTS, "adding to an index from which everything was deleted")
    _same_answers(
        index,
        _index(component),
        limits,
        "after deleting everything and adding it again",
        "A deletion must leave no trace in the scores",
    )


def add_replaces(component: Any, limits: Limits) -> None:
    """Adding under an id that is held puts the new text in place of the old."""
    index = _index(component)
    new = Document("wing", "Compost heaps need elephants.")
    _add(index, [new], "adding under an id that is held")
    _require_held(
        index, {document.id: document for document in DOCUMENTS}, "an index, after one document was replaced,"
    )
    replaced = [new if document.id == "wing" else document for document in DOCUMENTS]
    _same_answers(
        index,
        _index(component, replaced),
        limits,
        "after one document was replaced, beside an index made with the new one",
        "The old text must not be found, nor weigh in the scores",
    )


def updates_equal_a_fresh_index(component: Any, limits: Limits) -> None:
    """Documents added in several calls, in any order, beside deletions, score as in an index made at once."""
    index = _index(component, DOCUMENTS[5:])
    _add(index, DOCUMENTS[2:5][::-1])
    index.delete([DOCUMENTS[6].id, DOCUMENTS[3].id])
    _add(index, DOCUMENTS[:2])
    left = [document for document in DOCUMENTS if document.id not in (DOCUMENTS[6].id, DOCUMENTS[3].id)]
    _require_held(index, {document.id: document for document in left}, "an index, after additions and deletions,")
    _same_answers(
        index,
        _index(component, left),
        limits,
        "after additions and deletions, beside an index made at once",
        "Results would depend on the history of a collection, and change when it is rebuilt",
    )


def indexes_are_independent(component: Any, limits: Limits) -> None:
    """Two indexes of one component know nothing of each other."""
    first, second = _index(component, DOCUMENTS[:2]), _index(component, DOCUMENTS[2:5])
    first.delete([DOCUMENTS[2].id])
    _require_held(first, {document.id: document for document in DOCUMENTS[:2]}, "the first of two indexes")
    _require_held(second, {document.id: document for document in DOCUMENTS[2:5]}, "the second of two indexes")


def odd_documents(component: Any, limits: Limits) -> None:
    """Empty, blank and unusual texts, and a huge one, are held, and the other documents are found beside them."""
    odd = [Document(f"odd: {name}", text) for name, text in ODD_TEXTS.items()]
    odd.append(Document("odd: huge", huge_text(limits.huge)))
    index = _index(component)
    try:
        _add(index, odd, "adding unusual texts")
    except AssertionError:
        for document in odd:
            text = (
                f"a text of {len(document.text):,} characters"
                if document.id == "odd: huge"
                else repr(document.text)
            )
            _add(_index(component, ()), [document], f"adding {text} ({document.id})")
        raise
    missing = [document.id for document in (*DOCUMENTS, *odd) if document.id not in index]
    require(
        not missing and len(index) == len(DOCUMENTS) + len(odd),
        f"after adding unusual texts, len() is {len(index)}, expected {len(DOCUMENTS) + len(odd)}, and "
        f"{missing} are not held: a document without words can still be fetched and deleted by its id",
    )
    found = {doc_id for ranking in _retrieve(index, queries(), _ALL) for doc_id in ranking.ids}
    require(
        {"soil", "wing"} <= found,
        f"beside unusual texts, only {sorted(found)} were found, expected 'soil' and 'wing' among them",
    )


CHECKS: Sequence[Callable[[Any, Limits], None]] = (
    thread_safe,  # first, so that a component is first used by many threads at once
    sound_rankings,
    finds_the_best,
    k_is_a_cut,
    ties_survive_the_cut,
    filter_by_ids,
    batch_equals_singles,
    unknown_words,
    odd_queries,
    input_is_unmutated,
    async_equals_sync,
    empty_index,
    encode_changes_nothing,
    delete_is_complete,
    add_replaces,
    updates_equal_a_fresh_index,
    indexes_are_independent,
    odd_documents,
)
