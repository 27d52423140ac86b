"""Documents stored together with the local indexes over them: on disk, or in memory."""

from hybridrank.collection.durable import Collection
from hybridrank.collection.memory import MemoryCollection

__all__ = ["Collection", "MemoryCollection"]
