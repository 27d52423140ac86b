"""Vectors by row: an index that never changes, and a small exact one for additions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridrank.retrieval.faiss.factory import faiss, inverted, parameters, scanned, threads_for
from hybridrank.runtime import fork

__all__ = ["Floats", "Rows", "Vectors"]

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

_BLOCK = 2**15  # rows read in one step
_MARGIN = 8  # candidates fetched past the cut, among which a tie across it shows
_NOISE = 1e-5  # float32 inner products of unit vectors closer than this may be equal


class Vectors:
    """Unit vectors in the rows of `base`, if there is one, and then of `tail`.

    The base may be approximate, and its file may be memory-mapped: FAISS aborts the process when it adds to such
    an index. New vectors therefore go to the tail, which is exact.
    """

    def __init__(self, dim: int, base: Any = None, tail: Any = None) -> None:
        self.dim = dim
        self.base = base
        self.tail = faiss().IndexFlatIP(dim) if tail is None else tail

    def __len__(self) -> int:
        return self.split + int(self.tail.ntotal)

    @property
    def split(self) -> int:
        """The first row of the tail."""
        return 0 if self.base is None else int(self.base.ntotal)

    def add(self, vectors: Floats) -> None:
        """Append rows, shape (n, dim)."""
        self.tail.add(vectors)

    def of(self, rows: NDArray[np.integer]) -> Floats:
        """The vectors in these rows, shape (len(rows), dim), as they are stored."""
        keys = np.ascontiguousarray(rows, np.int64)
        with threads_for(0):  # memory is what it waits for
            if self.base is None:
                return np.asarray(self.tail.reconstruct_batch(keys))
            late = keys >= self.split
            if not late.any():
                return np.asarray(self.base.reconstruct_batch(keys))
            vectors = np.empty((len(keys), self.dim), np.float32)
            vectors[late] = self.tail.reconstruct_batch(keys[late] - self.split)
            if not late.all():
                vectors[~late] = self.base.reconstruct_batch(keys[~late])
            return vectors

    def blocks(self, rows: Rows) -> Iterator[tuple[Rows, Floats]]:
        """`rows` in blocks, each with its vectors."""
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            yield part, self.of(part)

    def candidates(self, queries: Floats, k: int, allowed: NDArray[np.bool_] | None) -> list[Rows]:
        """For each query, the rows of the best `k` and of all that may tie with the last, in no particular order.

        `allowed` says for each row whether it may be found; None lets all be found.
        """
        split = self.split
        parts = []
        for index, first, size in ((self.base, 0, split), (self.tail, split, int(self.tail.ntotal))):
            chosen = None if allowed is None else allowed[first : first + size]
            count = size if chosen is None else int(np.count_nonzero(chosen))
            if count:
                parts.append([rows + first for rows in _nearest(index, queries, k, chosen, count)])
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate([part[query] for part in parts]) for query in range(len(queries))]


def _nearest(index: Any, queries: Floats, k: int, chosen: NDArray[np.bool_] | None, count: int) -> Iterator[Rows]:
    """The candidates of one index among `chosen`, of which there are `count`.

    Inverted lists are probed the more, the fewer of their vectors may be found, so that as many are looked at;
    and more still where too few were found.
    """
    size = min(k + _MARGIN, count)
    widen = index.ntotal / count
    with fork.hold_forks(), threads_for(queries.size * scanned(index, count, widen=widen)):
        found = index.search(queries, size, params=parameters(index, chosen, widen=widen))
    for query, scores, rows in zip(queries, *found, strict=True):
        wider, deeper = widen, size
        while True:
            if rows[-1] < 0:
                wider *= 4
                if (ivf := inverted(index)) is None or wider >= 4 * ivf.nlist / ivf.nprobe:
                    break
            elif len(rows) < count and scores[k - 1] <= scores[-1] + _NOISE:
                deeper = min(4 * len(rows), count)
            else:
                break
            with fork.hold_forks(), threads_for(query.size * scanned(index, count, widen=wider)):
                again = index.search(query[None], deeper, params=parameters(index, chosen, widen=wider))
            scores, rows = again[0][0], again[1][0]
        yield rows if rows[-1] >= 0 else rows[rows >= 0]
