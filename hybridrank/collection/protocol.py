"""The protocol of collections, wherever their documents are."""

from __future__ import annotations

from collections.abc import Collection as SizedIterable
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from hybridrank.collection.indexes.view import View
from hybridrank.component.protocols import DocumentSplitter
from hybridrank.filters.fields import FieldTypes
from hybridrank.filters.language import Filter
from hybridrank.types import Document, Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Capability", "SearchableCollection"]

Capability: TypeAlias = Literal["durable", "sources", "snapshot", "reindex"]
"""What only some collections can do.

``"durable"``: added documents are on disk, under `SearchableCollection.path`; ``"sources"``: documents are put and
dropped by source, as by `Collection.put_source`; ``"snapshot"``: `Collection.snapshot` copies all of it;
``"reindex"``: `Collection.reindex` changes how it splits, embeds and indexes.
"""


class SearchableCollection(Protocol):
    """Documents with the local indexes over them, changed together: in memory, or on disk.

    A caller that needs more checks `capabilities`, never a class.
    """

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The capabilities of this collection beyond the protocol."""
        ...

    @property
    def path(self) -> Path | None:
        """The directory of a durable collection; None for one in memory."""
        ...

    @property
    def writable(self) -> bool:
        """Whether documents can be added, and files written to its directory, if it has one."""
        ...

    @property
    def layout(self) -> Any:
        """What its units and indexes are made by: an object with `retrievers` (by name), `splitter` and `config`.

        Another object after the collection was reindexed, or None: it never is. It is the `View.layout` of its
        searches.
        """
        ...

    @property
    def splitter(self) -> DocumentSplitter | None:
        """The splitter of documents into passages; None if documents are indexed whole."""
        ...

    @property
    def fields(self) -> FieldTypes:
        """The declared types of metadata fields."""
        ...

    def declare_fields(self, fields: Mapping[str, Any] | FieldTypes) -> None:
        """Declare types of further metadata fields, which existing documents must match."""
        ...

    def reading(self) -> AbstractContextManager[View]:
        """Hold one state: inside, the documents and every index belong together."""
        ...

    def get(self, ids: SizedIterable[str]) -> dict[str, Document]:
        """Return the documents with these ids that exist."""
        ...

    def count(self, filters: Filter | Mapping[str, Any] | None = None) -> int:
        """Count the documents, or those that match."""
        ...

    def documents(self, filters: Filter | Mapping[str, Any] | None = None) -> Iterator[Document]:
        """Yield all documents, or those that match, the last added last."""
        ...

    def units(self) -> Iterator[Document]:
        """Yield the units of retrieval, without metadata: documents, or passages if they are split."""
        ...

    def statistics(self) -> dict[str, Any]:
        """Return JSON values: the number of documents, and the structure of each arm."""
        ...

    def add(
        self,
        documents: Iterable[Document],
        *,
        vectors: Mapping[str, NDArray[np.float32]] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Add documents, replacing documents with the same ids; return how many."""
        ...

    def delete(self, ids: Iterable[str] = (), *, filters: Filter | Mapping[str, Any] | None = None) -> int:
        """Delete documents by id, and those that match; return how many."""
        ...

    def update_metadata(self, changes: Mapping[str, Mapping[str, Any]]) -> int:
        """Set metadata fields of documents, by id; None removes a field. Return how many documents changed."""
        ...

    def compact(self) -> None:
        """Reorganize the indexes if it pays."""
        ...

    def close(self) -> None:
        """Release all resources; nothing is lost."""
        ...

    def __len__(self) -> int: ...

    def __contains__(self, doc_id: object, /) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...
