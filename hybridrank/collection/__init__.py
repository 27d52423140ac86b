"""Documents stored together with the local indexes over them, in memory or on disk."""

from hybridrank.collection.durable import Collection
from hybridrank.collection.memory import MemoryCollection
from hybridrank.collection.protocol import SearchableCollection

__all__ = ["Collection", "MemoryCollection", "SearchableCollection"]
