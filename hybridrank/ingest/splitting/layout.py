"""Layout of passages: the words of a text, with possible cuts, laid out within a budget of tokens."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from hybridrank.ingest.splitting.lines import BLOCK, CHARACTER, LINE, SENTENCE, WORD, read_lines
from hybridrank.ingest.splitting.sentences import LEADS, TAILS, WORDS, ends_sentence
from hybridrank.ingest.splitting.token_counts import TokenCounter

__all__ = ["TextSection", "Units", "lay_out"]

_BEST_FIRST = ((BLOCK, 1 / 2), (SENTENCE, 1 / 4), (LINE, 1 / 4), (SENTENCE, 0), (LINE, 0), (WORD, 0))
"""Where to cut: at the last end of each kind, if that leaves at least this share of the passage's room in use."""
_MOST_INDENTATION = 40  # characters


def lay_out(
    units: Units,
    section: TextSection,
    room: int,
    overlap: int,
    *,
    fill: Callable[[int, int], float] = lambda first, end: 0,  # noqa: ARG005
    too_much: Callable[[int, int], bool] = lambda first, end: False,  # noqa: ARG005
) -> Iterator[tuple[int, int]]:
    """First and behind the last unit of each passage of a section.

    Units go by the sum of their tokens, unless `fill` tells what share of a passage's room they really take (more
    than 1: too much), and `too_much` whether they are too much to be repeated.
    """
    first = done = section.first
    while True:
        end = units.cut(first, done, section.last, room)
        while (taken := fill(first, end)) > 1 and (first < done or end > done + 1):
            if first < done:
                first = done  # repeat nothing
                end = units.cut(first, done, section.last, room)
            else:
                end = units.cut(
                    first, done, section.last, room, most=min(end - 1, done + int((end - done) / taken))
                )
        yield first, end
        if end == section.last:
            return
        first, done = units.next_start(first, end, section.last, room, overlap), end
        while first < done and too_much(first, done):
            first = units.next_sentence(first, done)


class TextSection(NamedTuple):
    """A run of units that no passage leaves; `paths` are the headings above, as they are from a unit on."""

    first: int
    last: int
    paths: list[tuple[int, tuple[str, ...]]]

    def headings(self, end: int) -> tuple[str, ...]:
        """The headings above the unit before `end`."""
        at = bisect_right(self.paths, end - 1, key=lambda path: path[0])
        return self.paths[at - 1][1] if at else ()


class Units:
    """A text's words, and parts of long ones: where each starts and ends, what ends with it, the sum of tokens."""

    def __init__(self, text: str, counter: TokenCounter) -> None:
        self.text = text
        self.sections: list[TextSection] = []
        self._starts = array("q")
        self._ends = array("q")
        self._kinds = bytearray()
        self._sums = array("q", [0])
        self._read(counter)

    def _read(self, counter: TokenCounter) -> None:
        text, starts, ends, kinds, sums = self.text, self._starts, self._ends, self._kinds, self._sums
        above: list[tuple[int, str]] = []
        paths: list[tuple[int, tuple[str, ...]]] = []
        first, end, before, body = 0, 0, "", False
        for line in read_lines(text):
            if line.heading is not None:
                if body:
                    self.sections.append(TextSection(first, len(kinds), paths))
                    first, paths, body = len(kinds), [], False
                level, name = line.heading
                above = [*(heading for heading in above if heading[0] < level), (level, name)]
                paths.append((len(kinds), tuple(name for _, name in above if name)))
            kind, marker = line.before, line.kind == "item"
            for match in WORDS.finditer(text, line.start, line.end):
                word, start = match.group(), match.start()
                if kind < SENTENCE and before[-1:] in TAILS and ends_sentence(before, word):
                    kind = SENTENCE
                elif kind == BLOCK and before.endswith(LEADS):
                    kind = SENTENCE  # what it leads to belongs to it
                if kinds:
                    kinds[-1] = kind
                cost = counter.gap(text[end:start])
                for length, tokens in counter.pieces(word):
                    starts.append(start)
                    start += length
                    ends.append(start)
                    kinds.append(CHARACTER)
                    sums.append(sums[-1] + cost + tokens)
                    cost = 0
                before, end, kind = "" if marker else word, start, WORD
                marker, body = False, body or line.kind != "heading"
        if kinds:
            self.sections.append(TextSection(first, len(kinds), paths))

    def place(self, first: int, end: int) -> tuple[int, int]:
        """Where the units from `first` to before `end` stand in the text, with the first line's indentation."""
        start, end = self._starts[first], self._ends[end - 1]
        floor = max(self._ends[first - 1] if first else 0, start - _MOST_INDENTATION)
        line = 1 + max(self.text.rfind("\n", floor, start), self.text.rfind("\r", floor, start))
        return (line if line or not floor else start), end

    def cut(self, first: int, done: int, last: int, room: int, *, most: int | None = None) -> int:
        """Where a passage from `first` on best ends, of the places behind `done` (and not behind `most`)."""
        sums = self._sums
        reach = bisect_right(sums, sums[first] + room, done + 1, last + 1) - 1
        reach = max(done + 1, reach if most is None else min(reach, most))
        if reach == last:
            return last
        furthest = [0] * (BLOCK + 1)
        best = -1
        for at in range(reach, done, -1):
            while best < self._kinds[at - 1]:
                best += 1
                furthest[best] = at
        for kind, share in _BEST_FIRST:
            at = furthest[kind]
            if at and sums[at] - sums[first] >= share * room:
                return at
        return reach

    def next_sentence(self, at: int, last: int) -> int:
        """Behind the sentence that starts or goes on at the unit `at`; `last` if that comes first."""
        return next((end for end in range(at + 1, last) if self._kinds[end - 1] >= SENTENCE), last)

    def next_start(self, first: int, end: int, last: int, room: int, overlap: int) -> int:
        """Where the passage after that from `first` to `end` begins, to repeat what fits of its last sentences."""
        sums = self._sums
        ahead = self.next_sentence(end, min(last, end + room))
        spare = min(overlap, room - (sums[ahead] - sums[end]))
        start = at = end
        while at - 1 > first and sums[end] - sums[at - 1] <= spare:
            at -= 1
            if self._kinds[at - 1] >= SENTENCE:
                start = at
        return start
