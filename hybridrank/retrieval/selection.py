"""The rows of the ids that a query is restricted to, remembered: one filter serves many queries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hybridrank.runtime import fork

__all__ = ["Selections"]


class Selections:
    """The rows of the frozensets that were asked for last, by identity; threads may share it.

    Each frozenset is held with its rows, so that no other can take its address meanwhile.
    """

    _KEPT = 4

    def __init__(self) -> None:
        self._kept: dict[int, tuple[frozenset[str], NDArray[np.int32]]] = {}
        self._lock = fork.new_lock()

    def rows(self, ids: frozenset[str], find: Callable[[frozenset[str]], NDArray[np.int32]]) -> NDArray[np.int32]:
        """What `find` found for these ids, or finds now."""
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
        """Forget all: some ids have other rows now."""
        with self._lock:
            self._kept = {}
