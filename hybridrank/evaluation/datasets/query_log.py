"""Queries that nobody has judged, as users asked them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError
from hybridrank.evaluation.datasets.reading import file_label
from hybridrank.ingest.files.records import json_lines
from hybridrank.ingest.files.tables import comma_separated, tab_separated
from hybridrank.values.arguments import document_ids
from hybridrank.values.arguments import text as checked_text

__all__ = ["QueryLog"]

_COLUMNS = ("query", "text", "question")


@dataclass(frozen=True)
class QueryLog:
    """Queries by id, to be recorded and tuned with by the reranker's own scores; nothing can be measured on them.

    Raises:
        InputError: there are none, or one is blank.
    """

    name: str
    queries: Mapping[str, str]
    split: str = ""
    synthetic: str = ""

    def __post_init__(self) -> None:
        if not self.queries:
            raise InputError(f"{self.name} holds no query")
        document_ids(self.queries, f"the queries of {self.name}", kind="query ids")
        for query_id, text in self.queries.items():
            checked_text(text, f"query {query_id!r} of {self.name}")
        if blank := [query_id for query_id, text in self.queries.items() if not text.strip()]:
            raise InputError(f"{self.name}: query {blank[0]!r} has no text")

    @classmethod
    def of(cls, queries: Iterable[str], *, name: str = "queries") -> QueryLog:
        """A log of these texts, each once; a text is its own id."""
        if isinstance(queries, str):
            raise InputError(f"{name} must be several queries, not one str")
        return cls(name, {text: text for text in queries})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> QueryLog:
        """Read a text file with a query on each line, or the column ``query`` of a .csv, .tsv or .jsonl file.

        Raises:
            InputError: the file is not there, has no such column, or holds no query; says where.
        """
        file = Path(path)
        return cls.of(_texts(file, file_label(file)), name=file.stem)

    @property
    def label(self) -> str:
        """Its name."""
        return self.name

    @property
    def qrels(self) -> Mapping[str, Mapping[str, int]]:
        """No judgment of any query."""
        return {query_id: {} for query_id in self.queries}

    @property
    def ignored(self) -> Mapping[str, frozenset[str]]:
        """Nothing is set aside."""
        return {}

    def __len__(self) -> int:
        """How many queries there are."""
        return len(self.queries)

    def sample(self, queries: int, *, seed: int = 0) -> QueryLog:
        """A random sample of the queries; all of them if there are no more."""
        if queries < 1:
            raise InputError(f"a sample needs at least one query, not {queries}")
        ids = list(self.queries)
        random.Random(seed).shuffle(ids)
        return replace(self, queries={query_id: self.queries[query_id] for query_id in ids[:queries]})


def _texts(file: Path, label: str) -> Iterator[str]:
    suffix = file.suffix.lower()
    if suffix == ".txt":
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {label!r}: {error}") from error
        yield from (line.strip() for line in lines if line.strip())
        return
    rows: Iterable[tuple[str, Mapping[str, Any]]]
    if suffix == ".csv":
        rows = comma_separated(file, label)
    elif suffix == ".tsv":
        rows = tab_separated(file, label)
    elif suffix == ".jsonl":
        rows = json_lines(file, label)
    else:
        raise InputError(f"{label!r} must be a .txt, .csv, .tsv or .jsonl file")
    yield from (_text(row, where) for where, row in rows)


def _text(row: Mapping[str, Any], where: str) -> str:
    for name in _COLUMNS:
        if isinstance(text := row.get(name), str):
            return text.strip()
    raise InputError(f"{where} has no column {_COLUMNS[0]!r} (it has: {', '.join(map(repr, row))})")
