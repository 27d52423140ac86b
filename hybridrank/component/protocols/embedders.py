"""The contract of embedders: texts -> vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from hybridrank.types import Role

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Embedder"]


@runtime_checkable
class Embedder(Protocol):
    """Texts -> vectors."""

    def embed(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Float32, shape (len(texts), dim), rows in the order of `texts`, each of unit length."""
        ...
