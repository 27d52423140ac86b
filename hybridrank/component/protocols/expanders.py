"""The contract of expanders: query -> further formulations of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from hybridrank.types import Formulation, Query

__all__ = ["AsyncExpander", "Expander"]


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
