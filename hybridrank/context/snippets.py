"""Snippets: the part of a hit that says why it was found, with the query's terms in it."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any

from hybridrank.context.matches import Match, QueryTerms
from hybridrank.context.sentences import breaks
from hybridrank.result.hits import Hit
from hybridrank.retrieval.analysis import analyzer
from hybridrank.values.arguments import text as checked_text
from hybridrank.values.arguments import whole_number
from hybridrank.values.printable import html_text

__all__ = ["Snippet", "snippet", "snippets"]

_READ = 100_000  # characters of a hit


@dataclass(frozen=True, slots=True)
class Snippet:
    """A part of a hit's text, ``hit.text[start:end]``, with the words in it that match the query.

    `highlights` are their places, start and end, in characters of the hit's text, in order, without overlaps.
    """

    text: str
    start: int
    end: int
    highlights: tuple[tuple[int, int], ...] = ()

    @property
    def matched(self) -> tuple[int, int]:
        """From the first match to the last, in characters of the hit's text; without matches, all of it."""
        return (self.highlights[0][0], self.highlights[-1][1]) if self.highlights else (self.start, self.end)

    def parts(self) -> list[tuple[str, bool]]:
        """The text in parts, and whether each is a match."""
        parts = []
        at = self.start
        for start, end in self.highlights:
            parts += [(self.text[at - self.start : start - self.start], False)]
            parts += [(self.text[start - self.start : end - self.start], True)]
            at = end
        parts.append((self.text[at - self.start :], False))
        return [part for part in parts if part[0]]

    def html(self) -> str:
        """The text as HTML on one line, escaped, with matches in ``<mark>``."""
        parts = [(html_text(re.sub(r"\s+", " ", text)), marked) for text, marked in self.parts()]
        return "".join(f"<mark>{text}</mark>" if marked else text for text, marked in parts)

    def to_dict(self) -> dict[str, Any]:
        """The snippet as JSON values."""
        return {
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "highlights": [list(each) for each in self.highlights],
        }


def snippet(
    hit: Hit,
    query: str,
    *,
    max_chars: int = 300,
    language: str | None = "english",
    fold_accents: bool | None = None,
) -> Snippet:
    """The sentences of a hit that match the query best, at most `max_chars` characters of its text.

    They are searched for in the best span that the reranker reports, otherwise in the first 100,000 characters. A
    sentence counts for the terms of the query in it, rarer ones for more. Without a match, the beginning is taken.
    Terms are matched as `hybridrank.retrieval.BM25` does with this `language` and `fold_accents`: by stems, parts
    of compounds, without accents. `Pipeline.snippets` takes both from the pipeline.

    Raises:
        InputError: an option has a wrong value, or there is no such language.
    """
    (only,) = snippets([hit], query, max_chars=max_chars, language=language, fold_accents=fold_accents)
    return only


def snippets(
    hits: Iterable[Hit],
    query: str,
    *,
    max_chars: int = 300,
    language: str | None = "english",
    fold_accents: bool | None = None,
) -> list[Snippet]:
    """The `snippet` of each hit."""
    whole_number(max_chars, "max_chars", least=1)
    terms = QueryTerms(checked_text(query, "a query"), analyzer(language, fold_accents))
    return [_snippet(hit, terms, max_chars) for hit in hits]


def _snippet(hit: Hit, terms: QueryTerms, max_chars: int) -> Snippet:
    text = hit.text
    start, end = 0, len(text)
    if hit.spans:
        start, end = hit.spans[0].start, max(hit.spans[0].end, hit.spans[0].start + max_chars)
    end = min(end, len(text), start + _READ)
    places = breaks(text, start, end, most=max(1, max_chars // 2))
    pieces = list(pairwise(places))
    matches = list(terms.find(text, start, end))
    first, last = _best(pieces, _by_piece(pieces, matches), terms.weights, max_chars)
    begin, stop = (pieces[first][0], pieces[last][1]) if pieces else (start, end)
    part = text[begin:stop]
    begin += len(part) - len(part.lstrip())
    stop = begin + len(part.strip())
    return Snippet(text[begin:stop], begin, stop, tuple(_joined(matches, begin, stop)))


def _by_piece(pieces: list[tuple[int, int]], matches: list[Match]) -> list[set[str]]:
    left = deque(matches)
    found: list[set[str]] = []
    for _, end in pieces:
        terms: set[str] = set()
        while left and left[0].start < end:
            terms.add(left.popleft().term)
        found.append(terms)
    return found


def _best(
    pieces: list[tuple[int, int]], terms: list[set[str]], weights: dict[str, float], most: int
) -> tuple[int, int]:
    """The first and the last of the neighboring pieces that have the most valuable terms, in linear time."""
    having = Counter(term for each in terms for term in each)
    worth = {term: weights[term] * log(1 + len(pieces) / number) for term, number in having.items()}
    inside: Counter[str] = Counter()
    value = highest = 0.0
    best = first = 0, -1
    begin = 0
    for last in range(len(pieces)):
        value += sum(worth[term] for term in terms[last] if not inside[term])
        inside.update(terms[last])
        while pieces[last][1] - pieces[begin][0] > most or (begin < last and not terms[begin]):
            inside.subtract(terms[begin])
            value -= sum(worth[term] for term in terms[begin] if not inside[term])
            begin += 1
        if value > highest + 1e-9:
            highest, best = value, (begin, last)
    begin, last = best if best != first else (0, 0)
    while last + 1 < len(pieces) and pieces[last + 1][1] - pieces[begin][0] <= most:
        last += 1
    while begin > 0 and pieces[last][1] - pieces[begin - 1][0] <= most:
        begin -= 1
    return begin, last


def _joined(matches: list[Match], start: int, end: int) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last, _ in sorted(each for each in matches if start <= each.start and each.end <= end):
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return joined
