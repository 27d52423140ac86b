"""Words -> the numbers of their terms, for all words of a batch at once.

A dict is asked once for every word, and waits for memory each time. This is a hash table on numpy arrays (open
addressing, linear probing): the processor fetches many slots at once, and other threads run meanwhile.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hybridrank import forking
from hybridrank.text import Analyzer

__all__ = ["Vocabulary"]

Ints: TypeAlias = NDArray[Any]
Halves: TypeAlias = NDArray[np.uint64]  # the first or the last eight bytes of words

_WIDTH = 16  # bytes of UTF-8 in a slot; longer words are few, and have a dict
_SPACE = ord(" ")
_UNKNOWN = -2
_NOT_INDEXED = -1


def _masks() -> NDArray[np.uint64]:
    """For each of the two halves of a slot and each length of a word up to `_WIDTH`: the bits of its bytes."""
    covered = np.arange(_WIDTH) < np.arange(_WIDTH + 1)[:, np.newaxis]
    return np.ascontiguousarray((covered * np.uint8(255)).view("<u8").T, dtype=np.uint64)


_MASKS = _masks()


class _Table:
    """Words of up to `_WIDTH` bytes, each as two integers, and their numbers. The first is 0 in an empty slot."""

    def __init__(self, bits: int = 12) -> None:
        self._shift = np.uint64(64 - bits)
        self._last = (1 << bits) - 1
        self._factors = [np.uint64(secrets.randbits(64) | 1) for _ in range(2)]
        self._first, self._second = np.zeros((2, 1 << bits), dtype=np.uint64)
        self._numbers = np.full(1 << bits, _UNKNOWN, dtype=np.int32)
        self.held = 0

    def _slots(self, first: Halves, second: Halves) -> Ints:
        return ((first * self._factors[0] + second * self._factors[1]) >> self._shift).astype(np.int64)

    def find(self, first: Halves, second: Halves) -> Ints:
        """The number of each word, or `_UNKNOWN`."""
        slots = self._slots(first, second)
        held = self._first[slots]
        other = (held != first) | (self._second[slots] != second)
        numbers = self._numbers[slots]
        going = np.flatnonzero(other)
        numbers[going] = _UNKNOWN
        going = going[held[going] != 0]
        slots = slots[going]
        while len(going):
            slots = (slots + 1) & self._last
            held = self._first[slots]
            same = (held == first[going]) & (self._second[slots] == second[going])
            numbers[going[same]] = self._numbers[slots[same]]
            on = ~same & (held != 0)
            going, slots = going[on], slots[on]
        return numbers

    def add(self, first: Halves, second: Halves, numbers: Ints) -> _Table:
        """The table with these words too (distinct, none of them held): itself, or a larger one."""
        if 2 * (self.held + len(first)) > self._last:
            held = np.flatnonzero(self._first)
            larger = _Table((4 * (self.held + len(first))).bit_length())
            larger._fill(self._first[held], self._second[held], self._numbers[held])
            larger._fill(first, second, numbers)
            return larger
        self._fill(first, second, numbers)
        return self

    def _fill(self, first: Halves, second: Halves, numbers: Ints) -> None:
        self.held += len(first)
        slots = self._slots(first, second)
        left = np.arange(len(first))
        while len(left):
            free = np.flatnonzero(self._first[slots] == 0)
            taken, which = np.unique(slots[free], return_index=True)
            placed = left[free[which]]
            self._first[taken], self._second[taken] = first[placed], second[placed]
            self._numbers[taken] = numbers[placed]
            stay = np.ones(len(left), dtype=bool)
            stay[free[which]] = False
            left, slots = left[stay], (slots[stay] + 1) & self._last


class Vocabulary:
    """The terms of an index, numbered in the order of their coming, and the words that stand for them in texts.

    Threads may share it.
    """

    def __init__(self, analyzer: Analyzer, terms: Sequence[str] = ()) -> None:
        self.terms = {term: number for number, term in enumerate(terms)}
        self._analyzer = analyzer
        self._short = _Table()
        self._long: dict[bytes, int] = {}
        self._lock = forking.new_lock()

    def number(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        """The number of the term of every word of the texts, -1 for a stop word, and how many words each text has.

        Both are int32. Terms that were not met before get a number.
        """
        encoded = [self._analyzer.spaced(text).encode() for text in texts]
        buffer = np.frombuffer(b" ".join([b"", *encoded, b" " * _WIDTH]), dtype=np.uint8)
        is_word = buffer > _SPACE
        edges = np.flatnonzero(is_word[1:] != is_word[:-1])
        edges += 1
        starts, ends = edges[::2], edges[1::2]
        # each text begins behind one more space than those before it
        borders = np.cumsum([1, *(len(text) + 1 for text in encoded)])
        sizes = np.diff(starts.searchsorted(borders)).astype(np.int32)
        return self._numbers(buffer, starts, ends), sizes

    def _numbers(self, buffer: Ints, starts: Ints, ends: Ints) -> Ints:
        """The numbers of the words at ``buffer[start:end]``; `_WIDTH` bytes or more follow each start."""
        windows = np.ndarray(len(buffer) - _WIDTH + 1, f"V{_WIDTH}", buffer, strides=(1,))
        halves = windows[starts].view("<u8").reshape(-1, 2)
        lengths = ends - starts
        covered = np.minimum(lengths, _WIDTH)
        first, second = (halves[:, half] & _MASKS[half][covered] for half in range(2))
        with self._lock:
            numbers = self._short.find(first, second)
            numbers[lengths > _WIDTH] = _UNKNOWN
            met: dict[bytes, int] = {}
            places = []
            unknown = np.flatnonzero(numbers == _UNKNOWN)
            for place, start, end in zip(
                unknown.tolist(), starts[unknown].tolist(), ends[unknown].tolist(), strict=True
            ):
                word = buffer[start:end].tobytes()
                known = self._long if len(word) > _WIDTH else met
                if (number := known.get(word)) is None:
                    number = known[word] = self._learn(word.decode())
                    if known is met:
                        places.append(place)
                numbers[place] = number
            if places:
                self._short = self._short.add(first[places], second[places], numbers[places])
        return numbers

    def _learn(self, word: str) -> int:
        term = self._analyzer.term(word)
        return _NOT_INDEXED if term is None else self.terms.setdefault(term, len(self.terms))

    def count(self, text: str) -> dict[int, int]:
        """Count each term of a query that any document brought, in the order of coming; learns nothing."""
        counts = Counter(self.terms.get(term, _NOT_INDEXED) for term in self._analyzer.terms(text))
        counts.pop(_NOT_INDEXED, None)
        return counts
