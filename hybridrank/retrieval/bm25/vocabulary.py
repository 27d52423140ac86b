"""Words -> the numbers of their terms, for all words of a batch at once.

A dict is queried once per word, and waits for memory each time. This is a hash table on numpy arrays (open
addressing, linear probing): the processor fetches many slots at once, and other threads run meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hybridrank.retrieval.analysis import Analyzer
from hybridrank.retrieval.analysis.compounds import SEAM, readable, seams, spans
from hybridrank.retrieval.analysis.words import stream, units
from hybridrank.retrieval.bm25.postings import Key
from hybridrank.runtime import fork

__all__ = ["TextTerms", "Vocabulary"]

Ints: TypeAlias = NDArray[Any]
Halves: TypeAlias = NDArray[np.uint64]  # the first or the last eight bytes of words

_WIDTH = 16  # bytes of UTF-8 in a slot; longer words are few, and have a dict
_LONGEST = 4 * 256  # bytes of a word that are looked at
_MARGIN = b"    "
_UNKNOWN = np.iinfo(np.int32).min
_NO_TERM = _UNKNOWN + 1
_MOST = 4096  # terms of a query that count


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


class TextTerms(NamedTuple):
    """The terms and the stop words of texts by number, int32, each with the row of its text.

    `lengths` has the row of every word that counts for the length of its text.
    """

    lengths: Ints
    terms: Ints
    rows: Ints
    stop_words: Ints
    stop_rows: Ints


class Vocabulary:
    """The terms of an index, numbered in order of appearance, and the words of texts that map to them.

    The code of a word is the number of its term; ``-1 - n`` for the stop word n; or a lower number for a word of
    two terms. Threads may share a vocabulary.
    """

    def __init__(self, analyzer: Analyzer, terms: Sequence[str] = ()) -> None:
        self.terms = {term: number for number, term in enumerate(terms)}
        self._analyzer = analyzer
        self._short = _Table()
        self._long: dict[bytes, int] = {}
        self._pairs: list[tuple[int, int]] = []
        self._first_pair = -1 - len(analyzer.stop_words)
        self._holding: dict[str, tuple[set[int], set[int]]] = {}
        self._sought = 0
        self._lock = fork.new_lock()

    def adopt(self, terms: Sequence[str]) -> Ints:
        """The numbers of these terms, int32; new terms get one."""
        with self._lock:
            return np.array([self.terms.setdefault(term, len(self.terms)) for term in terms], dtype=np.int32)

    def names(self) -> list[str]:
        """The terms by number."""
        with self._lock:
            return list(self.terms)

    def number(self, texts: Sequence[str], rows: Sequence[int]) -> TextTerms:
        """The terms of the texts, each of them one of `slices`; `rows` are theirs. New terms get a number."""
        alphabet = self._analyzer.alphabet
        plain = [text.isascii() and alphabet.ascii is not None for text in texts]
        raw = [text.encode() for text, is_plain in zip(texts, plain, strict=True) if is_plain]
        buffer = np.frombuffer(b" ".join([_MARGIN, *raw, _MARGIN]), dtype=np.uint8)
        changes = seams(buffer)
        if raw:
            assert alphabet.ascii is not None
            buffer = np.frombuffer(buffer.tobytes().translate(alphabet.ascii), dtype=np.uint8)
            buffer = _without_loose_apostrophes(buffer)
        other = [
            stream(text, alphabet).encode() for text, is_plain in zip(texts, plain, strict=True) if not is_plain
        ]
        # each text begins behind one more space than those before it
        sizes = [len(text) + 1 for text in raw]
        if len(changes):
            buffer = np.insert(buffer, changes, ord(SEAM))
            borders = np.cumsum([len(_MARGIN) + 1, *sizes])
            borders += changes.searchsorted(borders)
        else:
            borders = np.cumsum([len(_MARGIN) + 1, *sizes])
        if other:
            more = b" ".join([b"", *other, _MARGIN, b""])
            borders = np.append(borders[:-1], len(buffer) + np.cumsum([1, *(len(text) + 1 for text in other)]))
            buffer = np.append(buffer, np.frombuffer(more, dtype=np.uint8))
        starts, ends, plain_words = spans(buffer)
        order = [row for row, is_plain in zip(rows, plain, strict=True) if is_plain]
        order += [row for row, is_plain in zip(rows, plain, strict=True) if not is_plain]
        text_of = borders[:-1].searchsorted(starts, side="right") - 1
        word_rows = np.array(order, dtype=np.int32)[text_of]
        codes = self._codes(np.append(buffer, _PADDING), starts, ends)
        counted = codes[:plain_words]
        counted = (counted >= 0) | (counted <= self._first_pair) & (counted > _NO_TERM)
        return self._tokens(word_rows[:plain_words][counted], codes, word_rows)

    def _tokens(self, lengths: Ints, codes: Ints, rows: Ints) -> TextTerms:
        if self._pairs and len(paired := np.flatnonzero((codes <= self._first_pair) & (codes > _NO_TERM))):
            both = np.array(self._pairs, dtype=np.int32)[self._first_pair - codes[paired]]
            codes = np.append(codes, both[:, 1])
            codes[paired] = both[:, 0]
            rows = np.append(rows, rows[paired])
        is_term = codes >= 0
        is_stop_word = ~is_term & (codes > self._first_pair)
        return TextTerms(lengths, codes[is_term], rows[is_term], -1 - codes[is_stop_word], rows[is_stop_word])

    def _codes(self, buffer: Ints, starts: Ints, ends: Ints) -> Ints:
        """The codes of the words at ``buffer[start:end]``; `_WIDTH` bytes or more follow each start."""
        windows = np.ndarray(len(buffer) - _WIDTH + 1, f"V{_WIDTH}", buffer, strides=(1,))
        halves = windows[starts].view("<u8").reshape(-1, 2)
        lengths = ends - starts
        covered = np.minimum(lengths, _WIDTH)
        first, second = (halves[:, half] & _MASKS[half][covered] for half in range(2))
        with self._lock:
            codes = self._short.find(first, second)
            codes[lengths > _WIDTH] = _UNKNOWN
            met: dict[bytes, int] = {}
            places = []
            unknown = np.flatnonzero(codes == _UNKNOWN)
            data = buffer.tobytes()
            clipped = np.minimum(ends[unknown], starts[unknown] + _LONGEST)
            for place, start, end in zip(
                unknown.tolist(), starts[unknown].tolist(), clipped.tolist(), strict=True
            ):
                word = data[start:end]
                known = self._long if len(word) > _WIDTH else met
                if (code := known.get(word)) is None:
                    code = known[word] = self._learn(word.decode(errors="ignore"))
                    if known is met:
                        places.append(place)
                codes[place] = code
            if places:
                self._short = self._short.add(first[places], second[places], codes[places])
        return codes

    def _learn(self, word: str) -> int:
        if not word.isalnum():
            word = readable(word)
        if (stop_word := self._analyzer.stop_words.get(word)) is not None:
            return -1 - stop_word
        terms = self._analyzer.stems(word)
        if len(terms) == 1:
            return self.terms.setdefault(terms[0], len(self.terms))
        if not terms:
            return _NO_TERM
        first, second = (self.terms.setdefault(term, len(self.terms)) for term in terms)
        self._pairs.append((first, second))
        return self._first_pair + 1 - len(self._pairs)

    def query(self, text: str, *, unknown: bool = False) -> dict[str, tuple[Key | str, float]]:
        """The key and the weight of each term of a query that any document brought; learns nothing.

        With `unknown`, the other terms are there too; their text stands for a key.

        A query of stop words alone has those; a single character of a spaceless script stands for all terms that
        hold it. The first `_MOST` count.
        """
        terms, stop_words = self._analyzer.query(text)
        found: dict[str, tuple[Key | str, float]] = {
            word: (-1 - self._analyzer.stop_words[word], weight) for word, weight in stop_words.items()
        }
        for term, weight in terms.items():
            if len(found) == _MOST:
                break
            if (key := self.key(term)) is not None:
                found[term] = key, weight
            elif unknown:
                found[term] = term, weight
        return found

    def key(self, term: str) -> Key | None:
        """The key of a query's term that is no stop word; None where no document brought it."""
        return self._with(term) if len(units(term)) == 1 else self.terms.get(term)

    def _with(self, unit: str) -> Key:
        """The terms that begin with this one character, itself among them, and the others that end with it."""
        with self._lock:
            for term, number in islice(self.terms.items(), self._sought, None):
                for place, each in enumerate(units(term)):
                    self._holding.setdefault(each, (set(), set()))[place].add(number)
            self._sought = len(self.terms)
            begin, end = self._holding.get(unit, ((), ()))
            return tuple(sorted(begin)), tuple(sorted(end))


_PADDING = np.zeros(_WIDTH, dtype=np.uint8)


def _without_loose_apostrophes(buffer: Ints) -> Ints:
    """Make spaces of the apostrophes that do not stand between two letters or digits."""
    places = np.flatnonzero(buffer == ord("'"))
    if not len(places):
        return buffer
    inner = [(near != ord("'")) & (near > ord(" ")) for near in (buffer[places - 1], buffer[places + 1])]
    buffer = buffer.copy()
    buffer[places[~(inner[0] & inner[1])]] = ord(" ")
    return buffer
