"""Diversity: a document scores lower the more similar it is to one ranked above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from hybridrank.component.base import Component
from hybridrank.errors import InputError
from hybridrank.fusion.normalization import min_max
from hybridrank.runtime.deadline import check
from hybridrank.types import Candidates, Scores

__all__ = ["MMR"]


class MMR(Component):
    """Maximal marginal relevance: selects documents one by one, each time the one with the highest value of

    ``weight * relevance - (1 - weight) * similarity``

    and scores it with that value. `relevance` is its previous score, min-max scaled among the candidates (equal
    scores are all 1: then only similarity decides). `similarity` is the inner product of its stored vector with
    the nearest among those already selected, at least 0, and 0 for the first. Values never increase, so sorting
    by them gives the order of selection; ties are broken by id. `weight` is from 0 to 1; the default was not
    tuned on data. Time is quadratic in the number of candidates.

    A document without a vector has similarity 0; the details count these as ``without_vector``.

    Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing
    summaries", SIGIR 1998.

    >>> from hybridrank import Document, Query
    >>> documents = [Document("a", "Lift"), Document("b", "Lift."), Document("c", "Drag")]
    >>> vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> MMR(weight=0.5).adjust(Candidates(Query("wing"), documents, vectors), [3.0, 2.0, 1.0])
    (0.5, -0.25, 0.0)
    """

    use = "mmr"
    needs_vectors: ClassVar[bool] = True

    weight: float = Field(default=0.7, ge=0, le=1)

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it only computes."""
        return {}

    def adjust(self, candidates: Candidates, scores: Sequence[float]) -> Scores:
        """The value with which each document was selected.

        Raises:
            InputError: the candidates come without vectors.
            BackendTimeoutError: the deadline has passed.
        """
        if candidates.vectors is None:
            raise InputError("mmr compares vectors, and these candidates have none")
        ids = [document.id for document in candidates.documents]
        order = sorted(range(len(ids)), key=ids.__getitem__)  # the first of equal values is selected
        vectors = candidates.vectors[order].astype(np.float64)
        relevance = self.weight * np.array(min_max(scores))[order]
        similarity, values, left = np.zeros(len(ids)), np.zeros(len(ids)), np.ones(len(ids), bool)
        for _ in ids:
            check(self.use)
            marginal = np.where(left, relevance - (1 - self.weight) * similarity, -np.inf)
            taken = marginal.argmax()
            values[order[taken]] = marginal[taken]
            left[taken] = False
            np.maximum(similarity, np.einsum("ij,j->i", vectors, vectors[taken]), out=similarity)
        without = len(ids) - int(np.count_nonzero(vectors.any(axis=1)))
        return Scores(values.tolist(), details={"without_vector": without})
