"""An inverted index on numpy arrays: for each term, its rows and term frequencies.

A row is a document's number inside the index. Postings never change once built: new documents form a new segment,
segments of similar size are merged (O'Neil et al., 1996), and dropped rows are skipped. The slow operations,
merging large segments and removing dropped rows, create new postings and change nothing that others read
meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ints", "InvertedIndex", "Key", "Postings"]

Ints: TypeAlias = NDArray[np.integer]

Key: TypeAlias = int | tuple[tuple[int, ...], tuple[int, ...]]
"""What postings are found by: a term's number; ``-1 - n`` for the stop word n; or terms that count as one, in two
groups, where the group with the higher count in a row says how often the one occurs there.
"""


class Postings:
    """Rows and counts of every term: those of ``terms[i]`` lie at ``starts[i]:starts[i + 1]``.

    `terms` is int32, sorted and distinct; `rows` is int32 and ascends within a term; `counts` has the smallest
    type that holds them.
    """

    __slots__ = ("counts", "rows", "starts", "terms")

    _BLOCK = 2**18  # postings

    def __init__(self, terms: Ints, starts: Ints, rows: Ints, counts: Ints) -> None:
        self.terms = terms
        self.starts = starts
        self.rows = rows
        self.counts = counts

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.terms.nbytes + self.starts.nbytes + self.rows.nbytes + self.counts.nbytes

    @classmethod
    def of_tokens(cls, terms: Ints, rows: Ints) -> Postings:
        """Count tokens, given the term and the row of each."""
        keys = terms.astype(np.int64) << 32 | rows
        keys.sort()
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        counts = np.diff(starts, append=len(keys))
        keys = keys[starts]
        postings_terms = (keys >> 32).astype(np.int32)
        firsts = np.flatnonzero(np.diff(postings_terms, prepend=-1))
        counts = counts.astype(np.min_scalar_type(counts.max(initial=0)))
        return cls(postings_terms[firsts], np.append(firsts, len(keys)), keys.astype(np.int32), counts)

    @classmethod
    def merge(cls, parts: Sequence[Postings]) -> Postings:
        """Merge parts, each of whose rows come after those of the part before."""
        return parts[0] if len(parts) == 1 else cls._sorted(parts)

    @classmethod
    def _sorted(cls, parts: Sequence[Postings]) -> Postings:
        sizes = [len(part) for part in parts]
        offsets = np.cumsum([0, *sizes[:-1]])
        terms = np.concatenate([part.terms for part in parts])
        lengths = np.concatenate([np.diff(part.starts) for part in parts])
        sources = np.concatenate([part.starts[:-1] + offset for part, offset in zip(parts, offsets, strict=True)])
        order = np.argsort(terms, kind="stable")
        terms, lengths, sources = terms[order], lengths[order], sources[order]
        starts = np.append(0, np.cumsum(lengths))
        moves = sources - starts[:-1]
        old_rows = np.concatenate([part.rows for part in parts])
        old_counts = np.concatenate([part.counts for part in parts])
        rows, counts = np.empty_like(old_rows), np.empty_like(old_counts)
        cuts = np.append(starts.searchsorted(np.arange(0, len(rows), cls._BLOCK)), len(terms)).tolist()
        for first, last in pairwise(cuts):  # the places moved at once stay few, and in the cache
            begin, end = starts[first], starts[last]
            places = np.repeat(moves[first:last], lengths[first:last])
            places += np.arange(begin, end)
            rows[begin:end] = old_rows[places]
            counts[begin:end] = old_counts[places]
        firsts = np.flatnonzero(np.diff(terms, prepend=-1))
        return cls(terms[firsts], np.append(starts[firsts], len(rows)), rows, counts)

    def renumbered(self, new_rows: Ints) -> Postings:
        """Give row ``r`` the number ``new_rows[r]``, in the same order, and drop it where that is negative."""
        rows = new_rows[self.rows]
        keep = rows >= 0
        lengths = np.add.reduceat(keep, self.starts[:-1], dtype=np.int64) if len(self) else self.terms
        used = lengths > 0
        return Postings(self.terms[used], np.append(0, np.cumsum(lengths[used])), rows[keep], self.counts[keep])

    def renumber(self, terms: Ints) -> Postings:
        """Give ``terms[i]``, distinct and in any order, the postings of the i-th term."""
        return Postings._sorted([Postings(terms, self.starts, self.rows, self.counts)]) if len(self) else self

    def shifted(self, by: int) -> Postings:
        """Give each row the number that is higher by `by`."""
        return Postings(self.terms, self.starts, self.rows + np.int32(by), self.counts) if by else self

    def find(self, term: int) -> tuple[Ints, Ints]:
        """The rows that hold `term`, ascending, and how often each does."""
        at = int(self.terms.searchsorted(np.int32(term)))
        if at == len(self.terms) or self.terms[at] != term:
            return self.rows[:0], self.counts[:0]
        span = slice(self.starts[at], self.starts[at + 1])
        return self.rows[span], self.counts[span]


class InvertedIndex:
    """Postings that grow and shrink, with the length of each row in tokens.

    Stop words have no postings, which would double the index: each has one bit in every row, set where it occurs.
    """

    _ALIKE = 4
    """So many segments of like size become one; sizes are alike within powers of this."""

    _LARGE = 10
    """A segment of this power of `_ALIKE` postings (half a million) or more waits for `improved` to merge it."""

    _MANY = 8
    """So many segments at the end that could be one are worth improving."""

    def __init__(
        self,
        postings: Postings | None = None,
        lengths: Ints | None = None,
        stop_words: NDArray[np.uint8] | None = None,
    ) -> None:
        self._lengths = np.zeros(0, dtype=np.int32) if lengths is None else lengths
        self._stop_words = np.zeros((0, 0), dtype=np.uint8) if stop_words is None else stop_words
        self._rows = self.live = len(self._lengths)
        self._segments = [postings] if postings else []
        self._ends = [self._rows] if postings else []
        self.tokens = int(self._lengths.sum(dtype=np.int64))
        self.dropped: Ints = np.zeros(0, dtype=np.int32)
        """The rows that were dropped, in the order of their going."""

    def __len__(self) -> int:
        """The number of rows, including dropped ones."""
        return self._rows

    @property
    def lengths(self) -> Ints:
        """Tokens per row; -1 for a dropped row."""
        return self._lengths[: self._rows]

    @property
    def stop_words(self) -> NDArray[np.uint8]:
        """The bits of the stop words in each row, uint8."""
        return self._stop_words[: self._rows]

    @property
    def whole(self) -> Postings:
        """All postings; of one segment, as it is."""
        return Postings.merge(self._segments) if self._segments else _NO_POSTINGS

    @property
    def segments(self) -> int:
        """The number of segments that a search reads."""
        return len(self._segments)

    @property
    def postings(self) -> int:
        """The number of postings, including those of dropped rows."""
        return sum(map(len, self._segments))

    @property
    def terms(self) -> int:
        """How many terms any row holds, dropped ones among them; more where several segments hold one."""
        return sum(len(segment.terms) for segment in self._segments)

    @property
    def nbytes(self) -> int:
        """Bytes of the postings, and of the stop words' bits."""
        return sum(segment.nbytes for segment in self._segments) + self.stop_words.nbytes

    def append(self, lengths: Ints, postings: Postings, stop_words: NDArray[np.uint8]) -> None:
        """Add one row for each of `lengths`; the rows of `postings` count from the first of them."""
        first, self._rows = self._rows, self._rows + len(lengths)
        self._lengths = _grown(self._lengths, first, lengths)
        self._stop_words = _grown(self._stop_words, first, stop_words)
        self.live += len(lengths)
        self.tokens += int(lengths.sum(dtype=np.int64))
        if len(postings):
            self._segments.append(postings.shifted(first))
            self._ends.append(self._rows)
            self._merge_tail()

    def _merge_tail(self) -> None:
        """Merge what has grown alike at the end, and what is smaller and stands before it, all at once."""
        powers = [self._power(len(segment)) for segment in self._segments]
        tail = len(powers) - 1
        size = len(self._segments[tail])
        while (power := self._power(size)) < self._LARGE:
            first = tail
            while first and powers[first - 1] < power:
                first -= 1
            alike = first
            while alike and powers[alike - 1] == power:
                alike -= 1
            if first - alike >= self._ALIKE - 1:
                first = alike
            if first == tail:
                break
            size += sum(map(len, self._segments[first:tail]))
            tail = first
        self.replace(tail, Postings.merge(self._segments[tail:]))

    def _power(self, size: int) -> int:
        return size.bit_length() // (self._ALIKE.bit_length() - 1)

    def replace(self, first: int, merged: Postings) -> None:
        """Put what they were merged into in the place of all segments from the `first`."""
        self._segments[first:] = [merged]
        self._ends[first:] = self._ends[-1:]

    def merge_segments(self) -> tuple[int, Postings] | None:
        """Merge the segments at the end where they are many: what `replace` takes, or None. Changes nothing.

        As many are merged as leaves each segment more than `_ALIKE` times the size of all that follow it.
        """
        first = len(self._segments)
        size = 0
        while first and (not size or len(self._segments[first - 1]) <= self._ALIKE * size):
            first -= 1
            size += len(self._segments[first])
        if len(self._segments) - first < self._MANY:
            return None
        return first, Postings.merge(self._segments[first:])

    def drop(self, rows: Ints) -> None:
        """Drop these rows (distinct, not dropped before). Their postings stay, and are skipped."""
        self.live -= len(rows)
        self.tokens -= int(self._lengths[rows].sum(dtype=np.int64))
        self._lengths[rows] = -1
        self.dropped = np.concatenate([self.dropped, rows], dtype=np.int32)

    def compact(self) -> tuple[InvertedIndex, Ints]:
        """A copy in one segment without the dropped rows, and the number here of each row there."""
        alive = self.lengths >= 0
        kept = np.flatnonzero(alive)
        postings = self.whole
        if self.live < self._rows:
            postings = postings.renumbered(np.where(alive, np.cumsum(alive) - 1, -1).astype(np.int32))
        stop_words = self.stop_words[kept]
        return InvertedIndex(postings if len(postings) else None, self.lengths[kept], stop_words), kept

    def number_terms(self) -> InvertedIndex:
        """A copy of one segment whose i-th term, in the order of their numbers, has the number i."""
        postings = self.whole
        if len(postings):
            numbers = np.arange(len(postings.terms), dtype=np.int32)
            postings = Postings(numbers, postings.starts, postings.rows, postings.counts)
        return InvertedIndex(postings if len(postings) else None, self.lengths.copy(), self.stop_words)

    def find(self, key: Key, *, since: int = 0) -> tuple[Ints, Ints]:
        """The rows from `since` on that hold `key`, ascending, dropped ones left out, and how often each does.

        How often it holds a stop word is not known, and said to be once.
        """
        if isinstance(key, tuple):
            return self._find_any(key, since)
        rows: Ints
        counts: Ints
        if key < 0:
            byte, bit = divmod(-1 - key, 8)
            rows = np.flatnonzero(self.stop_words[since:, byte] >> bit & 1).astype(np.int32) + np.int32(since)
            counts = np.ones(len(rows), dtype=np.uint8)
        else:
            rows, counts = self._find_term(key, since)
        if self.live < self._rows:
            alive = self._lengths[rows] >= 0
            rows, counts = rows[alive], counts[alive]
        return rows, counts

    def holding_all(self, stop_words: Sequence[int]) -> NDArray[np.int32]:
        """The rows that hold all of these stop words, ascending, dropped ones left out."""
        bits = np.zeros(self._stop_words.shape[1] * 8, dtype=np.uint8)
        bits[list(stop_words)] = 1
        wanted = np.packbits(bits, bitorder="little")
        held = self.lengths >= 0
        for byte in np.flatnonzero(wanted).tolist():
            held &= self.stop_words[:, byte] & wanted[byte] == wanted[byte]
        return np.flatnonzero(held).astype(np.int32)

    def _find_any(self, groups: tuple[tuple[int, ...], tuple[int, ...]], since: int) -> tuple[Ints, Ints]:
        sums = []
        for group in groups:
            found = [self.find(term, since=since) for term in group]
            rows = np.concatenate([_NO_POSTINGS.rows, *(rows for rows, _ in found)])
            rows, places = np.unique(rows, return_inverse=True)
            sums.append((rows, np.bincount(places, np.concatenate([[], *(counts for _, counts in found)]))))
        both = np.union1d(sums[0][0], sums[1][0])
        most = np.zeros(len(both), dtype=np.int64)
        for rows, counts in sums:
            places = both.searchsorted(rows)
            most[places] = np.maximum(most[places], counts.astype(np.int64))
        return both, most

    def _find_term(self, term: int, since: int) -> tuple[Ints, Ints]:
        found = [
            segment.find(term) for segment, end in zip(self._segments, self._ends, strict=True) if end > since
        ]
        if len(found) == 1:
            rows, counts = found[0]
        elif found:
            rows = np.concatenate([rows for rows, _ in found])
            counts = np.concatenate([counts for _, counts in found])
        else:
            rows, counts = _NO_POSTINGS.rows, _NO_POSTINGS.counts
        if since:
            first = rows.searchsorted(np.int32(since))
            rows, counts = rows[first:], counts[first:]
        return rows, counts

    def document_frequencies(self) -> Ints:
        """How many rows hold each term, for the terms that any row holds, in no given order."""
        frequencies = self.document_frequencies_by_term()
        return frequencies[frequencies > 0]

    def document_frequencies_by_term(self) -> Ints:
        """How many rows hold each term, by the term's number; 0 where none does."""
        frequencies = np.zeros(max((int(s.terms[-1]) + 1 for s in self._segments), default=0), dtype=np.int64)
        for segment in self._segments:
            if self.live == self._rows:
                frequencies[segment.terms] += np.diff(segment.starts)
            else:
                alive = self._lengths[segment.rows] >= 0
                frequencies[segment.terms] += np.add.reduceat(alive, segment.starts[:-1], dtype=np.int64)
        return frequencies


_NO_POSTINGS = Postings.of_tokens(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))


def _grown(array: NDArray[Any], rows: int, more: NDArray[Any]) -> NDArray[Any]:
    """The first `rows` of an array and those that come now, in it where there is room, else in a larger one."""
    total = rows + len(more)
    if total > len(array) or not array.flags.writeable:
        grown = np.empty((total * 5 // 4, *more.shape[1:]), dtype=more.dtype)
        if rows:
            grown[:rows] = array[:rows]
        array = grown
    array[rows:total] = more
    return array
