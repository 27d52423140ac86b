"""The contracts of all components. Any object with the right methods qualifies; there is no base class.

Batch is the primitive: one query is a batch of one. Whatever a backend returns is validated
(`hybridrank.component.validation`) before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hybridrank.types import Candidates, Document, Formulation, Progress, Query, Ranking, Role

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Adjuster",
    "AsyncExpander",
    "AsyncMultiRetriever",
    "AsyncReranker",
    "AsyncRetriever",
    "BatchedFusion",
    "CalibratedReranker",
    "ChecksSetup",
    "ConfidentReranker",
    "DeclaresTrust",
    "DocumentStore",
    "Embedder",
    "EngineArm",
    "Expander",
    "FieldReader",
    "Fusion",
    "ImprovingIndex",
    "Index",
    "IndexedRetriever",
    "MultiRetriever",
    "PointwiseReranker",
    "ReadsMetadata",
    "Reranker",
    "Retriever",
    "SavedIndex",
    "SavedIndexedRetriever",
    "VectorAdjuster",
    "VectorIndex",
    "VectorRetriever",
    "VectorSource",
    "WeightModel",
    "WeightedFusion",
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


@runtime_checkable
class Fusion(Protocol):
    """Several rankings -> one ranking."""

    def fuse(self, rankings: Mapping[str, Ranking], *, query: Query) -> Ranking:
        """Merge the rankings of one query; the keys are the pipeline's names for its retrievers.

        If a query has several formulations, the rankings of the second one are keyed ``"bm25 #2"``, and so on.
        """
        ...


@runtime_checkable
class BatchedFusion(Fusion, Protocol):
    """A fusion that merges the rankings of several queries in one call."""

    def fuse_many(
        self, rankings: Sequence[Mapping[str, Ranking]], *, queries: Sequence[Query]
    ) -> Sequence[Ranking]:
        """Merge the rankings of each query, in the order of `queries`; the same results as `fuse`."""
        ...


@runtime_checkable
class WeightedFusion(Fusion, Protocol):
    """A fusion that gives each ranking a weight."""

    def weights_for(self, query: Query, rankings: Mapping[str, Ranking]) -> Mapping[str, float]:
        """The weight of each ranking, at least zero; its keys are those of `rankings`."""
        ...

    def fuse(
        self, rankings: Mapping[str, Ranking], *, query: Query, weights: Mapping[str, float] | None = None
    ) -> Ranking:
        """Like `Fusion.fuse`, with these weights instead of its own."""
        ...


@runtime_checkable
class WeightModel(Protocol):
    """A model that chooses the weights of the arms for each query."""

    def weights(self, query: Query, rankings: Mapping[str, Ranking]) -> Mapping[str, float]:
        """The weight of each arm, at least zero and finite; an arm without one has weight 1.

        The trace records the weights, so that a replay fuses with the same ones.
        """
        ...


@runtime_checkable
class Expander(Protocol):
    """Query -> other formulations of it."""

    def expand(self, queries: Sequence[Query]) -> Sequence[Sequence[Formulation]]:
        """Other formulations of each query, in the order of `queries`; empty if there are none."""
        ...


@runtime_checkable
class AsyncExpander(Protocol):
    """An expander with an asynchronous method, which needs no thread."""

    async def aexpand(self, queries: Sequence[Query]) -> Sequence[Sequence[Formulation]]:
        """Like `Expander.expand`, with the same results."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Scores documents against a query. It never sorts, drops or reorders: the pipeline does."""

    def score(self, batch: Sequence[Candidates]) -> Sequence[Sequence[float]]:
        """One finite score per document, in the documents' order, for each query of the batch; higher is better.

        Scores of one query are comparable with each other; the backend documents whether they are comparable
        across queries.
        """
        ...


@runtime_checkable
class AsyncReranker(Protocol):
    """A reranker with an asynchronous method, which needs no thread."""

    async def ascore(self, batch: Sequence[Candidates]) -> Sequence[Sequence[float]]:
        """Like `Reranker.score`, with the same results."""
        ...


@runtime_checkable
class ChecksSetup(Protocol):
    """A component that can check in advance whether all of its calls would fail."""

    def check_setup(self) -> None:
        """Raise what a call would raise, for example because the environment variable of a key is not set.

        A pipeline calls it when it is created. It is fast: it loads no model and uses no network.
        """
        ...


@runtime_checkable
class CalibratedReranker(Reranker, Protocol):
    """A reranker that declares whether its scores are probabilities of relevance."""

    @property
    def calibrated(self) -> bool:
        """Whether each score is the probability, in 0…1, that the document is relevant."""
        ...


@runtime_checkable
class PointwiseReranker(Reranker, Protocol):
    """A reranker that declares whether it scores each document independently."""

    @property
    def pointwise(self) -> bool:
        """Whether a document's score does not depend on the other documents of a call.

        Under a deadline, such a reranker is called several times per query with a few documents each, unless its
        calls have a large fixed cost.
        """
        ...


@runtime_checkable
class ReadsMetadata(Protocol):
    """A reranker that declares which metadata fields of a document it reads, besides `content`.

    Score caches include these fields in their keys. `Candidates.contents` returns the texts with the fields.
    """

    @property
    def metadata_fields(self) -> Sequence[str]:
        """Names of fields, in the order in which they are read."""
        ...


@runtime_checkable
class ConfidentReranker(Reranker, Protocol):
    """A reranker whose scores express its confidence."""

    @property
    def confidence_range(self) -> tuple[float, float] | None:
        """A best score of at most the first means no good answer; of at least the second, a good one.

        None if unknown. A blend sets the weight of the fused order by it.
        """
        ...


@runtime_checkable
class Adjuster(Protocol):
    """Rescores documents after the reranker by other criteria. It never sorts, drops or reorders."""

    def adjust(self, candidates: Candidates, scores: Sequence[float]) -> Sequence[float]:
        """One finite score per document, in the documents' order; higher is better.

        `scores` are those of the previous stage, on any scale; documents come best first.
        """
        ...


@runtime_checkable
class VectorAdjuster(Adjuster, Protocol):
    """An adjuster that declares whether it reads the documents' vectors."""

    @property
    def needs_vectors(self) -> bool:
        """Whether it needs `Candidates.vectors`. They come from the first arm whose index provides them."""
        ...


@runtime_checkable
class FieldReader(Protocol):
    """A component that reads metadata fields, and knows which types it can read."""

    def field_types(self) -> Mapping[str, Sequence[str]]:
        """Each field that it reads, with the declared types that it can read (`hybridrank.filters.fields`)."""
        ...


@runtime_checkable
class Embedder(Protocol):
    """Texts -> vectors."""

    def embed(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Float32, shape (len(texts), dim), rows in the order of `texts`, each of unit length."""
        ...


@runtime_checkable
class DeclaresTrust(Protocol):
    """A component that declares what a stored configuration can make it do.

    A class without this method is never constructed from a configuration that is stored with untrusted data,
    unless the caller trusts it.
    """

    def trust_needed(self) -> Mapping[str, str]:
        """Options that could run code, use a network, or read a file other than cached models and the
        collection's own files: the option's name -> its effect. The name "" is the whole component; empty:
        nothing.

        It is called after construction, so the constructor must do no work. Nested components are checked
        themselves.
        """
        ...


@runtime_checkable
class DocumentStore(Protocol):
    """Documents by id."""

    def get(self, ids: Collection[str]) -> Mapping[str, Document]:
        """The documents with these ids that exist."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...
