"""Units: what the indexes of a collection hold.

A unit is a whole document, under its own id, or one of its passages, ``<id>#<place>`` with places from 0. A
document may have an id of that form, as somebody's own passage has, unless there is a passage with the same id.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from hybridrank.component.protocols import DocumentSplitter
from hybridrank.errors import InputError
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.ingest.splitting.validation import validate_passages
from hybridrank.types import Document, Passage

__all__ = ["check_distinct", "parent_id", "passage_of", "split", "unit_ids"]

_PASSAGE = re.compile(r"(.+)#(0|[1-9][0-9]{0,17})", re.DOTALL)


def unit_ids(doc_id: str, passages: int) -> list[str]:
    """The ids of a document's units: its own id if it has no passages."""
    return [f"{doc_id}#{place}" for place in range(passages)] if passages else [doc_id]


def passage_of(unit: str) -> tuple[str, int] | None:
    """The document's id and the place, if the id has the form of a passage's.

    >>> passage_of("a#b#12"), passage_of("a#b"), passage_of("a#01")
    (('a#b', 12), None, None)
    """
    found = _PASSAGE.fullmatch(unit)
    return None if found is None else (found[1], int(found[2]))


def parent_id(unit: str, *, lookalikes: Collection[str] = ()) -> str:
    """The id of the document that a unit is, or is a passage of.

    `lookalikes` are the whole documents whose ids have the form of a passage's.
    """
    found = None if unit in lookalikes else passage_of(unit)
    return unit if found is None else found[0]


def check_distinct(taken: Iterable[tuple[str, str]]) -> None:
    """Check that no document has the id of another's passage.

    Raises:
        InputError: one has: `taken` are pairs of the other document and the id.
    """
    for parent, doc_id in taken:
        raise InputError(
            f"{doc_id!r} is the id of a document and of a passage of {parent!r}, which is split: one collection "
            "cannot hold both; give one of the documents another id"
        )


def split(splitter: DocumentSplitter | None, document: Document) -> Sequence[Passage]:
    """The passages of a document, validated; none if it stays whole.

    Raises:
        BackendResponseError: the splitter's passages are none of this document.
    """
    if splitter is None or type(splitter) is Splitter:
        return () if splitter is None else splitter.split(document)
    name = getattr(splitter, "use", type(splitter).__name__)
    return validate_passages(splitter.split(document), document, source=f"splitter {name!r}")
