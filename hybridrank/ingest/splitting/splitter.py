"""Long documents -> passages: by headings, then by blocks and sentences, within a budget of tokens.

Markdown's headings (CommonMark's, of ``#`` to ``######`` or underlined with ``=`` or ``-``; not in code, comments,
lists or front matter) open sections. No passage reaches from one section into the next, and short sections are
not merged: each passage is about what its headings say. A heading with nothing beneath it belongs to the section
that follows.

A section that is too long for one passage is cut between blocks (paragraphs, list items, code, tables), else
between sentences (of code and tables: lines), else between lines, between words, within a word. Sentences are
told by their punctuation, in any script: in small by Unicode's rules (UAX #29: a full stop before a lower-case
letter ends nothing), and common abbreviations are known.

Tokens are counted with a model's own tokenizer, twice: each distinct word once, to lay the passages out, and then
each passage whole, as the model will read it. A section in which a passage proves too long, because the tokenizer
joins or spells words otherwise in company, is laid out again with every passage counted as it is made. All of it
takes time in proportion to the text.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from hybridrank.component.base import Component, once
from hybridrank.errors import ModelError
from hybridrank.ingest.markdown import front_matter, headings
from hybridrank.models import resolve, trust_needed_for
from hybridrank.models.onnx_runtime import load_tokenizer
from hybridrank.types import Document, Passage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["SCHEME", "Splitter"]

SCHEME = 2
"""Raise this when the same text is split otherwise than before: it is part of a splitter's identity."""

_CHARACTER, _WORD, _LINE, _SENTENCE, _BLOCK = range(5)
"""What ends where a text may be cut; the more, the better a place."""

_BEST_FIRST = ((_BLOCK, 1 / 2), (_SENTENCE, 1 / 4), (_LINE, 1 / 4), (_SENTENCE, 0), (_LINE, 0), (_WORD, 0))
"""Where to cut: at the last end of each kind, if that leaves at least this share of the passage's room in use."""


class Splitter(Component):
    """Splits documents into passages that a model can read whole.

    `max_tokens` bounds a passage's content (title, headings and text), special tokens included, as the `tokenizer`
    counts: that of a model, by id or directory; best the embedder's own. Title and headings count for at most
    half of it. Longer ones are kept whole all the same: the text then has its half, and the content runs over by
    what they are too long.

    `overlap` is how many tokens of whole sentences, at most, a passage repeats from the end of the one before it
    in its section: fewer where the next sentence would have to be cut for them.

    >>> text = "# Air\\n\\n## Lift\\n\\nIt flows over a wing. The wing rises.\\n\\n## Drag\\n\\nThe wing slows."
    >>> for passage in Splitter(max_tokens=64).split(Document(id="air", text=text)):
    ...     print(passage.id, passage.headings, repr(passage.text))
    air#0 ('Air', 'Lift') '# Air\\n\\n## Lift\\n\\nIt flows over a wing. The wing rises.'
    air#1 ('Air', 'Drag') '## Drag\\n\\nThe wing slows.'
    """

    use: ClassVar[str] = "splitter"

    max_tokens: int = Field(default=256, ge=32)
    overlap: int = Field(default=32, ge=0)
    tokenizer: str = Field(default="BAAI/bge-small-en-v1.5", min_length=1)

    @field_validator("overlap")
    @classmethod
    def _at_most_half(cls, overlap: int, info: ValidationInfo) -> int:
        if overlap * 2 > info.data.get("max_tokens", overlap * 2):
            raise ValueError("the overlap must be at most half of max_tokens")
        return overlap

    def trust_needed(self) -> Mapping[str, str]:
        """A tokenizer that is not on this machine by its model's id, and one that is named by a path."""
        return trust_needed_for(self.tokenizer, choose=_tokenizer_files, option="tokenizer")

    @property
    def identity(self) -> str:
        """What decides where passages begin and end: splitters of equal identity split alike."""
        return f"splitter-{SCHEME}/tokens-{self.max_tokens}/overlap-{self.overlap}/{self.tokenizer}"

    def split(self, document: Document) -> list[Passage]:
        """The document's passages in order, at least one; every character that is not blank is in one.

        Each starts and ends further on than the one before, and has the document's title and metadata. Threads
        may share a splitter.

        Raises:
            ModelError: the tokenizer cannot be found or read.
        """
        counter = self._counter
        units = _Units(document.text, counter)
        title = counter.tokens(f"{document.title}\n") if document.title else 0
        passages: list[Passage] = []
        for section in units.sections:
            passages += self._split(document, units, section, title, len(passages))
        return passages or [_passage(document, 0, 0, len(document.text), ())]

    def _split(
        self, document: Document, units: _Units, section: _Section, title: int, number: int
    ) -> Iterable[Passage]:
        counter = self._counter
        most = self.max_tokens - counter.special
        before_text = title + max(
            (counter.tokens(" > ".join(path) + "\n") for path in {path for _, path in section.paths} if path),
            default=0,
        )
        fits = before_text <= most // 2
        room = most - before_text if fits else most - most // 2

        def made(first: int, end: int, number: int = 0) -> Passage:
            return _passage(document, number, *units.place(first, end), section.headings(end))

        def fill(first: int, end: int) -> float:
            passage = made(first, end)
            return counter.tokens(passage.content) / most if fits else counter.tokens(passage.text) / room

        def too_much(first: int, end: int) -> bool:
            return first < end and counter.tokens(made(first, end).text) > self.overlap

        spans = list(_lay_out(units, section, room, self.overlap))
        if any(fill(*span) > 1 for span in spans) or any(
            too_much(after, end) for (_, end), (after, _) in pairwise(spans)
        ):
            spans = list(_lay_out(units, section, room, self.overlap, fill=fill, too_much=too_much))
        return [made(first, end, at) for at, (first, end) in enumerate(spans, number)]

    @once
    def _counter(self) -> _Counter:
        directory = resolve(self.tokenizer, choose=_tokenizer_files, local_only=self.local_only)
        return _Counter(load_tokenizer(directory))


