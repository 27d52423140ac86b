"""Queries and judgments built line by line, so that errors are reported with file and line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError
from hybridrank.ingest.files.records import json_lines
from hybridrank.ingest.files.tables import tab_separated

__all__ = ["QrelsBuilder", "QueriesBuilder", "file_label", "read_ignored", "read_json_queries", "require_columns"]

Rows = Iterable[tuple[str, Mapping[str, Any]]]


def file_label(path: Path) -> str:
    """What messages call a file: its path, as given. Refuses what is not there.

    Raises:
        InputError: there is no such file.
    """
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}")
    return str(path)


class QrelsBuilder:
    """Grades by query and document, and where each stands."""

    def __init__(self) -> None:
        self.qrels: dict[str, dict[str, int]] = {}
        self.places: dict[tuple[str, str], str] = {}

    def add(self, query_id: str, doc_id: str, grade: str | int, where: str) -> None:
        """Add a judgment. The same judgment twice counts once.

        Raises:
            InputError: an id is empty, the grade is no whole number, or another one was given before.
        """
        if not query_id or not doc_id:
            raise InputError(f"{where} has no id of a {'document' if query_id else 'query'}")
        try:
            relevance = int(grade)
        except ValueError:
            raise InputError(f"{where}: a grade must be a whole number, not {grade!r}") from None
        grades = self.qrels.setdefault(query_id, {})
        if grades.setdefault(doc_id, relevance) != relevance:
            raise InputError(
                f"{where} gives document {doc_id!r} the grade {relevance} for query {query_id!r}, and "
                f"{self.places[query_id, doc_id]} the grade {grades[doc_id]}"
            )
        self.places.setdefault((query_id, doc_id), where)


class QueriesBuilder:
    """Queries by id."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._places: dict[str, str] = {}

    def add(self, query_id: Any, text: Any, where: str) -> None:
        """Add a query. The dataset reports a blank text if the query is judged.

        Raises:
            InputError: the id is empty, text or id is no str, or the id stands for another text already.
        """
        query_id = str(query_id) if type(query_id) is int else query_id
        if not isinstance(query_id, str) or not query_id:
            raise InputError(f"{where} has no id of a query")
        if not isinstance(text, str):
            raise InputError(f"{where}: the text of query {query_id!r} must be a str, not {type(text).__name__}")
        if self.texts.setdefault(query_id, text) != text:
            raise InputError(
                f"{where} is another query with the id {query_id!r}: the first is at {self._places[query_id]}"
            )
        self._places.setdefault(query_id, where)


def require_columns(row: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    """Check that a record has these fields.

    Raises:
        InputError: it lacks one.
    """
    if lacking := [name for name in names if name not in row]:
        has = ", ".join(map(repr, row)) or "none"
        raise InputError(f"{where.rpartition(':')[0]} has no column {lacking[0]!r} (it has: {has})")


def read_ignored(path: Path) -> dict[str, frozenset[str]]:
    """Documents to take out of every ranking, by query: a table with the columns ``query-id`` and ``corpus-id``.

    Raises:
        InputError: the file cannot be read, or has other columns.
    """
    found: dict[str, set[str]] = {}
    for where, row in tab_separated(path, file_label(path)):
        require_columns(row, ("query-id", "corpus-id"), where)
        found.setdefault(row["query-id"], set()).add(row["corpus-id"])
    return {query_id: frozenset(ids) for query_id, ids in found.items()}


def read_json_queries(path: Path) -> dict[str, str]:
    """Queries of JSON Lines with ``_id`` (or ``id``) and ``text``.

    Raises:
        InputError: a line is no such record, or an id comes twice.
    """
    texts = QueriesBuilder()
    for where, record in json_lines(path, file_label(path)):
        texts.add(record.get("_id", record.get("id")), record.get("text", ""), where)
    return texts.texts
