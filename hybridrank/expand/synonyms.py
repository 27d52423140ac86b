"""Query expansion with a table of synonyms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import Field

from hybridrank.component.base import Component, once
from hybridrank.types import Formulation, Query

__all__ = ["Synonyms"]


class Synonyms(Component):
    """Adds formulations with words replaced by their synonyms from a table.

    `table` maps a word or a phrase to its synonyms. Matches ignore case and cover whole words, the longest first.
    Each synonym of each match gives one formulation, with the rest of the text unchanged; at most `limit` of
    them. `weight` is the weight of a formulation, relative to 1 for the query's own text.

    >>> expander = Synonyms(table={"car": ["automobile"]})
    >>> [formulation.text for formulation in expander.expand([Query("Car insurance")])[0]]
    ['automobile insurance']
    """

    use = "synonyms"

    table: Mapping[str, tuple[str, ...]]
    weight: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    limit: int = Field(default=4, ge=1)

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it only computes."""
        return {}

    @once
    def _words(self) -> tuple[re.Pattern[str], Mapping[str, tuple[str, ...]]]:
        table = {word.casefold(): synonyms for word, synonyms in self.table.items() if word.strip()}
        longest_first = sorted(table, key=len, reverse=True)
        pattern = "|".join(map(re.escape, longest_first)) if table else r"(?!)"
        return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE), table

    def expand(self, queries: Sequence[Query]) -> list[list[Formulation]]:
        """One formulation for each synonym of each match, in the order of the text."""
        return [self._expand(query.text) for query in queries]

    def _expand(self, text: str) -> list[Formulation]:
        pattern, table = self._words
        found: dict[str, None] = {}
        for match in pattern.finditer(text):
            for synonym in table.get(match[0].casefold(), ()):
                found.setdefault(f"{text[: match.start()]}{synonym}{text[match.end() :]}")
        found.pop(text, None)
        return [Formulation(each, self.weight) for each in list(found)[: self.limit]]
