"""The contracts of retrievers: query -> ranking; of their indexes, and of engines that hold documents."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hybridrank.component.protocols.embedders import Embedder
from hybridrank.types import Document, Progress, Query, Ranking

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "AsyncMultiRetriever",
    "AsyncRetriever",
    "EngineArm",
    "ImprovingIndex",
    "Index",
    "IndexedRetriever",
    "MultiRetriever",
    "Retriever",
    "SavedIndex",
    "SavedIndexedRetriever",
    "VectorIndex",
    "VectorRetriever",
    "VectorSource",
]


@runtime_checkable
class Retriever(Protocol):
    """One arm of a hybrid search: query -> ranking."""

    def retrieve(self, queries: Sequence[Query], *, k: int) -> Sequence[Ranking]:
        """Rank the best `k` documents for each query, in the order of `queries`; fewer if fewer match.

        `k` >= 1. A query with `ids` or `filters` finds only those documents, and still the best `k` of them. A
        collection resolves both into ids for its own indexes, which therefore only need to support `ids`.
        """
        ...


@runtime_checkable
class AsyncRetriever(Protocol):
    """A retriever with an asynchronous method, which needs no thread."""

    async def aretrieve(self, queries: Sequence[Query], *, k: int) -> Sequence[Ranking]:
        """Like `Retriever.retrieve`, with the same results."""
        ...


@runtime_checkable
class MultiRetriever(Protocol):
    """An engine that ranks for several arms in one call."""

    def retrieve_many(self, queries: Mapping[str, Sequence[Query]], *, k: int) -> Mapping[str, Sequence[Ranking]]:
        """Rank the best `k` documents for each query of each arm; the keys are the engine's names for its arms.

        The answers are those of each `EngineArm`. The arms' queries may differ in their vectors.
        """
        ...


@runtime_checkable
class AsyncMultiRetriever(Protocol):
    """An engine of several arms that waits without a thread."""

    async def aretrieve_many(
        self, queries: Mapping[str, Sequence[Query]], *, k: int
    ) -> Mapping[str, Sequence[Ranking]]:
        """As `MultiRetriever.retrieve_many`, with the same answer."""
        ...


@runtime_checkable
class EngineArm(Retriever, Protocol):
    """One arm of an engine: a pipeline asks equal engines once for all of their arms."""

    @property
    def engine(self) -> MultiRetriever:
        """The engine; it compares equal to the engine of another arm where one call can serve both."""
        ...

    @property
    def arm(self) -> str:
        """The engine's name for this arm."""
        ...


@runtime_checkable
class Index(Retriever, Protocol):
    """A retriever over documents that it holds in this process.

    `encode` does the slow part of adding (tokenizing, embedding) and changes no results, so it may run
    concurrently with searches. `add` and `delete` are fast and must not run concurrently with searches; the
    caller ensures this. Everything that can fail because of the input fails in `encode`.
    """

    def encode(self, documents: Sequence[Document], *, progress: Progress | None = None) -> Any:
        """Prepare documents for `add`; the result is opaque, and valid only for this index."""
        ...

    def add(self, ids: Sequence[str], encoded: Any) -> None:
        """Add the encoded documents under `ids` (distinct), replacing documents with the same ids."""
        ...

    def delete(self, ids: Collection[str]) -> None:
        """Delete these documents; unknown ids are ignored."""
        ...

    def __len__(self) -> int: ...

    def __contains__(self, doc_id: object, /) -> bool: ...


@runtime_checkable
class IndexedRetriever(Protocol):
    """The configuration of a local retriever, which creates empty indexes."""

    def create_index(self) -> Index:
        """Create an empty index of this configuration."""
        ...


@runtime_checkable
class VectorIndex(Index, Protocol):
    """An index whose encoded documents are vectors, float32 (n, dim) of unit length.

    A collection stores them with the documents, so that nothing is embedded twice.
    """

    @property
    def embedder(self) -> Embedder:
        """The embedder that produced the vectors."""
        ...

    @property
    def dim(self) -> int | None:
        """Dimension of the vectors; None while there are none."""
        ...


@runtime_checkable
class VectorRetriever(IndexedRetriever, Protocol):
    """A retriever whose index holds the vectors of an embedder, as a `VectorIndex` that is a `VectorSource`."""

    @property
    def embedder(self) -> Embedder:
        """The embedder that produces the vectors."""
        ...


@runtime_checkable
class VectorSource(Protocol):
    """An index that returns its stored vectors."""

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Float32, shape (len(ids), dim), as stored, in the order of `ids` (distinct); zeros for unknown ids."""
        ...


@runtime_checkable
class SavedIndex(Index, Protocol):
    """An index that can be saved to files. It is derived data: its owner can always rebuild it."""

    def save(self, path: Path) -> None:
        """Write the index to `path`, a directory that does not exist yet. Must not run while the index changes."""
        ...


@runtime_checkable
class SavedIndexedRetriever(IndexedRetriever, Protocol):
    """An indexed retriever that can load saved indexes."""

    def load_index(self, path: Path) -> Index:
        """Load the index that `SavedIndex.save` wrote; its files may stay memory-mapped, and are never changed.

        Raises:
            StorageError: the files cannot be used (absent, damaged, of another version or analyzer).
        """
        ...


@runtime_checkable
class ImprovingIndex(Index, Protocol):
    """An index that benefits from reorganization after it has grown or shrunk."""

    def improve(self) -> Callable[[], None] | None:
        """Do the slow part (train, tune, merge) concurrently with searches, and return the fast final step.

        The final step must not run concurrently with searches. None if there is nothing to improve. The caller
        ensures that the index does not change between the two.
        """
        ...

    def statistics(self) -> Mapping[str, Any]:
        """JSON values that describe the index's structure and its measured recall."""
        ...
