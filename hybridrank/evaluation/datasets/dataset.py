"""A test collection: documents, queries, and the judges' word on which document answers which query."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import index
from typing import Any, TypeAlias

from hybridrank.errors import InputError
from hybridrank.types import Document
from hybridrank.values.arguments import document_ids

__all__ = ["Dataset", "Judgments"]

Judgments: TypeAlias = Mapping[str, Mapping[str, int]]
"""By query, then by document: a grade. Above 0 is relevant, and more is better; what is not there is unjudged."""

_SHOWN = 3  # of the ids that a message is about


@dataclass(frozen=True)
class Dataset:
    """Judged queries, and the documents that they are asked of.

    `queries` maps a query's id to its text, and holds exactly those that `qrels` judges. `ignored` are documents
    that the judges set aside, by query: they are taken out of every ranking before it is measured. `source` gives
    the documents, a new iterable on each call, or is a sequence of them; None where a collection holds them.

    `synthetic` says what made the judgments, where no person did: every report then says so. `unjudged` are
    queries that came with the others and that nobody judged: they are left out. `places` says where a judgment
    stands, ``file:line`` by query and document, for messages.

    Raises:
        InputError: a judged query has no text, an id is no str, a grade is not a whole number, there are no
            judgments, or none of them says that a document is relevant.
    """

    name: str
    queries: Mapping[str, str]
    qrels: Judgments
    split: str = ""
    ignored: Mapping[str, frozenset[str]] = field(default_factory=dict)
    source: Callable[[], Iterable[Document]] | Sequence[Document] | None = field(
        default=None, repr=False, compare=False
    )
    synthetic: str = ""
    unjudged: tuple[str, ...] = ()
    places: Mapping[tuple[str, str], str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not any(self.qrels.values()):
            raise InputError(
                f"{self.label} has no judgments: nothing says which documents are relevant. Judge some queries, "
                "or have a chat model do it (`hybridrank judge`); without judgments, `tune --unsupervised` still "
                "works, and evaluation.diff compares the rankings of two searches"
            )
        document_ids(self.queries, f"the queries of {self.label}", kind="query ids")
        document_ids(self.qrels, f"the judged queries of {self.label}", kind="query ids")
        qrels = {query_id: self._grades(query_id, grades) for query_id, grades in self.qrels.items()}
        object.__setattr__(self, "qrels", qrels)
        ignored = {
            query_id: frozenset(document_ids(ids, f"what {self.label} ignores for query {query_id!r}"))
            for query_id, ids in self.ignored.items()
        }
        object.__setattr__(self, "ignored", ignored)
        if missing := [query_id for query_id in self.qrels if query_id not in self.queries]:
            first = missing[0]
            raise InputError(
                f"{self._at(first, *list(self.qrels[first])[:1])}query {first!r} is judged, and there is no such "
                f"query{_more(missing)}"
            )
        if blank := [query_id for query_id in self.qrels if not _is_text(self.queries[query_id])]:
            raise InputError(f"{self.label}: query {blank[0]!r} has no text{_more(blank)}")
        if not any(grade > 0 for grades in self.qrels.values() for grade in grades.values()):
            raise InputError(
                f"{self.label} has no relevant document at all: no grade is above 0, so every measure would be 0"
            )
        unjudged = [query_id for query_id in self.queries if query_id not in self.qrels]
        object.__setattr__(self, "queries", {q: text for q, text in self.queries.items() if q in self.qrels})
        object.__setattr__(self, "unjudged", (*self.unjudged, *unjudged))

    def _grades(self, query_id: str, grades: Mapping[str, int]) -> dict[str, int]:
        """A copy of the judgments of one query, checked."""
        if not isinstance(grades, Mapping):
            raise InputError(
                f"the judgments of query {query_id!r} must map document ids to grades, not be a "
                f"{type(grades).__name__}"
            )
        document_ids(grades, f"the judgments of query {query_id!r}")
        checked = {}
        for doc_id, grade in grades.items():
            try:
                if isinstance(grade, bool):
                    raise TypeError
                checked[doc_id] = index(grade)  # of NumPy's integers, too
            except TypeError:
                at = self._at(query_id, doc_id)
                raise InputError(
                    f"{at}the grade of document {doc_id!r} for query {query_id!r} must be a whole number, "
                    f"not {grade!r}"
                ) from None
        return checked

    @property
    def label(self) -> str:
        """Its name, and the split where there is one: ``scifact/test``."""
        return f"{self.name}/{self.split}" if self.split else self.name

    def __len__(self) -> int:
        """How many queries are judged."""
        return len(self.queries)

    def documents(self) -> Iterator[Document]:
        """The documents, read again each time.

        Raises:
            InputError: it has none of its own, or one cannot be read.
        """
        if self.source is None:
            raise InputError(
                f"{self.label} has no documents of its own: say which collection, or which files, hold them"
            )
        yield from self.source() if callable(self.source) else self.source

    @property
    def without_relevant(self) -> tuple[str, ...]:
        """Judged queries for which no document is relevant: they count as 0, as in trec_eval."""
        return tuple(q for q, grades in self.qrels.items() if not any(grade > 0 for grade in grades.values()))

    def relevant(self, query_id: str) -> frozenset[str]:
        """The documents that are relevant to a query."""
        return frozenset(doc_id for doc_id, grade in self.qrels[query_id].items() if grade > 0)

    @property
    def digest(self) -> str:
        """A hash of the queries, the judgments and what is ignored; 16 hexadecimal digits."""
        said = [
            [query_id, text, sorted(self.qrels[query_id].items()), sorted(self.ignored.get(query_id, ()))]
            for query_id, text in sorted(self.queries.items())
        ]
        return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()[:16]

    def only(self, query_ids: Iterable[str]) -> Dataset:
        """The same with these queries alone, in this order.

        Raises:
            InputError: there is no such query, or for none of them a document is relevant.
        """
        kept = list(dict.fromkeys(query_ids))
        if unknown := [query_id for query_id in kept if query_id not in self.queries]:
            raise InputError(f"{self.label} has no query {unknown[0]!r}{_more(unknown)}")
        return replace(
            self,
            queries={query_id: self.queries[query_id] for query_id in kept},
            qrels={query_id: self.qrels[query_id] for query_id in kept},
            ignored={query_id: self.ignored[query_id] for query_id in kept if query_id in self.ignored},
            unjudged=(),
        )

    def sample(self, queries: int, *, seed: int = 0) -> Dataset:
        """A random sample of the queries; all of them if there are no more.

        A larger sample of the same seed holds every smaller one, so that what was done for that is of use.
        """
        if queries < 1:
            raise InputError(f"a sample needs at least one query, not {queries}")
        ids = list(self.queries)
        random.Random(seed).shuffle(ids)
        return self.only(ids[:queries])

    def folds(self, count: int, *, seed: int = 0) -> list[tuple[Dataset, Dataset]]:
        """For cross-validation: `count` pairs of (the other queries, these queries); each is in one fold.

        Raises:
            InputError: `count` is below 2, there are fewer queries than folds, or no document is relevant to any
                query of a part.
        """
        if not 2 <= count <= len(self):
            raise InputError(f"{len(self)} queries cannot be cut into {count} folds; it takes at least 2")
        ids = list(self.queries)
        random.Random(seed).shuffle(ids)
        parts = [ids[number::count] for number in range(count)]
        return [(self.only(q for q in ids if q not in set(part)), self.only(part)) for part in parts]

    def unknown_documents(self, held: Collection[str]) -> list[tuple[str, str]]:
        """The (query, document) of every judgment "relevant" whose document is not among those `held`.

        Raises:
            InputError: not one of the relevant documents is: these are not the documents that were judged.
        """
        relevant = [(query_id, doc_id) for query_id in self.qrels for doc_id in self.relevant(query_id)]
        unknown = [(query_id, doc_id) for query_id, doc_id in relevant if doc_id not in held]
        if len(unknown) == len(relevant):
            query_id, doc_id = min(unknown)
            raise InputError(
                f"{self._at(query_id, doc_id)}none of the {len(relevant):,} relevant documents of {self.label} is "
                f"held, such as {doc_id!r}: these are other documents, or have other ids"
            )
        return sorted(unknown)

    def warnings(self, unknown: Sequence[tuple[str, str]] = ()) -> list[str]:
        """What an honest report has to say about the judgments; `unknown` is what `unknown_documents` gave."""
        said = []
        if self.synthetic:
            said.append(
                f"SYNTHETIC JUDGMENTS, made by {self.synthetic}, not by people: they tell pipelines apart "
                "only as well as it judges"
            )
        if unknown:
            query_id, doc_id = unknown[0]
            said.append(
                f"{self._at(query_id, doc_id)}document {doc_id!r} is relevant to query {query_id!r}, and is not "
                f"in the collection{_more(unknown)}: it counts as missed"
            )
        if without := self.without_relevant:
            said.append(
                f"{_queries(without)} judged, and without a relevant document ({_some(without)}): counted as 0, "
                "as in trec_eval"
            )
        if self.unjudged:
            said.append(f"{_queries(self.unjudged)} without judgments ({_some(self.unjudged)}): left out")
        if len(self) == 1:
            said.append("one query only: no interval and no test can be made of it")
        return said

    def _at(self, query_id: str, doc_id: str = "") -> str:
        place = self.places.get((query_id, doc_id))
        return f"{place}: " if place else ""


def _is_text(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip())


def _some(ids: Sequence[str]) -> str:
    return ", ".join(map(repr, ids[:_SHOWN])) + (", …" if len(ids) > _SHOWN else "")


def _more(found: Sequence[object]) -> str:
    return f" (and {len(found) - 1:,} more like it)" if len(found) > 1 else ""


def _queries(ids: Sequence[str]) -> str:
    return f"{len(ids):,} {'query is' if len(ids) == 1 else 'queries are'}"
