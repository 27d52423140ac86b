"""Every contract between the parts. Any object with the right methods takes part; there is no base class.

Batch is the primitive: one query is a batch of one. Whatever a backend returns is checked
(`hybridrank.component.validation`) before it is believed.
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
    "AsyncReranker",
    "AsyncRetriever",
    "BatchedFusion",
    "CalibratedReranker",
    "ChecksSetup",
    "ConfidentReranker",
    "DeclaresTrust",
    "DocumentStore",
    "Embedder",
    "Expander",
    "FieldReader",
    "Fusion",
    "ImprovingIndex",
    "Index",
    "IndexedRetriever",
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
        """Rank the best `k` documents for each query, in the order of `queries`; fewer where fewer match.

        `k` >= 1. A query with `ids` or `filters` finds only those documents, and still the best `k` of them. A
        collection resolves both into ids for the indexes that it holds, so that those need to know `ids` alone.
        """
        ...


@runtime_checkable
class AsyncRetriever(Protocol):
    """A retriever that waits without a thread."""

    async def aretrieve(self, queries: Sequence[Query], *, k: int) -> Sequence[Ranking]:
        """As `Retriever.retrieve`, with the same answer."""
        ...


@runtime_checkable
class Index(Retriever, Protocol):
    """A retriever over documents that it holds in this process.

    `encode` does the slow part of adding (tokenizing, embedding) and changes no answer, so it may run beside
    searches; `add` and `delete` are quick and exclude searches: their caller sees to that. Everything that can
    fail because of the input fails in `encode`.
    """

    def encode(self, documents: Sequence[Document], *, progress: Progress | None = None) -> Any:
        """Prepare documents for `add`; the result is opaque, and good for this index alone."""
        ...

    def add(self, ids: Sequence[str], encoded: Any) -> None:
        """Hold the encoded documents under `ids` (distinct), in place of any already held under them."""
        ...

    def delete(self, ids: Collection[str]) -> None:
        """Drop these documents; ids that are not held are passed over."""
        ...

    def __len__(self) -> int: ...

    def __contains__(self, doc_id: object, /) -> bool: ...


@runtime_checkable
class IndexedRetriever(Protocol):
    """What a local retriever is before it holds documents: it makes empty indexes."""

    def create_index(self) -> Index:
        """Make an empty index of this configuration."""
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
        """Dimensions of the vectors; None before there are any."""
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
    """An index that gives back the vectors that it holds."""

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Float32, shape (len(ids), dim), as stored, in the order of `ids` (distinct); zeros for one not held."""
        ...


@runtime_checkable
class SavedIndex(Index, Protocol):
    """An index that can be put away in files. It is derived data: its owner can always build it anew."""

    def save(self, path: Path) -> None:
        """Write the index to `path`, a directory that does not exist yet. Changes no answer; excludes changes."""
        ...


@runtime_checkable
class SavedIndexedRetriever(IndexedRetriever, Protocol):
    """An indexer that opens what its index has saved."""

    def load_index(self, path: Path) -> Index:
        """Open what `SavedIndex.save` wrote; its files may stay mapped into memory, and are never changed.

        Raises:
            StorageError: the files cannot be used (absent, damaged, of another version or analyzer).
        """
        ...


@runtime_checkable
class ImprovingIndex(Index, Protocol):
    """An index that pays for being reorganized when it has grown or shrunk."""

    def improve(self) -> Callable[[], None] | None:
        """Do the slow part beside searches (train, tune, merge), and return the quick step that excludes them.

        None where there is nothing to gain. The index is not changed between the two: their caller sees to that.
        """
        ...

    def statistics(self) -> Mapping[str, Any]:
        """JSON values that tell how the index is built and how well it finds."""
        ...


@runtime_checkable
class Fusion(Protocol):
    """Several rankings -> one ranking."""

    def fuse(self, rankings: Mapping[str, Ranking], *, query: Query) -> Ranking:
        """Merge the rankings of one query; the keys are the pipeline's names for its retrievers.

        Where a query has several formulations, the rankings of the second one are keyed ``"bm25 #2"``, and so on.
        """
        ...


@runtime_checkable
class BatchedFusion(Fusion, Protocol):
    """A fusion that merges the rankings of several queries in one call."""

    def fuse_many(
        self, rankings: Sequence[Mapping[str, Ranking]], *, queries: Sequence[Query]
    ) -> Sequence[Ranking]:
        """Merge the rankings of each query, in the order of `queries`; the same answers as `fuse`."""
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
        """As `Fusion.fuse`, with these weights instead of its own."""
        ...