def _tokenizer_files(names: Iterable[str]) -> list[str]:
    if "tokenizer.json" not in set(names):
        raise ModelError("it has no tokenizer.json, the only form of tokenizer that is read")
    return ["tokenizer.json"]


def _passage(document: Document, number: int, start: int, end: int, headings: tuple[str, ...]) -> Passage:
    return Passage(
        id=f"{document.id}#{number}",
        text=document.text[start:end],
        title=document.title,
        metadata=document.metadata,
        parent=document.id,
        start=start,
        end=end,
        headings=headings,
    )


# Laying passages out


def _lay_out(
    units: _Units,
    section: _Section,
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
        first, done = units.repeated(first, end, section.last, room, overlap), end
        while first < done and too_much(first, done):
            first = units.next_sentence(first, done)


class _Section(NamedTuple):
    """A run of units that no passage leaves; `paths` are the headings above, as they are from a unit on."""

    first: int
    last: int
    paths: list[tuple[int, tuple[str, ...]]]

    def headings(self, end: int) -> tuple[str, ...]:
        """The headings above the unit before `end`."""
        at = bisect_right(self.paths, end - 1, key=lambda path: path[0])
        return self.paths[at - 1][1] if at else ()


class _Units:
    """A text's words, and parts of long ones: where each starts and ends, what ends with it, the sum of tokens."""

    def __init__(self, text: str, counter: _Counter) -> None:
        self.text = text
        self.sections: list[_Section] = []
        self._starts = array("q")
        self._ends = array("q")
        self._kinds = bytearray()
        self._sums = array("q", [0])
        self._read(counter)

    def _read(self, counter: _Counter) -> None:
        text, starts, ends, kinds, sums = self.text, self._starts, self._ends, self._kinds, self._sums
        above: list[tuple[int, str]] = []
        paths: list[tuple[int, tuple[str, ...]]] = []
        first, end, before, body = 0, 0, "", False
        for line in _lines(text):
            if line.heading is not None:
                if body:
                    self.sections.append(_Section(first, len(kinds), paths))
                    first, paths, body = len(kinds), [], False
                level, name = line.heading
                above = [*(heading for heading in above if heading[0] < level), (level, name)]
                paths.append((len(kinds), tuple(name for _, name in above if name)))
            kind, marker = line.before, line.kind == "item"
            for match in _WORDS.finditer(text, line.start, line.end):
                word, start = match.group(), match.start()
                if kind < _SENTENCE and before[-1:] in _TAILS and _ends_sentence(before, word):
                    kind = _SENTENCE
                elif kind == _BLOCK and before.endswith(_LEADS):
                    kind = _SENTENCE  # what it leads to belongs to it
                if kinds:
                    kinds[-1] = kind
                cost = counter.gap(text[end:start])
                for length, tokens in counter.pieces(word):
                    starts.append(start)
                    start += length
                    ends.append(start)
                    kinds.append(_CHARACTER)
                    sums.append(sums[-1] + cost + tokens)
                    cost = 0
                before, end, kind = "" if marker else word, start, _WORD
                marker, body = False, body or line.kind != "heading"
        if kinds:
            self.sections.append(_Section(first, len(kinds), paths))

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
        furthest = [0] * (_BLOCK + 1)
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
        return next((end for end in range(at + 1, last) if self._kinds[end - 1] >= _SENTENCE), last)

    def repeated(self, first: int, end: int, last: int, room: int, overlap: int) -> int:
        """Where the passage after that from `first` to `end` begins, to repeat what fits of its last sentences."""
        sums = self._sums
        ahead = self.next_sentence(end, min(last, end + room))
        spare = min(overlap, room - (sums[ahead] - sums[end]))
        start = at = end
        while at - 1 > first and sums[end] - sums[at - 1] <= spare:
            at -= 1
            if self._kinds[at - 1] >= _SENTENCE:
                start = at
        return start


# What a text holds


@dataclass(slots=True)
class _Line:
    """A line: its place, what it is, what ends before it, and, where it opens a heading, its level and name."""

    start: int
    end: int
    kind: str
    before: int
    heading: tuple[int, str] | None = None


_LINES = re.compile(r"(?:[^\S\r\n]*(?:\r\n?|\n))++|[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
_FENCE = re.compile(r"`{3,}(?=[^`]*\Z)|~{3,}")
_ITEM = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s")
_MOST_INDENTATION = 40  # characters
_INDENTED = ("    ", "\t", " \t", "  \t", "   \t")  # deeper than what Markdown reads as a heading or a fence


_AFTER = {"blank": _BLOCK, "closing": _BLOCK, "row": _BLOCK, "code": _SENTENCE}
"""What ends after a line of a kind, if the next line doesn't say otherwise; else only the line itself."""


def _lines(text: str) -> Iterator[_Line]:
    """Read Markdown, as far as it tells where to cut."""
    front = front_matter(text).end
    found = iter(headings(text[front:]))
    heading = next(found, None)
    number = 0  # of lines behind the front matter
    fence, last = "", "blank"  # what opened the code that we are in; the kind of the line before
    for match in _LINES.finditer(text):
        line, opens = match.group(), None
        bare = line.strip()
        indented = line.startswith(_INDENTED)
        before = _AFTER.get(last, _LINE)
        while heading is not None and heading.end <= number:
            heading = next(found, None)
        if match.start() < front:
            kind = "code"
        elif bare and heading is not None and heading.first <= number:
            kind, before, fence = "heading", _LINE, ""
            if number == heading.first:
                before, opens = _BLOCK, (heading.level, heading.text)
        elif fence:
            kind = "code"
            if not indented and bare.startswith(fence) and not bare.strip(fence[0]):
                kind, before, fence = "closing", _LINE, ""
        elif not bare:
            kind = "blank"
        elif _ITEM.match(bare):
            kind, before = "item", _BLOCK
        elif bare[0] == "|":
            kind = "row" if bare.strip("|-: \t") else "divider"
            if last == "row":
                before = _SENTENCE if kind == "row" else _LINE
            elif last != "divider":
                before = _BLOCK
        elif indented or bare[0] == ">":
            kind = "other"
        elif (opening := _FENCE.match(bare)) and (bare[0] == "`" or last != "text"):  # ~~~ underlines, in RST
            kind, before, fence = "opening", _BLOCK, opening[0]
        else:
            kind = "text"
        yield _Line(match.start(), match.end(), kind, before, opens)
        last = "heading" if last == "heading" and kind == "blank" else kind
        if match.start() >= front:
            number += 1 if bare else _line_ends(line)


def _line_ends(blanks: str) -> int:
    return blanks.count("\n") + blanks.count("\r") - blanks.count("\r\n")


# Sentences

_CLOSING = "\"'”’»›)]}*_`>」』）】》〉｣"
_OPENING = "\"'“‘«‹([{*_`<¿¡「『（【《〈｢„‚"
_WIDE_STOPS = "。！？｡។៕။"  # the next sentence follows without a space
_STOPS = frozenset(".!?…‥‼‽⁇⁈⁉" + _WIDE_STOPS + "։؝؞؟۔܀܁܂߹࠷࠹࠽࠾।॥၊፧።፨᙮᜵᜶᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿⸮⸼꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫﹖﹗")
"""What ends a sentence: Unicode's Sentence_Terminal in the scripts of today, and the ellipsis."""

_LEADS = (":", "：")
_TAILS = _STOPS | frozenset(_CLOSING)
_ABBREVIATION = re.compile(
    "al|approx|bzw|ca|cf|capt|col|dept|dr|dra|ed|eds|esp|est|et|evtl|figs|gen|ggf|gov|hon|hr|lt|maj|messrs|mrs?|ms|mt"
    "|nr|op|orig|prof|pt|rep|resp|rev|sen|sgt|sra?|ssp|st|subsp|u|usw|var|viz|vs",
    re.IGNORECASE,
)
_BEFORE_A_NUMBER = re.compile(
    "abbs?|apps?|apr|art|aug|bd|cha?p?|dec|eqs?|feb|figs?|jan|jul|jun|kap|mar|nos?|nov|oct|par|pp?|s|sec|sect|sept?"
    "|tab|vol",
    re.IGNORECASE,
)
_WORDS = re.compile(rf"(?=\S)[^\s{_WIDE_STOPS}]*+(?:[{_WIDE_STOPS}]++[{re.escape(_CLOSING)}]*+)?")


def _ends_sentence(word: str, following: str) -> bool:
    """Whether a sentence ends with `word`, of which the last character is one of `_TAILS`."""
    bare = word.rstrip(_CLOSING)
    if not bare or bare[-1] not in _STOPS:
        return False
    after = following.lstrip(_OPENING)[:1]
    if after.islower():
        return False
    if bare[-1] != "." or bare.endswith(".."):
        return True
    stem = bare[:-1].lstrip(_OPENING)
    if "." in stem:
        return not all(len(part) <= 2 and part.isalpha() for part in stem.split("."))  # U.S., e.g., Ph.D.
    if len(stem) == 1 and stem.isalpha() and stem != "I":
        return False  # an initial
    return not (_ABBREVIATION.fullmatch(stem) or (after.isnumeric() and _BEFORE_A_NUMBER.fullmatch(stem)))


# Tokens

_LONG_WORD = 32  # characters
_LONG_PIECE = 8  # tokens
_MOST_WORDS = 100_000  # remembered


class _Counter:
    """Counts a tokenizer's tokens; `special` is how many it adds to a text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.special = tokenizer.num_special_tokens_to_add(is_pair=False)
        self._alone = self.tokens("a")
        self._reads_gaps = self.tokens("a\n\n  a") != self.tokens("a a")
        self._pieces: dict[str, tuple[tuple[int, int], ...]] = {}
        self._gaps: dict[str, int] = {}

    def tokens(self, text: str) -> int:
        """How many tokens a text is, without special ones."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def gap(self, gap: str) -> int:
        """How many tokens more than a space the blanks between two words are."""
        if gap in ("", " ") or not self._reads_gaps:
            return 0
        if (known := self._gaps.get(gap)) is None:
            if len(self._gaps) >= _MOST_WORDS:
                self._gaps = {}
            self._gaps[gap] = known = max(0, self.tokens(f"a{gap}a") - self.tokens("a a"))
        return known

    def pieces(self, word: str) -> tuple[tuple[int, int], ...]:
        """A word, or the pieces that a long one may be cut into: how many characters, and how many tokens.

        The tokens are counted as for a word after a space, and as one where there are none.
        """
        if len(word) > _LONG_WORD:
            return tuple(self._cut(word))
        if (known := self._pieces.get(word)) is None:
            if len(self._pieces) >= _MOST_WORDS:
                self._pieces = {}
            self._pieces[word] = known = tuple(self._cut(word))
        return known

    def _cut(self, word: str) -> Iterator[tuple[int, int]]:
        size = _LONG_WORD
        if len(word) <= size:
            tokens = max(1, self.tokens(f"a {word}") - self._alone)
            if tokens <= _LONG_PIECE or len(word) == 1:
                yield len(word), tokens
                return
            size = max(1, min(len(word) - 1, len(word) * _LONG_PIECE // tokens))
        start = 0
        while start < len(word):
            end = _before_mark(word, start, start + size)
            yield from self.pieces(word[start:end])
            start = end


def _before_mark(word: str, start: int, end: int) -> int:
    """`end`, or as far before it as it takes not to part a character from its marks, if that is behind `start`."""
    at = end
    while start < at < len(word) and (word[at] in _JOINED or word[at - 1] == _JOINER or _is_mark(word[at])):
        at -= 1
    return at if at > start else end


_JOINER = "\u200d"
_JOINED = _JOINER + "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"  # and the skin tones of emoji


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"
