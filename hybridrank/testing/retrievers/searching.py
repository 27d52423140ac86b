"""Checks of what a retriever finds: order, ties, the cut at k, ids, batches, threads."""

# ruff: noqa: ARG001  (every check takes the component and the tolerances)

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from hybridrank.component.protocols import AsyncRetriever, Index, IndexedRetriever, Retriever
from hybridrank.testing.kit import THREADS, Tolerances, call, in_new_loop, in_threads, require, same_ranking, skip
from hybridrank.testing.retrievers.asking import ALL, new_index, retrieve, searchable, validated
from hybridrank.testing.samples import DOCUMENTS, ODD_TEXTS, TWINS, UNKNOWN_WORDS, huge_text, queries
from hybridrank.types import Document, Query, Ranking

__all__ = ["CHECKS", "ENGINE_CHECKS", "require_the_best", "require_tie_order"]


def thread_safe(component: Any, tolerances: Tolerances) -> None:
    """Eight threads that search at once, some while others encode, get the rankings that each gets alone."""
    retriever = searchable(component)
    asked = queries()

    def search(number: int) -> list[Ranking]:
        if isinstance(retriever, Index) and number % 4 == 3:
            retriever.encode(DOCUMENTS[:2])
        return [retrieve(retriever, [asked[(number + turn) % len(asked)]], 3)[0] for turn in range(3)]

    together = in_threads(search)
    alone = [retrieve(retriever, [query], 3)[0] for query in asked]
    for number, rankings in enumerate(together):
        for turn, ranking in enumerate(rankings):
            at = (number + turn) % len(asked)
            same_ranking(
                ranking,
                alone[at],
                tolerance=tolerances.tolerance,
                what=f"with {THREADS} threads at once, the query {asked[at].text!r}",
                why="A server runs many searches at once on one index: keep what belongs to one call in local "
                "variables",
            )


def sound_rankings(component: Any, tolerances: Tolerances) -> None:
    """Best first, ties by id, each id once, finite scores, at most k, only documents that are held."""
    retriever = searchable(component)
    for k in (1, 3, ALL):
        rankings = retrieve(retriever, queries(), k)
        if isinstance(retriever, Index):
            strangers = {doc_id for ranking in rankings for doc_id in ranking.ids if doc_id not in retriever}
            require(
                not strangers, f"retrieve() returned the ids {sorted(strangers)}, which the index doesn't hold"
            )
    retrieve(retriever, [], 3, "retrieve() of no queries")


def finds_the_best(component: Any, tolerances: Tolerances) -> None:
    """A query in a document's own words finds that document first, and its twin with the same score."""
    require_the_best(new_index(component))


def require_the_best(retriever: Retriever) -> None:
    """Fail unless a document's own words find it first, in a retriever that holds the kit's documents."""
    (ranking,) = retrieve(retriever, [Query(DOCUMENTS[4].text)], ALL)
    require(
        ranking.ids[:2] == TWINS,
        f"a query that is the text of {TWINS[0]!r} and {TWINS[1]!r} found {list(ranking.ids[:4])}, expected these "
        "two first, by id: a higher score is better, and ties are broken by id",
    )


def k_is_a_cut(component: Any, tolerances: Tolerances) -> None:
    """The best k are the first k of the best many, ties included; k may exceed the number of documents."""
    retriever = searchable(component)
    asked = queries()
    for query, full in zip(asked, retrieve(retriever, asked, ALL), strict=True):
        for k in (1, 2, 3, 5):
            same_ranking(
                retrieve(retriever, [query], k)[0],
                Ranking(full.ids[:k], full.scores[:k]),
                tolerance=tolerances.tolerance,
                what=f"the best {k} for {query.text!r}, compared with the first {k} of the best {ALL}",
                why="Pages of results would overlap or leave documents out",
            )


def ties_survive_the_cut(component: Any, tolerances: Tolerances) -> None:
    """Where k cuts through a tie, the smaller id stays."""
    require_tie_order(new_index(component))


def require_tie_order(retriever: Retriever) -> None:
    """Fail unless the smaller id of a tie is kept, in a retriever that holds the kit's documents."""
    (ranking,) = retrieve(retriever, [Query(DOCUMENTS[4].text)], 1)
    require(
        ranking.ids == TWINS[:1],
        f"for k = 1, {TWINS[0]!r} and {TWINS[1]!r} tie as the best, and {list(ranking.ids)} was returned, "
        f"expected [{TWINS[0]!r}]: select the k best by (-score, id), not by score alone",
    )


