"""Where the terms of a query stand in a text, by BM25's analysis.

An analyzer keeps no offsets: it normalizes text, which changes its length. So the text is cut into tokens,
which are analyzed one by one, each only once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from hybridrank.retrieval.analysis import Analyzer
from hybridrank.retrieval.analysis.compounds import CAMEL
from hybridrank.retrieval.analysis.words import SPACELESS

__all__ = ["Match", "QueryTerms"]

_SPACELESS = "".join(f"{chr(first)}-{chr(last)}" for first, last in SPACELESS if first != 0x3000) + "\u3005-\u31ff"
_ENDS = r"\s;!?()\[\]{}<>\"“”„«»\u3000-\u3003\u3008-\u301f！？；，。、（）「」"
_MARKS = r"[^\w\s\x00-\x7f\u2010-\u2027\u2030-\u205e\u3000-\u303f\uff00-\uff65]*+"
_RUN = rf"(?:(?=\w)[{_SPACELESS}]{_MARKS})"
_TOKEN = re.compile(rf"({_RUN}{{1,64}})|(?:(?![{_SPACELESS}])[^{_ENDS}]){{1,256}}")
_UNIT = re.compile(rf"\w{_MARKS}")
_PART = re.compile(r"[^\x00-&(-/:-@\[-`{-\x7f¡¿§·\u2010-\u2018\u201a-\u2027\u2030-\u205e]+")
_EDGES = ".,:'’`*|"


class Match(NamedTuple):
    """A term of the query, from `start` to `end` in a text."""

    start: int
    end: int
    term: str


class QueryTerms:
    """The terms of a query with their weights, and where they stand in texts.

    Not thread-safe.
    """

    def __init__(self, query: str, analyzer: Analyzer) -> None:
        terms, stop_words = analyzer.query(query)
        self.weights = {**stop_words, **terms}
        self._analyzer = analyzer
        self._reads_stop_words = bool(stop_words)
        self._known: dict[str, tuple[Match, ...]] = {}

    def find(self, text: str, start: int, end: int) -> Iterator[Match]:
        """The matches in a part of a text, in order; those of one word may overlap."""
        if not self.weights:
            return
        for token in _TOKEN.finditer(text, start, end):
            written = token[0]
            if (found := self._known.get(written)) is None:
                found = tuple(self._in_run(written) if token[1] else self._in_token(written))
                self._known[written] = found
            for first, last, term in found:
                yield Match(token.start() + first, token.start() + last, term)

    def _terms(self, text: str) -> set[str]:
        words = self._analyzer.words(text)
        found = {term for word in words for term in self._analyzer.forms(word)}
        if self._reads_stop_words:
            found.update(words)
        return found & self.weights.keys()

    def _in_token(self, token: str) -> Iterator[Match]:
        found = self._terms(token)
        for part in _PART.finditer(token) if found else ():
            places = [part.start(), *(each.start() for each in CAMEL.finditer(token, *part.span())), part.end()]
            for start, end in pairwise(places):
                for term in self._terms(token[start:end]):
                    found.discard(term)
                    yield Match(start, end, term)
        bare = token.strip(_EDGES)
        start = token.find(bare)
        for term in found:  # the token as a whole: a compound
            yield Match(start, start + len(bare), term)

    def _in_run(self, token: str) -> Iterator[Match]:
        """In a script without spaces: pairs of characters, or one, if the query has one alone."""
        units = list(_UNIT.finditer(token))
        for first, last in [*pairwise(units), *zip(units, units, strict=True)]:
            for term in self._terms(token[first.start() : last.end()]):
                yield Match(first.start(), last.end(), term)
