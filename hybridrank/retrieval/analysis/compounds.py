"""Compounds: strings such as ``AB-1234/X`` that are words of their own, in addition to their parts.

The parts of a compound are ordinary words, so that the query "json parse" finds ``parse_json``. The compound is
an additional word, so that the query ``parse_json`` ranks it first. Parts are linked

1. where the case changes: ``camelCase``, ``HTTPServer`` (ASCII letters; no part is a single letter);
2. by ``_`` or ``-``: ``snake_case``, ``kebab-case``, ``AB-1234``;
3. by ``.``, or by ``,`` between digits: ``1.2.3``, ``node.js``, ``john.doe``, ``1,000``;
4. by any of ``/ @ : + # & \\ % $ € £ ¥``: ``john.doe@example.com``, ``std::vector``, ``a/b``.

A link has up to three symbols. Earlier kinds bind tighter, and the longest chain of each kind is a word:
``foo.bar_baz`` gives ``bar_baz`` and itself. A part followed by symbols is a word (``C++``, ``C#``, ``50%``), as
is a chain preceded by symbols (``.NET``, ``$100``, ``#tag``, ``--force``, ``__init__``). Compounds longer than
`LONGEST` bytes are dropped.

In a stream of words, a control character encodes each symbol (`CODES`), and `SEAM` a change of case.
`split_token` reads a str, `spans` the bytes of many texts at once; both give the same words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["CAMEL", "CODES", "LONGEST", "SEAM", "SYMBOLS", "readable", "seams", "spans", "split_token"]

Ints: TypeAlias = NDArray[Any]

LONGEST = 256
_SYMBOLS = {"_": 2, "-": 2, ".": 3, ",": 5} | dict.fromkeys("/@:+#&\\%$€£¥", 4)
_SPACE = " "
_FREE = 5  # the strength of no link

CODES = dict(zip(_SYMBOLS, map(chr, [*range(1, 9), *range(14, 28)]), strict=False))
"""The control character for each symbol of compounds in a stream of words; none is white space."""

SYMBOLS = frozenset(CODES)
SEAM = "\x1b"
CAMEL = re.compile("[A-Z](?:(?<=[A-Za-z][a-z].)(?=[A-Za-z])|(?<=[A-Z][A-Z].)(?=[a-z][a-z]))")
"""The first letter of a part, where the case changes between two parts of a word."""

_BEFORE = frozenset(CODES[symbol] for symbol in ".#@$€£¥_-/")
_BEHIND = frozenset(CODES[symbol] for symbol in "+#%_€")
_COMMA = CODES[","]
_STRENGTH = {SEAM: 1} | {CODES[symbol]: strength for symbol, strength in _SYMBOLS.items()}
_PART = re.compile(f"[^{''.join(_STRENGTH)}]+")
_WRITTEN = {ord(code): symbol for symbol, code in CODES.items()} | {ord(SEAM): None}


def readable(word: str) -> str:
    """Return a word of a stream as it is written: with its symbols, without seams."""
    return word.translate(_WRITTEN)


def split_token(token: str, parts: list[str], compounds: list[str]) -> None:
    """Append the parts and the compounds of a token of a stream."""
    places = [match.span() for match in _PART.finditer(token)]
    parts += [token[start:end] for start, end in places]
    if len(places) > 1 or (places and places[0] != (0, len(token))):
        compounds += _compounds(f"   {token}   ", [(start + 3, end + 3) for start, end in places])


def _compounds(text: str, places: Sequence[tuple[int, int]]) -> list[str]:
    """Return the compounds of the parts at these positions of a text that begins and ends with three spaces."""
    ends = [end + _behind(text, end) for _, end in places]
    strengths = [_link(text[end:start], text[end - 1] + text[start]) for (_, end), (start, _) in pairwise(places)]
    strengths.append(_FREE)
    found = [(start, more) for (start, end), more in zip(places, ends, strict=True) if more > end]
    words = []
    for level in range(1, _FREE):
        first = 0
        for last, strength in enumerate(strengths):
            if strength > level:
                if level in strengths[first:last]:
                    if level == 1:
                        words.append(readable(text[places[first][0] : places[last][1]]))
                    else:
                        found.append((places[first][0], ends[last]))
                first = last + 1
    first = 0
    for last, strength in enumerate(strengths):
        if strength == _FREE:
            start = places[first][0]
            if before := _before(text, start):
                found.append((start - before, ends[last]))
            first = last + 1
    compounds = (text[start:end].replace(SEAM, "") for start, end in found)
    return words + [readable(compound) for compound in compounds if len(compound.encode()) <= LONGEST]


def _link(gap: str, around: str) -> int:
    if gap == _COMMA and around.isascii() and around.isdigit():
        return 3
    return max(_STRENGTH[code] for code in gap) if len(gap) <= 3 else _FREE


def _behind(text: str, end: int) -> int:
    """The number of symbols after a word that belong to it."""
    code, second, third = (text[end + offset] for offset in range(3))
    if code not in _BEHIND:
        return 0
    if second == code:
        return 2 if code != CODES["%"] and third <= _SPACE and third != code else 0
    return 1 if second <= _SPACE else 0


def _before(text: str, start: int) -> int:
    """The number of symbols before a chain that belong to it."""
    code = text[start - 1]
    if code not in _BEFORE:
        return 0
    if text[start - 2] == code:
        return 2 if text[start - 3] == _SPACE else 0
    return 1 if text[start - 2] == _SPACE else 0


def _table(values: dict[str, int], default: int) -> NDArray[np.uint8]:
    table = np.full(256, default, dtype=np.uint8)
    for char, value in values.items():
        table[ord(char)] = value
    return table


_STRENGTHS = _table(_STRENGTH, _FREE)
_IS_BEFORE = _table(dict.fromkeys(_BEFORE, 1), 0)
_IS_BEHIND = _table(dict.fromkeys(_BEHIND, 1), 0)


def seams(buffer: Ints) -> Ints:
    """The positions where `CAMEL` matches in ASCII bytes, ascending."""
    upper, lower = (buffer - np.uint8(first) < 26 for first in b"Aa")
    changes = np.flatnonzero(lower[1:-2] & upper[2:-1]) + 2  # a lower letter stands before, an upper one here
    letter = upper | lower
    changes = changes[letter[changes - 2] & letter[changes + 1]]
    acronyms = np.flatnonzero(upper[1:-3] & upper[2:-2] & lower[3:-1]) + 2
    acronyms = acronyms[upper[acronyms - 2] & lower[acronyms + 2]]
    return np.sort(np.concatenate([changes, acronyms]))


def spans(buffer: Ints) -> tuple[Ints, Ints, int]:
    """The start and the end of every word in the bytes of a stream, parts first, and the number of parts.

    The stream begins and ends with four spaces.
    """
    is_word = buffer > ord(_SPACE)
    edges = np.flatnonzero(is_word[1:] != is_word[:-1])
    edges += 1
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return starts, ends, 0
    before, behind = buffer[starts - 1], buffer[ends]
    linked = np.flatnonzero((behind[:-1] != ord(_SPACE)) & (before[1:] != ord(_SPACE)))
    strengths = np.full(len(starts), _FREE, dtype=np.uint8)
    strengths[linked] = _links(buffer, ends[linked], starts[linked + 1])
    more = np.flatnonzero(_IS_BEHIND[behind])
    code, second, third = (buffer[ends[more] + offset] for offset in range(3))
    twice = (second == code) & (code != ord(CODES["%"])) & (third <= ord(_SPACE)) & (third != code)
    once = (second != code) & (second <= ord(_SPACE))
    more, count = more[once | twice], (once + twice * 2)[once | twice]
    lasts = ends.copy()
    lasts[more] += count
    found = [(starts[more], lasts[more])]
    linked = np.flatnonzero(strengths < _FREE)
    inside = np.union1d(linked, linked + 1)  # the parts that are linked to another
    strengths = strengths[inside]
    for level in range(1, _FREE):
        stops = np.flatnonzero(strengths > level)
        firsts = np.append(0, stops + 1)[:-1]
        links = np.append(0, np.cumsum(strengths == level))
        chains = links[stops] > links[firsts]
        firsts, stops = inside[firsts[chains]], inside[stops[chains]]
        if level == 1:
            words = starts[firsts], ends[stops]
        else:
            found.append((starts[firsts], lasts[stops]))
    first = np.flatnonzero(_IS_BEFORE[before])
    code, second, third = (buffer[starts[first] - offset] for offset in (1, 2, 3))
    once, twice = second == ord(_SPACE), (second == code) & (third == ord(_SPACE))
    first, count = first[once | twice], (once + twice * 2)[once | twice]
    last = first.copy()
    chained = np.isin(first, linked, assume_unique=True)
    free = inside[strengths == _FREE]  # where chains end
    last[chained] = free[free.searchsorted(first[chained])]
    found.append((starts[first] - count, lasts[last]))
    begins, stops = (np.concatenate(each) for each in zip(*found, strict=True))
    short = _short(buffer, begins, stops)
    begins, stops = np.append(words[0], begins[short]), np.append(words[1], stops[short])
    return np.append(starts, begins), np.append(ends, stops), len(starts)


def _links(buffer: Ints, ends: Ints, starts: Ints) -> Ints:
    """The strength of the link between each pair of words."""
    gaps = starts - ends
    first, last, middle = buffer[ends], buffer[starts - 1], buffer[np.minimum(ends + 1, starts - 1)]
    strengths: Ints = np.maximum(np.maximum(_STRENGTHS[first], _STRENGTHS[last]), _STRENGTHS[middle])
    strengths[gaps > 3] = _FREE
    digits = [buffer[places] - np.uint8(ord("0")) < 10 for places in (ends - 1, starts)]
    strengths[(gaps == 1) & (first == ord(_COMMA)) & digits[0] & digits[1]] = 3
    return strengths


def _short(buffer: Ints, starts: Ints, ends: Ints) -> NDArray[np.bool_]:
    """Which of these compounds have at most `LONGEST` bytes, not counting seams."""
    short = np.asarray(ends - starts <= LONGEST, dtype=np.bool_)
    for at in np.flatnonzero(~short & (ends - starts <= 2 * LONGEST)).tolist():
        short[at] = np.count_nonzero(buffer[starts[at] : ends[at]] != ord(SEAM)) <= LONGEST
    return short
