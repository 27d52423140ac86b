"""The documents that a pipeline sees: all of them, or those that a trusted filter matches."""

from __future__ import annotations

from collections.abc import Collection as Sized
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from hybridrank.collection.documents import normal_metadata
from hybridrank.collection.protocol import SearchableCollection
from hybridrank.errors import InputError
from hybridrank.filters.language import Filter
from hybridrank.types import Document, Passage, Query

__all__ = ["Scope"]

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Scope:
    """A collection, and the filter that bounds everything done with it; None is all of it."""

    collection: SearchableCollection
    filters: Filter | None = None

    def narrowed(self, filters: Filter) -> Filter:
        """The filter of the documents in this scope that match `filters` too."""
        return filters if self.filters is None else self.filters & filters

    def queries(self, queries: Sequence[Query]) -> list[Query]:
        """The queries within this scope; their filters' values have the form of the declared fields.

        Raises:
            InputError: a filter does not fit the type of a declared field; the message has the path.
        """
        within = [query.within(self.filters) for query in queries]
        if all(query.filters is None and query.scope is None for query in within) or not (
            types := self.collection.fields
        ):
            return within
        return [
            replace(
                query,
                filters=None if query.filters is None else types.bind(query.filters),
                scope=None if query.scope is None else types.bind(query.scope),
            )
            for query in within
        ]

    def get(self, ids: Sized[str]) -> Mapping[str, Document]:
        """The documents with these ids that are in scope."""
        found = self.collection.get(ids)
        if self.filters is None:
            return found
        filters = self.collection.fields.bind(self.filters)
        parents = self.collection.get({each.parent for each in found.values() if isinstance(each, Passage)})
        whole = {
            doc_id: parents.get(each.parent) if isinstance(each, Passage) else each
            for doc_id, each in found.items()
        }
        return {
            doc_id: found[doc_id]
            for doc_id, document in whole.items()
            if document is not None and filters.matches(document.metadata)
        }

    def count(self) -> int:
        """How many documents are in scope."""
        return len(self.collection) if self.filters is None else self.collection.count(filters=self.filters)

    def check(self, documents: Iterable[Document]) -> Iterable[Document]:
        """The documents, unchanged.

        Raises:
            InputError: one is outside the scope, or would replace a document that is.
        """
        return documents if self.filters is None else self._checked(documents, self.filters)

    def _checked(self, documents: Iterable[Document], filters: Filter) -> Iterator[Document]:
        types = self.collection.fields
        filters = types.bind(filters)
        remaining = iter(documents)
        while some := list(islice(remaining, _BATCH)):
            ids = [document.id for document in some if isinstance(document, Document)]
            for held in self.collection.get(ids).values():
                if not isinstance(held, Passage) and not filters.matches(held.metadata):
                    raise InputError(f"the id {held.id!r} is taken by a document outside this pipeline's scope")
            for document in some:
                if isinstance(document, Document) and not filters.matches(
                    normal_metadata(document.id, document.metadata, types)
                ):
                    raise InputError(f"document {document.id!r} is outside this pipeline's scope")
                yield document

    def delete(self, ids: Iterable[str], filters: Filter | Mapping[str, Any] | None) -> int:
        """Delete documents in scope, by id and those that match. Returns how many there were."""
        if self.filters is None:
            return self.collection.delete(ids, filters=filters)
        if isinstance(ids, str):
            return self.collection.delete(ids)  # raises the error
        within = None if filters is None else self.narrowed(Filter.of(filters))
        return self.collection.delete(list(self.get(list(ids))), filters=within)
