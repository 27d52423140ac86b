"""The indexes of a collection, which follow its database by sequence number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from hybridrank.collection.indexes.layout import Layout
from hybridrank.collection.indexes.view import Chosen
from hybridrank.collection.locks import ReadWriteLock
from hybridrank.collection.sqlite.reader import Reader
from hybridrank.collection.sqlite.rows import Version
from hybridrank.component.protocols import Index, VectorIndex
from hybridrank.errors import ConfigError
from hybridrank.types import Document, Progress

__all__ = ["Added", "Indexes"]

Added: TypeAlias = tuple[Sequence[str], Mapping[str, Any]]
"""Ids of units, and what each arm's index made of them."""

_BATCH = 8192
_FEW = 1_000_000  # units: to remove so many one by one is always worth it


class Indexes:
    """One index per arm of a `layout`, all at the same `version` of the database. `unsaved` counts the
    units that changed since the indexes were loaded or saved, as the `generation` of that name; `repaired` says
    that those saved could not be used. Searches read the `lock`; `chosen` is what filters chose in this
    state. `broken` indexes are not to be used: they know nothing yet, or a change failed half way.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.arms: dict[str, Index] = {name: each.create_index() for name, each in layout.retrievers.items()}
        for name, index in self.arms.items():
            if isinstance(index, VectorIndex) and name not in layout.embedders:
                raise ConfigError(
                    "its index holds vectors, and the retriever does not name their embedder: give its class the "
                    "attribute `embedder` (hybridrank.component.VectorRetriever)",
                    path=f"$.retrievers.{name}",
                )
        self.version = Version(0, b"")
        self.generation = ""
        self.unsaved = 0
        self.repaired = False
        self.broken = False
        self.lock = ReadWriteLock()
        self.chosen = Chosen()
        self._embedders = layout.embedders

    def encode(self, reader: Reader, numbers: Sequence[int], units: Sequence[Document]) -> Added:
        """Prepare units from the database; their vectors are read, nothing is embedded."""
        return [unit.id for unit in units], self._encoded(self.arms, reader, numbers, units)

    def _encoded(
        self, arms: Mapping[str, Index], reader: Reader, numbers: Sequence[int], units: Sequence[Document]
    ) -> dict[str, Any]:
        return {
            name: reader.vectors(self._embedders[name], numbers)
            if isinstance(index, VectorIndex)
            else index.encode(units)
            for name, index in arms.items()
        }

    def missed(self, reader: Reader) -> tuple[list[str], list[Added]] | None:
        """The units that the database has removed and added since, ready for `apply`; None if a rebuild is
        cheaper.
        """
        removed = self._removed(reader)
        if removed is None:
            return None
        return removed, [self.encode(reader, *some) for some in reader.units_after(self.sequence, size=_BATCH)]

    def _removed(self, reader: Reader) -> list[str] | None:
        held = max(map(len, self.arms.values()), default=0)
        return reader.removed_after(self.sequence, most=2 * held + _FEW) if held else []

    @property
    def sequence(self) -> int:
        """The number of the last change in these indexes."""
        return self.version.sequence

    def apply(self, removed: Sequence[str], added: Iterable[Added], version: Version) -> None:
        """Apply a change that leads to `version`; the caller excludes searches."""
        gone = set(removed)
        self.unsaved += len(removed)
        if gone:
            for index in self.arms.values():
                index.delete(gone)
        for ids, encoded in added:
            self.unsaved += len(ids)
            for name, index in self.arms.items():
                index.add(ids, encoded[name])
        self.version = version

    def take(self, generation: str, sequence: int, saved: Mapping[str, Index], reader: Reader) -> None:
        """Continue from saved indexes; arms without a saved one are rebuilt from the database."""
        absent = {name: index for name, index in self.arms.items() if name not in saved}
        self.arms.update(saved)
        self.version, self.generation = Version(sequence, b""), generation
        for numbers, units in reader.units_after(0, size=_BATCH) if absent else ():
            old = bisect_right(numbers, sequence)  # the newer ones come to all arms by `catch_up`
            if old:
                encoded = self._encoded(absent, reader, numbers[:old], units[:old])
                for name, index in absent.items():
                    index.add([unit.id for unit in units[:old]], encoded[name])

    def catch_up(self, reader: Reader, *, progress: Progress | None = None) -> bool:
        """Follow the database batch by batch, without concurrent searches; False if a rebuild is cheaper."""
        state = reader.state()
        removed = self._removed(reader)
        if removed is None:
            return False
        self.apply(removed, (), self.version)
        done = min(map(len, self.arms.values()), default=0)
        for numbers, units in reader.units_after(self.sequence, size=_BATCH):
            self.apply((), [self.encode(reader, numbers, units)], Version(numbers[-1], b""))
            done += len(units)
            if progress is not None:
                progress(done, state.units)
        self.version = state.version
        return True

    def agree(self, reader: Reader) -> bool:
        """Whether every index holds as many units as the database."""
        units = reader.state().units
        return all(len(index) == units for index in self.arms.values())
