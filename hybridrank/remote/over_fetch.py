"""Over-fetching: the best k documents that match a filter, from an engine that evaluates only a part of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from hybridrank.errors import BackendResponseError, InputError
from hybridrank.filters.language import Filter
from hybridrank.types import Document, Ranking

__all__ = ["OverFetch"]


class OverFetch:
    """Requests more documents than needed, drops those that do not match, and repeats until k are left.

    `rest` is the part of the filter that the engine does not evaluate (`hybridrank.filters.split_filter`), and
    `ids` are the only documents allowed, if the engine cannot restrict a search to them; None for either drops
    nothing. The first request is for `factor` times k documents, or k if nothing is dropped; each later one is
    for `factor` times as many as the previous one, up to `limit`, or k if that is more.

    One object serves one query. It makes no calls, so it works with threads and with event loops::

        fetch = OverFetch(rest, k=k)
        while fetch.wanted:
            fetch.take(await self._search(query, native, limit=fetch.wanted))
        return fetch.ranking()

    The ranking's details count the cost: ``requests``, ``fetched`` (documents in the last answer) and ``dropped``
    (those of them that do not match). ``limit_reached`` is true where fewer than k documents are left, although
    the engine may hold more that match.

    >>> fetch = OverFetch(Filter.of({"year": {"$gte": 2020}}), k=1, factor=2)
    >>> years = {"a": 2018, "b": 2019, "c": 2021, "d": 2022}
    >>> answer = Ranking.of({doc_id: -float(place) for place, doc_id in enumerate(years)})
    >>> while wanted := fetch.wanted:
    ...     ids = answer.ids[:wanted]
    ...     documents = {doc_id: Document(doc_id, "", metadata={"year": years[doc_id]}) for doc_id in ids}
    ...     fetch.take(Ranking(ids, answer.scores[:wanted], documents))
    >>> fetch.ranking().ids, fetch.ranking().details
    (('c',), {'requests': 2, 'fetched': 4, 'dropped': 2})

    Raises:
        InputError: k, `factor` or `limit` is too small.
    """

    def __init__(
        self,
        rest: Filter | None = None,
        *,
        k: int,
        ids: Collection[str] | None = None,
        factor: int = 4,
        limit: int = 10_000,
    ) -> None:
        for name, value, least in (("k", k, 1), ("factor", factor, 2), ("limit", limit, 1)):
            if value < least:
                raise InputError(f"{name} must be at least {least}, not {value}")
        self._rest = rest
        self._ids = ids
        self._k = k
        self._factor = factor
        self._limit = max(k, limit)
        self._drops = rest is not None or ids is not None
        self._wanted = min(self._limit, factor * k) if self._drops else k
        self._requests = 0
        self._limit_reached = False
        self._last = Ranking()
        self._kept: list[int] = []

    @property
    def wanted(self) -> int:
        """The number of best documents to request from the engine; 0 when no further request is needed."""
        return self._wanted

    def take(self, ranking: Ranking) -> None:
        """Take the response to the request for `wanted` documents, best first.

        Raises:
            BackendResponseError: a document that the filter has to look at was not brought along.
        """
        asked, self._wanted = self._wanted, 0
        self._requests += 1
        self._last = ranking
        self._kept = [place for place, doc_id in enumerate(ranking.ids) if self._allows(doc_id, ranking)]
        if len(self._kept) >= self._k or len(ranking) < asked or not self._drops:
            return
        if asked == self._limit:
            self._limit_reached = True
        else:
            self._wanted = min(self._limit, self._factor * asked)

    def _allows(self, doc_id: str, ranking: Ranking) -> bool:
        if self._ids is not None and doc_id not in self._ids:
            return False
        if self._rest is None:
            return True
        document: Document | None = ranking.documents.get(doc_id)
        if document is None:
            raise BackendResponseError(
                f"the answer lacks document {doc_id!r} itself, whose metadata decide whether it matches the "
                "filter: request the metadata with each hit, and return them in Ranking.documents"
            )
        return self._rest.matches(document.metadata)

    def ranking(self) -> Ranking:
        """The best k documents that match, with the details of the last response and the counts."""
        last, kept = self._last, self._kept[: self._k]
        ids = tuple(last.ids[place] for place in kept)
        details: dict[str, Any] = {**last.details, "requests": self._requests}
        if self._drops:
            details |= {"fetched": len(last), "dropped": len(last) - len(self._kept)}
        if self._limit_reached:
            details["limit_reached"] = True
        return Ranking(
            ids,
            tuple(last.scores[place] for place in kept),
            {doc_id: last.documents[doc_id] for doc_id in ids if doc_id in last.documents},
            details,
        )
