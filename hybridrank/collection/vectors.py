"""Vectors passed by the caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hybridrank.collection.units import split
from hybridrank.component.protocols import DocumentSplitter, Index, VectorIndex
from hybridrank.errors import ConfigError, InputError
from hybridrank.types import Document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["given_vectors", "naming_the_arm", "require_whole", "unit_vectors"]


@contextmanager
def naming_the_arm(arm: str) -> Iterator[None]:
    """Give an error about an option of an arm's retriever its path in the pipeline's configuration."""
    try:
        yield
    except ConfigError as error:
        error.path = f"$.retrievers.{arm}{error.path.removeprefix('$')}"
        raise


def given_vectors(
    vectors: Mapping[str, NDArray[np.float32]] | None, arms: Mapping[str, Index], *, count: int
) -> dict[str, NDArray[np.float32]]:
    """The vectors passed for each arm, shape (count, dim), unchanged.

    Raises:
        InputError: an arm holds no vectors, or the shape is another.
    """
    if vectors is None:
        return {}
    if not isinstance(vectors, Mapping):
        raise InputError(f"vectors must map an arm to its matrix, not be a {type(vectors).__name__}")
    import numpy as np

    able = [name for name, index in arms.items() if isinstance(index, VectorIndex)]
    given: dict[str, NDArray[np.float32]] = {}
    for arm, rows in vectors.items():
        if arm not in able:
            raise InputError(f"no arm called {arm!r} holds vectors (there are: {', '.join(able) or 'none'})")
        try:
            given[arm] = np.asarray(rows)
        except ValueError as error:  # rows of different lengths
            raise InputError(f"the vectors of {arm!r} are no matrix: {error}") from error
        if given[arm].dtype.kind not in "fiu":
            raise InputError(f"the vectors of {arm!r} hold {given[arm].dtype}, not numbers")
        if given[arm].ndim != 2 or len(given[arm]) != count:
            raise InputError(f"the vectors of {arm!r} have shape {given[arm].shape}, not ({count}, dim)")
        index = arms[arm]
        if isinstance(index, VectorIndex) and index.dim not in (None, given[arm].shape[1]):
            raise InputError(f"{arm!r} holds vectors of {index.dim} dimensions, not {given[arm].shape[1]}")
    return given


def require_whole(documents: Iterable[Document], splitter: DocumentSplitter | None) -> None:
    """Check that documents whose vectors were given stay whole.

    Raises:
        InputError: one is split.
    """
    for document in documents:
        if split(splitter, document):
            raise InputError(
                f"document {document.id!r} is split, and the vector given for it is of no passage: give no "
                'vectors, or build the collection with splitter="none"'
            )


def unit_vectors(arm: str, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors normalized to unit length, float32.

    Raises:
        InputError: one is zero or not finite.
    """
    import numpy as np

    with np.errstate(over="ignore"):  # too large values are then not finite
        matrix = np.asarray(rows, np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))[:, np.newaxis]
    if not np.isfinite(lengths).all() or not lengths.all():
        raise InputError(f"the vectors of {arm!r} hold one that is zero or not finite")
    unit: NDArray[np.float32] = (matrix / lengths).astype(np.float32)
    return unit