def filter_by_ids(component: Any, tolerances: Tolerances) -> None:
    """A query with ids ranks just these documents, as the full ranking does, before k cuts."""
    retriever = searchable(component)
    for query in queries():
        full = retrieve(retriever, [query], ALL)[0]
        for step in (2, 3):
            allowed = frozenset(full.ids[1::step])
            expected = [(d, s) for d, s in zip(full.ids, full.scores, strict=True) if d in allowed]
            for k in (1, ALL):
                (found,) = retrieve(retriever, [Query(query.text, ids=allowed | {"no such id"})], k)
                same_ranking(
                    found,
                    Ranking(tuple(d for d, _ in expected[:k]), tuple(s for _, s in expected[:k])),
                    tolerance=tolerances.tolerance,
                    what=f"the query {query.text!r} with ids = {sorted(allowed)} and k = {k}",
                    why="A filter that is applied after the cut loses results, and one that is ignored shows "
                    "documents to people who may not see them",
                )
        for nothing in (frozenset[str](), frozenset({"no such id"})):
            (found,) = retrieve(retriever, [Query(query.text, ids=nothing)], 3)
            require(
                not found.ids,
                f"a query with ids = {sorted(nothing)} found {list(found.ids)}, expected nothing: an empty filter "
                "allows no document, and is not the absence of a filter",
            )


def batch_equals_singles(component: Any, tolerances: Tolerances) -> None:
    """A query gets the same ranking alone, in a batch, and in a batch in another order, twice."""
    retriever = searchable(component)
    asked = [*queries(), Query(queries()[0].text, ids=frozenset({DOCUMENTS[0].id, DOCUMENTS[2].id}))]
    alone = [retrieve(retriever, [query], 3)[0] for query in asked]
    for turned in (asked, asked[::-1]):
        expected = alone if turned is asked else alone[::-1]
        for query, ranking, single in zip(turned, retrieve(retriever, turned, 3), expected, strict=True):
            same_ranking(
                ranking,
                single,
                tolerance=tolerances.tolerance,
                what=f"the query {query.text!r} in a batch of {len(asked)}",
                why="A user's results would depend on who else searches, or be someone else's",
            )


def unknown_words(component: Any, tolerances: Tolerances) -> None:
    """A query of words that no document holds is no error."""
    retrieve(searchable(component), [Query(UNKNOWN_WORDS)], 3)


def odd_queries(component: Any, tolerances: Tolerances) -> None:
    """Unusual queries, and a long one, get a sound ranking."""
    retriever = searchable(component)
    asked = [Query(text) for text in ODD_TEXTS.values() if text.strip()]
    retrieve(retriever, [*asked, Query(huge_text(10_000))], 3, "retrieve()")


def input_is_unmutated(component: Any, tolerances: Tolerances) -> None:
    """The lists of queries and of documents, and the documents' metadata, are as they were."""
    documents = [Document(d.id, d.text, d.title, copy.deepcopy(dict(d.metadata))) for d in DOCUMENTS]
    ids = [document.id for document in documents]
    doomed = ids[:2]
    retriever = component
    if isinstance(component, IndexedRetriever):
        retriever = index = new_index(component, ())
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


def async_equals_sync(component: Any, tolerances: Tolerances) -> None:
    """`aretrieve` gives the rankings of `retrieve`, twice at once, and again in a second event loop."""
    retriever = searchable(component)
    if not isinstance(retriever, AsyncRetriever):
        raise skip("it has no aretrieve(): the pipeline gives retrieve() a thread")
    asked = queries()
    expected = retrieve(retriever, asked, 3)

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
            for ranking, other in zip(validated(rankings, asked, 3, "aretrieve()"), expected, strict=True):
                same_ranking(
                    ranking,
                    other,
                    tolerance=tolerances.tolerance,
                    what=f"aretrieve() in {loop}",
                    why="search() and asearch() promise the same results: let both share the code around the wait",
                )


ENGINE_CHECKS: Sequence[Callable[[Any, Tolerances], None]] = (
    thread_safe,  # first, so that a component is first used by many threads at once
    sound_rankings,
    k_is_a_cut,
    filter_by_ids,
    batch_equals_singles,
    unknown_words,
    odd_queries,
    input_is_unmutated,
    async_equals_sync,
)
"""Checks of any retriever that holds documents, whichever they are."""

CHECKS: Sequence[Callable[[Any, Tolerances], None]] = (*ENGINE_CHECKS, finds_the_best, ties_survive_the_cut)
