"""Writing a dataset in BEIR's layout, marked as synthetic."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError, StorageError
from hybridrank.evaluation import documents_digest, read_json_queries
from hybridrank.ingest import load_documents
from hybridrank.runtime import replace_file
from hybridrank.types import Document

__all__ = ["corpus_digest", "write_split"]


def corpus_digest(folder: Path, documents: Sequence[Document] | None) -> tuple[str, list[Document]]:
    """The documents, written to the folder where it has none yet, and their digest.

    Raises:
        InputError: there are none, or the folder has others.
        StorageError: they cannot be written.
    """
    path = folder / "corpus.jsonl"
    if documents is None and not path.is_file():
        raise InputError(f"{str(folder)!r} has no corpus.jsonl: say which documents these are")
    there = list(load_documents(path, on_error="raise", file_metadata=False)) if path.is_file() else None
    kept = list(documents) if documents is not None else list(there or ())
    if not kept:
        raise InputError("there are no documents")
    digest = documents_digest(kept)
    if there is None:
        rows = ({"_id": d.id, "title": d.title or "", "text": d.text, "metadata": dict(d.metadata)} for d in kept)
        _write(path, (json.dumps(row, ensure_ascii=False) for row in rows))
    elif documents_digest(there) != digest:
        raise InputError(f"{str(path)!r} holds other documents; give another directory")
    return digest, kept


def write_split(
    folder: Path,
    split: str,
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    origin: Mapping[str, Any],
) -> None:
    """Write queries and judgments, and, before them, what made them.

    Raises:
        InputError: a query of the folder has this id and another text.
        StorageError: they cannot be written.
    """
    path = folder / "queries.jsonl"
    before = read_json_queries(path) if path.is_file() else {}
    if other := [query_id for query_id, text in queries.items() if before.get(query_id, text) != text]:
        raise InputError(f"{str(path)!r} has another query {other[0]!r}; give another directory")
    rows = ({"_id": query_id, "text": text} for query_id, text in {**before, **queries}.items())
    _write(folder / "qrels" / f"{split}.synthetic.json", [json.dumps(origin, ensure_ascii=False, indent=2)])
    _write(path, (json.dumps(row, ensure_ascii=False) for row in rows))
    judged = (f"{q}\t{doc_id}\t{grade}" for q, grades in qrels.items() for doc_id, grade in grades.items())
    _write(folder / "qrels" / f"{split}.tsv", ["query-id\tcorpus-id\tscore", *judged])


def _write(path: Path, lines: Iterable[str]) -> None:
    """Write a file whole, or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise StorageError(f"cannot write {str(path)!r}: {error.strerror}") from error
