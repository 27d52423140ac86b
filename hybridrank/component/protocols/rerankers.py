"""The contracts of rerankers: (query, documents) -> one score per document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from hybridrank.types import Candidates

__all__ = [
    "AsyncReranker",
    "CalibratedReranker",
    "ConfidentReranker",
    "FittedReranker",
    "PointwiseReranker",
    "ReadsMetadata",
    "Reranker",
]


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
class FittedReranker(Reranker, Protocol):
    """A reranker that brings fitted options of `hybridrank.rerank.Relevance` for its scores."""

    @property
    def fitted_relevance(self) -> Sequence[Mapping[str, Any]]:
        """Options by which a pipeline turns its scores into relevance, best first; the first that fits is used.

        Each has ``fitted_for``, with the reranker's identity as ``reranker``, and those of the embedders of the
        arms whose scores it reads. Empty if there are none.
        """
        ...
