"""The contract of splitters: document -> passages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from hybridrank.types import Document, Passage

__all__ = ["DocumentSplitter"]


@runtime_checkable
class DocumentSplitter(Protocol):
    """Document -> its passages, which are then the units of retrieval."""

    def split(self, document: Document) -> Sequence[Passage]:
        """The passages in the order of their starts; empty if the document stays whole.

        A passage has the id ``<document's id>#<number>``, numbered from 0, the document's id as its `parent`, and
        the text ``document.text[start:end]``; `hybridrank.ingest.passage_at` makes one. The same document always
        gives the same passages: indexes are rebuilt from them.
        """
        ...
