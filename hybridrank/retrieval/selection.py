"""A cache of the rows of the ids that a query is restricted to: one filter serves many queries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hybridrank.runtime import fork

__all__ = ["Selections"]


class Selections:
    """The rows of recently used frozensets, by identity; thread-safe.

    Each frozenset is stored with its rows, so that its address is not reused.
    """

    _KEPT = 4

    def __init__(self) -> None:
        self._kept: dict[int, tuple[frozenset[str], NDArray[np.int32]]] = {}
        self._lock = fork.new_lock()

    def rows(self, ids: frozenset[str], find: Callable[[frozenset[str]], NDArray[np.int32]]) -> NDArray[np.int32]:
        """The rows that `find` returned for these ids, or returns now."""
        with self._lock:
            if found := self._kept.get(id(ids)):
                return found[1]
        rows = find(ids)
        with self._lock:
            while len(self._kept) >= self._KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[id(ids)] = ids, rows
        return rows

    def clear(self) -> None:
        """Clear the cache, because some ids have other rows now."""
        with self._lock:
            self._kept = {}
