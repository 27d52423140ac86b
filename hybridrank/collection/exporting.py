"""Documents with the vectors of their units, to be stored in another collection without embedding them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from hybridrank.collection.sqlite.reader import Reader
from hybridrank.collection.vectors import unit_vectors
from hybridrank.errors import InputError
from hybridrank.filters.language import Filter
from hybridrank.types import Document, Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ExportedDocument", "exported", "known_rows"]

_BATCH = 256  # documents

Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, eq=False)
class ExportedDocument:
    """A document with the vectors of its units.

    `spans` are the units' offsets in the document's text, start and end: of its passages, or of the whole text.
    `vectors` has a matrix for each embedder, by the embedder's identity: float32, shape (len(spans), dim).
    """

    document: Document
    spans: Sequence[Span]
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        length = len(self.document.text)
        for start, end in self.spans:
            if not 0 <= start <= end <= length:
                raise InputError(f"{start} to {end} is no part of the text of document {self.document.id!r}")
        for name, rows in self.vectors.items():
            if rows.ndim != 2 or len(rows) != len(self.spans):
                raise InputError(
                    f"document {self.document.id!r} has {len(self.spans)} units, and vectors of shape "
                    f"{rows.shape} of the embedder {name}"
                )


def exported(reader: Reader, filters: Filter | None) -> Iterator[ExportedDocument]:
    """The documents that match, with the vectors of the current layout's embedders."""
    embedders = reader.embedders()
    documents = reader.each_document(filters)
    while batch := list(islice(documents, _BATCH)):
        units = reader.unit_spans(batch)
        numbers = sorted(number for spans in units.values() for number, _, _ in spans)
        rows = {name: reader.vectors(embedder, numbers) for name, embedder in embedders.items()}
        at = {number: row for row, number in enumerate(numbers)}
        for document in batch:
            spans = units[document.id]
            chosen = [at[number] for number, _, _ in spans]
            yield ExportedDocument(
                document,
                [(start, end) for _, start, end in spans],
                {name: matrix[chosen] for name, matrix in rows.items()},
            )


def known_rows(
    found: ExportedDocument, passages: Sequence[Passage], identity: str, *, dim: int | None
) -> dict[Span, bytes]:
    """The exported vectors of an embedder for these passages (none: the whole document), by their spans.

    Raises:
        InputError: they are of another dimension, or hold one that is zero or not finite.
    """
    if (rows := found.vectors.get(identity)) is None:
        return {}
    if dim is not None and rows.shape[1] != dim:
        raise InputError(
            f"document {found.document.id!r} has vectors of {rows.shape[1]} dimensions, and the collection has "
            f"vectors of {dim}"
        )
    wanted = {(each.start, each.end) for each in passages} or {(0, len(found.document.text))}
    matrix = unit_vectors(identity, rows)
    return {span: row.tobytes() for span, row in zip(found.spans, matrix, strict=True) if span in wanted}