@runtime_checkable
class WeightModel(Protocol):
    """Weights of the arms, chosen for each query."""

    def weights(self, query: Query, rankings: Mapping[str, Ranking]) -> Mapping[str, float]:
        """The weight of each arm, at least zero and finite; an arm without one has weight 1.

        The trace records the weights, so that a replay fuses with the same ones.
        """
        ...


@runtime_checkable
class Expander(Protocol):
    """A question -> further formulations of it."""

    def expand(self, queries: Sequence[Query]) -> Sequence[Sequence[Formulation]]:
        """Further formulations of each query, in the order of `queries`; empty where there are none."""
        ...


@runtime_checkable
class AsyncExpander(Protocol):
    """An expander that waits without a thread."""

    async def aexpand(self, queries: Sequence[Query]) -> Sequence[Sequence[Formulation]]:
        """As `Expander.expand`, with the same answer."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Scores documents against a query. It never sorts, drops or reorders: the pipeline does."""

    def score(self, batch: Sequence[Candidates]) -> Sequence[Sequence[float]]:
        """One finite score per document, in the documents' order, for each of the batch; higher is better.

        Scores of one query are comparable with each other; whether they are across queries is the
        backend's to document.
        """
        ...


@runtime_checkable
class AsyncReranker(Protocol):
    """A reranker that waits without a thread."""

    async def ascore(self, batch: Sequence[Candidates]) -> Sequence[Sequence[float]]:
        """As `Reranker.score`, with the same answer."""
        ...


@runtime_checkable
class ChecksSetup(Protocol):
    """A part that knows beforehand what would make every one of its calls fail."""

    def check_setup(self) -> None:
        """Raise what a call would raise: the environment variable of a key is not set, say.

        A pipeline asks when it is made. Quick: it loads no model and reaches no network.
        """
        ...


@runtime_checkable
class CalibratedReranker(Reranker, Protocol):
    """A reranker that says whether its scores are probabilities of relevance."""

    @property
    def calibrated(self) -> bool:
        """Whether each score is the probability, in 0…1, that the document is relevant."""
        ...


@runtime_checkable
class PointwiseReranker(Reranker, Protocol):
    """A reranker that says whether it scores each document for itself."""

    @property
    def pointwise(self) -> bool:
        """Whether a document's score is the same whatever it is scored with, in whatever calls.

        Under a deadline such a reranker is called several times for one query, with some of its documents each,
        unless its calls are seen to cost much whatever they read.
        """
        ...


@runtime_checkable
class ReadsMetadata(Protocol):
    """A reranker that says which fields of a document's metadata it reads, besides `content`.

    Caches of scores know by it what a score depends on. `Candidates.contents` gives the texts with the fields.
    """

    @property
    def metadata_fields(self) -> Sequence[str]:
        """Names of fields, in the order in which they are read."""
        ...


@runtime_checkable
class ConfidentReranker(Reranker, Protocol):
    """A reranker whose scores tell how sure it is."""

    @property
    def confidence_range(self) -> tuple[float, float] | None:
        """Where a query's best score is at most the first, it knows no good answer; at least the second, it does.

        None where that is not known. A blend weighs the fused order by it.
        """
        ...


@runtime_checkable
class Adjuster(Protocol):
    """Scores documents anew after the reranker, by more than relevance. It never sorts, drops or reorders."""

    def adjust(self, candidates: Candidates, scores: Sequence[float]) -> Sequence[float]:
        """One finite score per document, in the documents' order; higher is better.

        `scores` are those of the stage before, on whatever scale it has; documents come best first.
        """
        ...


@runtime_checkable
class VectorAdjuster(Adjuster, Protocol):
    """An adjuster that says whether it reads the documents' vectors."""

    @property
    def needs_vectors(self) -> bool:
        """Whether `Candidates.vectors` have to be there. They come from the first arm whose index gives them."""
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
    """A component that says what a stored configuration may make it do.

    A class without this method is never made from a configuration that came with somebody else's data, unless the
    caller trusts it.
    """

    def trust_needed(self) -> Mapping[str, str]:
        """Options that could run code, reach a network, or read a file that is neither a cached model nor the
        collection's: the option's name -> what it would do. The name "" is the whole component; empty: nothing.

        It is asked after the component was made, so making it must do no work. Components that it holds are asked
        themselves.
        """
        ...


@runtime_checkable
class DocumentStore(Protocol):
    """Documents by id."""

    def get(self, ids: Collection[str]) -> Mapping[str, Document]:
        """Those of the documents that are there."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...
