"""Document ids by row, and rows by document id: memory-mapped arrays, plus later additions."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from hybridrank.retrieval.selection import Selections

__all__ = ["IdTable"]

_ARRAYS = {
    "text": (np.uint8, 1),
    "offsets": (np.int64, 1),
    "hashes": (np.uint64, 2),
    "rows": (np.int32, 1),
    "buckets": (np.int32, 1),
    "seed": (np.uint64, 1),
}
_NO_ROWS = np.zeros(0, np.int32)


class IdTable:
    """The id of every row, and the row of every id; the row of a replaced or deleted document is dead.

    Rows that `keep` created or `load` opened are in arrays, without a Python object each; rows appended later are
    in a list and a dict. Many threads may look up concurrently; `append` and `bury` exclude them and each other.
    """

    def __init__(self, base: _Base | None = None) -> None:
        self._base = _Base.empty() if base is None else base
        self._tail: list[str] = []
        self._late: dict[str, int] = {}  # the last row of each id in the tail, dead or alive
        self._alive = np.zeros(len(self._base), bool)  # by row, with room to grow
        self._alive[self._base.rows] = True
        self._living = int(np.count_nonzero(self._alive))
        self._selections = Selections()

    def __len__(self) -> int:
        """The number of living rows."""
        return self._living

    def __contains__(self, doc_id: object, /) -> bool:
        return isinstance(doc_id, str) and len(self.rows([doc_id])) > 0

    @property
    def total(self) -> int:
        """The number of rows, including dead ones."""
        return len(self._base) + len(self._tail)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Whether each row is alive."""
        return self._alive[: self.total]

    def append(self, ids: Sequence[str]) -> NDArray[np.int32]:
        """Append a row for each id (distinct), and bury its previous row; returns the buried rows, ascending."""
        dead = self.bury(ids)
        first = self.total
        self._tail.extend(ids)
        self._late.update(zip(ids, range(first, self.total), strict=True))
        if self.total > len(self._alive):
            self._alive = np.concatenate([self._alive[:first], np.ones(self.total * 5 // 4 - first, bool)])
        self._living += len(ids)
        return dead

    def bury(self, ids: Collection[str]) -> NDArray[np.int32]:
        """Mark the rows of these ids as dead, and return them, ascending; ids without a row are ignored."""
        rows = self.rows(ids)
        self._alive[rows] = False
        self._living -= len(rows)
        self._selections.clear()
        return rows

    def rows(self, ids: Collection[str]) -> NDArray[np.int32]:
        """The living rows of these ids, ascending; ids without one are ignored."""
        if not self._living:
            return _NO_ROWS
        wanted = frozenset(ids)
        rows = self._base.find(wanted)
        if self._late and (late := [row for row in map(self._late.get, wanted) if row is not None]):
            rows = np.concatenate([rows, late], dtype=np.int32)
        rows = rows[self._alive[rows]]
        rows.sort()
        return rows

    def select(self, ids: frozenset[str]) -> NDArray[np.int32]:
        """The same, cached: one filter serves many queries."""
        return self._selections.rows(ids, self.rows)

    def names(self, rows: NDArray[np.integer]) -> list[str]:
        """The ids of these rows, in order."""
        split = len(self._base)
        if not split:
            return list(map(self._tail.__getitem__, rows.tolist()))
        if not self._tail:
            return self._base.names(rows)
        early = iter(self._base.names(rows[rows < split]))
        return [self._tail[row - split] if row >= split else next(early) for row in rows.tolist()]

    def keep(self, rows: NDArray[np.integer]) -> IdTable:
        """A table of only these rows (ascending), renumbered from 0; dead rows stay dead. This table is
        unchanged.
        """
        split = len(self._base)
        early = rows[rows < split]
        late = [self._tail[row] for row in (rows[len(early) :] - split).tolist()]
        return IdTable(self._base.keep(early, late, self._alive[rows]))

    def save(self, folder: Path) -> None:
        """Write all rows, the dead too, to `folder`, which must not exist yet, as arrays in NumPy's format."""
        changed = self._tail or self._living < len(self._base.rows)
        base = self.keep(np.arange(self.total))._base if changed else self._base
        folder.mkdir()
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(base, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> IdTable:
        """Open what `save` wrote; its arrays stay memory-mapped, and are read on demand.

        Raises:
            OSError, EOFError, ValueError: a file is absent or damaged, or they do not belong together.
        """
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
            for name in _ARRAYS
        }
        if any((array.dtype, array.ndim) != _ARRAYS[name] for name, array in arrays.items()):
            raise ValueError("the files of the ids hold other arrays than they should")
        base = _Base(**arrays)
        if not base.sound or len(table := cls(base)) < len(base.rows):
            raise ValueError("the files of the ids do not belong together")
        return table


@dataclass(frozen=True, slots=True, eq=False)
class _Base:
    """Ids in arrays that never change: that of row ``r`` is ``text[offsets[r]:offsets[r + 1]]``, in UTF-8.

    Those that were alive are found by hashes of 128 bits: ``hashes[0]`` are their first halves, sorted,
    ``hashes[1]`` their second halves, and `rows` the row that each leads to. ``buckets[b]:buckets[b + 1]`` are the
    places of those that begin with the bits of `b`: one or none, mostly. No text is compared, which would read
    all over its file: among a billion ids, that any two share a hash has a chance of 1e-21, and nobody can choose
    two that do, since the seed is random.
    """

    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    rows: NDArray[np.int32]
    buckets: NDArray[np.int32]
    seed: NDArray[np.uint64]

    @classmethod
    def empty(cls) -> _Base:
        """No ids, and a new seed."""
        seed = np.array([secrets.randbits(64)], np.uint64)
        text, offsets, hashes = np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros((2, 0), np.uint64)
        return cls(text, offsets, hashes, _NO_ROWS, np.zeros(3, np.int32), seed)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sound(self) -> bool:
        """Whether the arrays belong together."""
        return (
            _ascends(self.offsets, len(self.text))
            and _ascends(self.buckets, len(self.rows))
            and len(self.buckets) == 1 + 2 ** _bits(len(self.rows))
            and self.hashes.shape == (2, len(self.rows))
            and self.rows.min(initial=0) >= 0
            and self.rows.max(initial=-1) < len(self)
            and len(self.seed) == 1
        )

    def find(self, ids: Collection[str]) -> NDArray[np.int32]:
        """The rows of those of `ids` that have a hash here, in no given order."""
        if not (len(self.rows) and ids):
            return _NO_ROWS
        firsts, seconds = self.hashes
        first, second = _hashes(_encoded(ids), self.seed)
        buckets = _buckets(first, len(firsts))
        places, ends = self.buckets[buckets], self.buckets[buckets + 1]
        found = [_NO_ROWS]
        while len(left := np.flatnonzero(places < ends)):  # as often as the fullest bucket has hashes
            first, second, places, ends = first[left], second[left], places[left], ends[left]
            same = (firsts[places] == first) & (seconds[places] == second)
            found.append(self.rows[places[same]])
            ends[same] = 0
            places += 1
        return np.concatenate(found)

    def names(self, rows: NDArray[np.integer]) -> list[str]:
        """The ids of these rows, in their order."""
        text = self.text.data
        spans = zip(self.offsets[rows].tolist(), self.offsets[rows + 1].tolist(), strict=True)
        return [str(text[start:end], "utf-8", "surrogatepass") for start, end in spans]

    def keep(self, early: NDArray[np.integer], late: Sequence[str], alive: NDArray[np.bool_]) -> _Base:
        """The rows `early` (ascending) of these, and then rows of the ids `late`; `alive` says which are found."""
        keep = np.zeros(len(self), bool)
        keep[early] = True
        lengths = np.diff(self.offsets)
        names = list(_encoded(late))
        text = np.concatenate([self.text[np.repeat(keep, lengths)], np.frombuffer(b"".join(names), np.uint8)])
        lengths = np.concatenate([lengths[keep], np.fromiter(map(len, names), np.int64, len(names))])
        offsets = np.append(0, np.cumsum(lengths))

        places = np.full(len(self), -1, np.int32)
        places[early[alive[: len(early)]]] = np.flatnonzero(alive[: len(early)])
        old = places[self.rows]
        new = np.flatnonzero(alive[len(early) :])
        rows = np.concatenate([old[old >= 0], new + len(early)], dtype=np.int32)
        hashes = np.concatenate([self.hashes[:, old >= 0], _hashes(names, self.seed)[:, new]], axis=1)
        order = hashes[0].argsort(kind="stable")
        sizes = np.bincount(_buckets(hashes[0], len(rows)), minlength=2 ** _bits(len(rows)))
        buckets = np.append(0, np.cumsum(sizes)).astype(np.int32)
        return _Base(text, offsets, hashes[:, order], rows[order], buckets, self.seed)


def _encoded(ids: Iterable[str]) -> Iterable[bytes]:
    """In UTF-8; lone surrogates, too, which a query may name though no document's id has them."""
    return map(str.encode, ids, repeat("utf-8"), repeat("surrogatepass"))


def _hashes(names: Iterable[bytes], seed: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The first halves of the hashes, and the second: shape (2, n)."""
    digests = b"".join(map(xxh3_128_digest, names, repeat(int(seed[0]))))
    return np.ascontiguousarray(np.frombuffer(digests, "<u8").reshape(-1, 2).T)


def _bits(count: int) -> int:
    """How many bits number the buckets of so many hashes: one or two buckets for each."""
    return max(1, count.bit_length())


def _buckets(first: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """The bucket that each first half of a hash belongs to, where there are `count` hashes."""
    return (first >> np.uint64(64 - _bits(count))).astype(np.int64)


def _ascends(ends: NDArray[np.integer], last: int) -> bool:
    """Whether these begin at 0, never fall, and end at `last`."""
    return len(ends) > 0 and (ends[0], ends[-1]) == (0, last) and bool((ends[:-1] <= ends[1:]).all())
