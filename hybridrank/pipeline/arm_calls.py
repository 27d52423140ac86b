"""Calling an arm: the queries that it can search for, and the validation of what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybridrank.component.protocols import Retriever
from hybridrank.component.validation import validate_rankings
from hybridrank.errors import BackendResponseError
from hybridrank.pipeline.local_arms import Rankings
from hybridrank.types import Query, Ranking

__all__ = ["answerable", "retrieve_from", "spread", "validated"]


def validated(name: str, rankings: Any, queries: Sequence[Query], k: int) -> Rankings:
    """The rankings that an arm returned.

    Raises:
        BackendResponseError: they break the contract, or hold documents that a query's ids exclude.
    """
    source = f"retriever {name!r}"
    checked = validate_rankings(rankings, queries=len(queries), k=k, source=source)
    for query, ranking in zip(queries, checked, strict=True):
        if query.ids is not None and not query.ids.issuperset(ranking.ids):
            raise BackendResponseError(f"{source} returned documents that are not among the query's ids")
    return checked


def answerable(queries: Sequence[Query]) -> list[Query]:
    """The queries that an arm can search for: those with a text or a vector for it."""
    return [query for query in queries if query.vector is not None or not query.is_blank]


def spread(rankings: Rankings, queries: Sequence[Query], answered: Sequence[Query]) -> Rankings:
    """The rankings in the order of `queries`, empty for the other queries."""
    if len(answered) == len(queries):
        return rankings
    found = {id(query): ranking for query, ranking in zip(answered, rankings, strict=True)}
    return [found.get(id(query), Ranking()) for query in queries]


def retrieve_from(name: str, arm: Retriever, queries: Sequence[Query], k: int) -> Rankings:
    """Search an arm for the queries that it can search for."""
    asked = answerable(queries)
    found = validated(name, arm.retrieve(asked, k=k), asked, k) if asked else []
    return spread(found, queries, asked)
