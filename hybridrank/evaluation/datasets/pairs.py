"""The plainest dataset: a table of queries, each with a document that answers it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path

from hybridrank.errors import InputError
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.datasets.reading import QrelsBuilder, QueriesBuilder, file_label
from hybridrank.ingest.files import load_documents
from hybridrank.ingest.files.reading import ReadOptions
from hybridrank.ingest.files.tables import comma_separated, tab_separated
from hybridrank.types import Document

__all__ = ["load_pairs"]

_QUERY = ("query", "question", "text")
_DOCUMENT = ("relevant_id", "relevant", "doc_id", "document_id", "id", "corpus-id")
_QUERY_ID = ("query_id", "query-id")
_GRADE = ("grade", "score", "relevance")


def load_pairs(
    path: str | PathLike[str],
    documents: str | PathLike[str] | Sequence[Document] | Callable[[], Iterable[Document]] | None = None,
    *,
    quotes: bool | None = None,
) -> Dataset:
    """A ``.csv`` or ``.tsv`` file with a row for each pair of a query and the id of a document relevant to it.

    Its columns are ``query`` and ``relevant_id``, and may be ``query_id`` (else a query's text is its id) and
    ``grade`` (else 1). A query with several relevant documents has several rows. `documents` are as in
    `load_trec`. `quotes` says whether quotation marks enclose fields: by default in ``.csv``, and not in ``.tsv``.

    Raises:
        InputError: the file is not there, has other columns, or a row is wrong; says which line.
    """
    file = Path(path)
    read = tab_separated if file.suffix.lower() == ".tsv" else comma_separated
    texts, judgments = QueriesBuilder(), QrelsBuilder()
    for where, row in read(file, file_label(file), ReadOptions(quotes=quotes)):
        query = row[_column(row, _QUERY, where)].strip()
        doc_id = row[_column(row, _DOCUMENT, where)].strip()
        if not query:
            raise InputError(f"{where} has a query without text")
        named = next((name for name in _QUERY_ID if name in row), None)
        grade = next((name for name in _GRADE if name in row), None)
        query_id = query if named is None else row[named].strip()
        texts.add(query_id, query, where)
        judgments.add(query_id, doc_id, 1 if grade is None else row[grade].strip(), where)
    source = (
        partial(load_documents, Path(documents), on_error="raise")
        if isinstance(documents, (str, PathLike))
        else documents
    )
    return Dataset(
        name=file.stem, queries=texts.texts, qrels=judgments.qrels, source=source, places=judgments.places
    )


def _column(row: Mapping[str, str], names: Sequence[str], where: str) -> str:
    for name in names:
        if name in row:
            return name
    raise InputError(
        f"{where.rpartition(':')[0]} has no column {names[0]!r} (it has: {', '.join(map(repr, row))}); "
        f"its header must name {_QUERY[0]!r} and {_DOCUMENT[0]!r}"
    )
