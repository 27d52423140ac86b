"""Selection of training examples from mined documents: positives, and hard negatives without false ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Literal, TypeAlias

from hybridrank.errors import InputError
from hybridrank.training.mined import Mined, MinedCandidate, MinedQuery

__all__ = ["Example", "Sampling", "Selected", "select"]

Sampling: TypeAlias = Literal["random", "hardest"]
"""Negatives at random from all that were mined, or those that retrieval ranked best."""


@dataclass(frozen=True, slots=True)
class Example:
    """A query with its documents, the relevant ones first.

    `labels` are the grades (0 for a negative), `teacher` the teacher's scores; both in the documents' order.
    """

    query_id: str
    query: str
    doc_ids: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[float, ...]
    teacher: tuple[float, ...] | None

    @property
    def positives(self) -> int:
        """The number of relevant documents, which come first."""
        return sum(label > 0 for label in self.labels)


@dataclass(frozen=True)
class Selected:
    """Examples, and the counts of their selection.

    `false_negatives` were dropped because the teacher scores them like relevant documents, or because their text
    is the same. `queries_without` have no positive or no negative, and were left out. `missed_positives` are
    relevant documents that retrieval missed, and that are used nevertheless.
    """

    examples: Sequence[Example]
    false_negatives: int
    queries_without: int
    missed_positives: int

    def counts(self) -> dict[str, int]:
        """The numbers, by name."""
        return {
            "queries": len(self.examples),
            "positives": sum(example.positives for example in self.examples),
            "negatives": sum(len(example.labels) - example.positives for example in self.examples),
            "missed_positives": self.missed_positives,
            "false_negatives_dropped": self.false_negatives,
            "queries_without_pairs": self.queries_without,
        }


def select(
    mined: Mined,
    *,
    negatives: int = 8,
    positives: int = 4,
    margin: float | None = 0.0,
    sampling: Sampling = "random",
    seed: int = 0,
) -> Selected:
    """Select at most `positives` relevant documents and `negatives` others for each training query.

    If a teacher has scored the documents, an unjudged document is not used as a negative if its score is above
    that of the query's relevant documents (above their median, if there are several), or less than `margin`
    below. (`margin` is on the teacher's scale; None disables the filter.) A document judged irrelevant is always
    a negative.

    The selection depends on `seed` and the query, not on the order of queries.

    Raises:
        InputError: an option is wrong, or there is nothing to learn from.
    """
    if negatives < 1 or positives < 1:
        raise InputError(f"it takes at least 1 positive and 1 negative, not {positives} and {negatives}")
    examples = []
    dropped = without = missed = 0
    for query in mined.of("train"):
        rng = random.Random(f"{seed} {query.id}")
        good = [each for each in query.candidates if query.is_relevant(each.doc_id)]
        bad, false = _negatives(mined, query, good, margin)
        dropped += false
        if not good or not bad:
            without += 1
            continue
        chosen = sorted(rng.sample(good, min(positives, len(good))), key=lambda each: each.doc_id)
        others = bad[:negatives] if sampling == "hardest" else rng.sample(bad, min(negatives, len(bad)))
        missed += sum(each.rank is None for each in chosen)
        examples.append(_example(mined, query, [*chosen, *others]))
    if not examples:
        raise InputError(
            f"{mined.path} has nothing to learn from: {without:,} training queries, none with both a relevant "
            f"document and a negative ({dropped:,} were dropped as false negatives)"
        )
    return Selected(examples, dropped, without, missed)


def _negatives(
    mined: Mined, query: MinedQuery, good: Sequence[MinedCandidate], margin: float | None
) -> tuple[list[MinedCandidate], int]:
    """Negatives in fused order, and the number dropped as probable false negatives."""
    texts = {mined.documents[each.read].text for each in good}
    known = [each.teacher for each in good if each.teacher is not None]
    limit = median(known) - margin if known and margin is not None else inf

    def is_negative(each: MinedCandidate) -> bool:
        if mined.documents[each.read].text in texts:
            return False
        return each.doc_id in query.relevance or each.teacher is None or each.teacher < limit

    others = [each for each in query.candidates if not query.is_relevant(each.doc_id)]
    kept = [each for each in others if is_negative(each)]
    return kept, len(others) - len(kept)


def _example(mined: Mined, query: MinedQuery, chosen: Sequence[MinedCandidate]) -> Example:
    scores = [each.teacher for each in chosen if each.teacher is not None]
    return Example(
        query_id=query.id,
        query=query.text,
        doc_ids=tuple(each.doc_id for each in chosen),
        texts=tuple(mined.documents[each.read].text for each in chosen),
        labels=tuple(float(max(0, query.relevance.get(each.doc_id, 0))) for each in chosen),
        teacher=tuple(scores) if len(scores) == len(chosen) else None,
    )
