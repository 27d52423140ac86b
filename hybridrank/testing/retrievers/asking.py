"""How the checks of retrievers make indexes and ask them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybridrank.component.protocols import Index, IndexedRetriever, Retriever
from hybridrank.testing.kit import Tolerances, call, require, same_ranking, skip, sound_ranking
from hybridrank.testing.samples import DOCUMENTS, queries
from hybridrank.types import Document, Query, Ranking

__all__ = [
    "ALL",
    "add_documents",
    "new_index",
    "require_held",
    "retrieve",
    "same_answers",
    "searchable",
    "validated",
]

ALL = 1000
"""More than the kit's documents."""


def add_documents(index: Index, documents: Sequence[Document], what: str = "adding documents") -> None:
    """Encode and add documents."""
    encoded = call(lambda: index.encode(documents), f"{what}: encode()")
    call(lambda: index.add([document.id for document in documents], encoded), f"{what}: add()")


def new_index(component: Any, documents: Sequence[Document] = DOCUMENTS) -> Index:
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
        add_documents(index, documents)
    return index


def searchable(component: Any) -> Retriever:
    """Return what can be searched: a new index of the kit's documents, or the component itself."""
    retriever = new_index(component) if isinstance(component, IndexedRetriever) else component
    require(
        isinstance(retriever, Retriever), f"{type(retriever).__name__} has neither retrieve() nor create_index()"
    )
    return retriever


def retrieve(retriever: Retriever, queries: Sequence[Query], k: int, what: str = "retrieve()") -> list[Ranking]:
    """Retrieve, and check what came, exactly against the contract."""
    return validated(call(lambda: retriever.retrieve(queries, k=k), what), queries, k, what)


def validated(rankings: Any, queries: Sequence[Query], k: int, what: str) -> list[Ranking]:
    """Return the rankings, if there is one for each query and all keep the contract."""
    require(
        hasattr(rankings, "__len__") and len(rankings) == len(queries),
        f"{what} returned {len(rankings) if hasattr(rankings, '__len__') else type(rankings).__name__} rankings, "
        f"expected {len(queries)}: one for each query, in their order, empty where nothing was found",
    )
    return [
        sound_ranking(ranking, k=k, what=f"{what} of {query.text[:60]!r}")
        for ranking, query in zip(rankings, queries, strict=True)
    ]


def same_answers(got: Retriever, expected: Retriever, tolerances: Tolerances, what: str, why: str) -> None:
    """Fail unless two retrievers rank the same for the kit's queries."""
    asked = queries()
    for query, ranking, other in zip(
        asked, retrieve(got, asked, ALL), retrieve(expected, asked, ALL), strict=True
    ):
        same_ranking(
            ranking, other, tolerance=tolerances.tolerance, what=f"{what}, the query {query.text!r}", why=why
        )


def require_held(index: Index, documents: Mapping[str, Document], what: str) -> None:
    """Fail unless the index says that it holds exactly these documents."""
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
