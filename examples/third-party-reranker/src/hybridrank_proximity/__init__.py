"""A reranker without a model: it scores documents with many of the query's words, close together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import Field

from hybridrank import Candidates, Component

__all__ = ["Proximity"]

_words = re.compile(r"\w+").findall


class Proximity(Component):
    """Scores a document from 0 to 1 by the share of the query's words that it contains, and their proximity.

    `closeness` is the part of the score that depends on distance: with 0 only the share of the words counts; with
    1 the share is multiplied by the density of the words in the shortest span that contains them all.

    After Clarke, Cormack and Burkowski, "Shortest substring ranking (MultiText experiments for TREC-4)", 1995.
    """

    use = "proximity"

    closeness: float = Field(default=0.5, ge=0, le=1)

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it reads no file and calls no server, so any collection's configuration may name it."""
        return {}

    def score(self, batch: Sequence[Candidates]) -> list[list[float]]:
        """One score per document, in the documents' order; comparable across queries."""
        return [[self._score(c.query.text, document.content) for document in c.documents] for c in batch]

    def _score(self, query: str, text: str) -> float:
        wanted = set(_words(query.casefold()))
        places = [(at, word) for at, word in enumerate(_words(text.casefold())) if word in wanted]
        if not places:
            return 0.0
        found = len({word for _, word in places})
        density = found / _shortest_stretch(places, found)
        return found / len(wanted) * (1 - self.closeness + self.closeness * density)


def _shortest_stretch(places: Sequence[tuple[int, str]], found: int) -> int:
    """The length, in words, of the shortest span of the text that contains all the `found` words."""
    shortest, first = places[-1][0] - places[0][0] + 1, 0
    inside: dict[str, int] = {}
    for at, word in places:
        inside[word] = inside.get(word, 0) + 1
        while inside[places[first][1]] > 1:
            inside[places[first][1]] -= 1
            first += 1
        if len(inside) == found:
            shortest = min(shortest, at - places[first][0] + 1)
    return shortest
