"""The contracts of adjusters: scores -> new scores, by more than relevance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from hybridrank.types import Candidates

__all__ = ["Adjuster", "FieldReader", "VectorAdjuster"]


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
