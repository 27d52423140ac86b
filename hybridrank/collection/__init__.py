"""Documents stored together with the local indexes over them, in memory or on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

_HOME = {
    "Collection": "durable",
    "ExportedDocument": "exporting",
    "MemoryCollection": "memory",
    "ReindexReport": "reindexing",
    "SearchableCollection": "protocol",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from hybridrank.collection.durable import Collection as Collection
    from hybridrank.collection.exporting import ExportedDocument as ExportedDocument
    from hybridrank.collection.memory import MemoryCollection as MemoryCollection
    from hybridrank.collection.protocol import SearchableCollection as SearchableCollection
    from hybridrank.collection.reindexing import ReindexReport as ReindexReport
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
