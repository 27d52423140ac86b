"""Datasets of the `ir_datasets` catalog, by their ids."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.datasets.reading import QrelsBuilder, QueriesBuilder
from hybridrank.types import Document

__all__ = ["load_ir_dataset"]


def load_ir_dataset(dataset_id: str) -> Dataset:
    """A dataset such as ``beir/scifact/test``; it is downloaded at its first use, and kept.

    MacAvaney et al., "Simplified data wrangling with ir_datasets", SIGIR 2021.

    Raises:
        InputError: there is no such dataset, or it has no queries, judgments or documents.
        MissingDependencyError: ir_datasets is not installed.
    """
    try:
        import ir_datasets
    except ImportError as error:
        raise MissingDependencyError(
            'datasets by id need ir_datasets; pip install "hybridrank[ir-datasets]"'
        ) from error
    try:
        found: Any = ir_datasets.load(dataset_id)
    except KeyError:
        near = get_close_matches(dataset_id, list(ir_datasets.registry), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"ir_datasets knows no dataset {dataset_id!r}{hint}") from None
    for part in ("docs", "queries", "qrels"):
        if not getattr(found, f"has_{part}")():
            raise InputError(f"dataset {dataset_id!r} of ir_datasets has no {part}; perhaps a subset of it has")
    texts, judgments = QueriesBuilder(), QrelsBuilder()
    for number, query in enumerate(found.queries_iter(), start=1):
        texts.add(query.query_id, query.default_text(), f"{dataset_id}: query {number}")
    for number, judged in enumerate(found.qrels_iter(), start=1):
        where = f"{dataset_id}: judgment {number}"
        judgments.add(judged.query_id, judged.doc_id, judged.relevance, where)

    def documents() -> Iterator[Document]:
        for document in found.docs_iter():
            title = getattr(document, "title", None)
            body = getattr(document, "text", None)
            if isinstance(title, str) and isinstance(body, str):
                yield Document(id=document.doc_id, text=body, title=title or None)
            else:
                yield Document(id=document.doc_id, text=document.default_text())

    return Dataset(
        name=dataset_id,
        queries=texts.texts,
        qrels=judgments.qrels,
        source=documents,
        places=judgments.places,
    )
