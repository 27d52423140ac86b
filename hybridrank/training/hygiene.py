"""Separation of training and test data: held-out queries, and the documents that answer them."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from hybridrank.errors import InputError
from hybridrank.evaluation import Dataset

__all__ = ["HeldOutDocuments", "TrainingSplit", "normalize_text", "separate", "set_aside"]

HeldOutDocuments: TypeAlias = Literal["no-positives", "nowhere", "anywhere"]
"""What training may do with documents that are relevant to a held-out query.

``"no-positives"``: never show one as relevant; it may be a negative of a query that it does not answer.
``"nowhere"``: not show it at all. ``"anywhere"``: use it; the queries alone are held out, as benchmarks with one
collection for all splits commonly have it.
"""


@dataclass(frozen=True)
class TrainingSplit:
    """Training queries without the held-out data, and the number of removed items.

    `withheld` are documents that must not be shown, by training query: neither as relevant (they answer a
    held-out query) nor as irrelevant (they answer this one, too). `banned` must not be shown for any query.

    The counts: queries dropped since their id, or since their text is a held-out query's; judgments "relevant"
    dropped since their document answers a held-out query; queries dropped since no relevant document was left.
    """

    train: Dataset
    withheld: Mapping[str, frozenset[str]] = field(default_factory=dict)
    banned: frozenset[str] = frozenset()
    queries_of_same_id: int = 0
    queries_of_same_text: int = 0
    judgments_dropped: int = 0
    queries_left_empty: int = 0

    def counts(self) -> dict[str, int]:
        """What was dropped, by name."""
        return {
            "queries_of_same_id": self.queries_of_same_id,
            "queries_of_same_text": self.queries_of_same_text,
            "judgments_dropped": self.judgments_dropped,
            "queries_left_empty": self.queries_left_empty,
        }


def normalize_text(text: str) -> str:
    """A query's text for comparison: compatibility forms, case, final punctuation and spaces are normalized.

    >>> normalize_text("  What is ＲＡＧ? ")
    'what is rag'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" .,;:!?…。？！")


def separate(
    train: Dataset, held_out: Iterable[Dataset], *, documents: HeldOutDocuments = "no-positives"
) -> TrainingSplit:
    """Take out of `train` every query that is held out too, by id or by text, and see to `documents`.

    Raises:
        InputError: nothing is left to train on; says what took it.
    """
    ids: set[str] = set()
    texts: set[str] = set()
    answers: set[str] = set()
    for dataset in held_out:
        ids.update(dataset.queries)
        texts.update(map(normalize_text, dataset.queries.values()))
        for query_id in dataset.queries:
            answers.update(dataset.relevant(query_id))
    same_id = [q for q in train.queries if q in ids]
    same_text = [q for q, text in train.queries.items() if q not in ids and normalize_text(text) in texts]
    gone = {*same_id, *same_text}
    kept = [query_id for query_id in train.queries if query_id not in gone]
    own = {query_id: train.relevant(query_id) for query_id in kept}
    withheld = {} if documents == "anywhere" else {q: own[q] & answers for q in kept if own[q] & answers}
    empty = [query_id for query_id in kept if not own[query_id] - withheld.get(query_id, frozenset())]
    kept = [query_id for query_id in kept if query_id not in set(empty)]
    dropped = sum(map(len, withheld.values()))
    if not kept:
        raise InputError(
            f"nothing of {train.label} is left to train on: {len(same_id):,} queries have a held-out query's id, "
            f"{len(same_text):,} its text, and {len(empty):,} no relevant document but those that answer "
            'held-out queries; the choice "anywhere" allows such documents'
        )
    qrels = {q: {d: grade for d, grade in train.qrels[q].items() if d not in withheld.get(q, ())} for q in kept}
    return TrainingSplit(
        train=replace(train.only(kept), qrels=qrels),
        withheld={query_id: withheld[query_id] for query_id in kept if query_id in withheld},
        banned=frozenset(answers) if documents == "nowhere" else frozenset(),
        queries_of_same_id=len(same_id),
        queries_of_same_text=len(same_text),
        judgments_dropped=dropped,
        queries_left_empty=len(empty),
    )


def set_aside(dataset: Dataset, count: int, *, seed: int = 0) -> Dataset:
    """About `count` randomly chosen queries, such that no relevant document also answers one of the others.

    Queries that share a document, directly or through a third, are taken together or not at all. If that gives
    less than half of `count`, the rest is chosen randomly from all queries: then separation is impossible.
    """
    rng = random.Random(seed)
    groups = _overlapping(dataset)
    rng.shuffle(groups)
    chosen: list[str] = []
    others: list[str] = []
    for group in groups:
        (chosen if len(chosen) + len(group) <= count else others).extend(group)
    if 2 * len(chosen) < count:
        chosen += rng.sample(others, count - len(chosen))
    return dataset.only(chosen)


def _overlapping(dataset: Dataset) -> list[list[str]]:
    """The queries in groups, such that no two groups have a relevant document in common."""
    leader = {query_id: query_id for query_id in dataset.queries}

    def led_by(query_id: str) -> str:
        while leader[query_id] != query_id:
            query_id = leader[query_id]
        return query_id

    first: dict[str, str] = {}
    for query_id in dataset.queries:
        for doc_id in dataset.relevant(query_id):
            leader[led_by(query_id)] = led_by(first.setdefault(doc_id, query_id))
    groups: dict[str, list[str]] = {}
    for query_id in dataset.queries:
        groups.setdefault(led_by(query_id), []).append(query_id)
    return list(groups.values())
