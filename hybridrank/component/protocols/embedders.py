"""The contract of embedders: texts -> vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from hybridrank.types import Role

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AsyncEmbedder", "Embedder"]


@runtime_checkable
class Embedder(Protocol):
    """Texts -> vectors."""

    def embed(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Float32, shape (len(texts), dim), rows in the order of `texts`, each of unit length."""
        ...


@runtime_checkable
class AsyncEmbedder(Embedder, Protocol):
    """An embedder that code on an event loop can await, without a thread. Pipelines call `embed` in a thread."""

    async def aembed(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Like `embed`, with the same results, and without blocking the event loop."""
        ...
