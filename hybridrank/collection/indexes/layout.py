"""The layout of a collection: its stored configuration, with the parts that are built from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hybridrank.collection.indexes.arms import configured, embedder_numbers
from hybridrank.collection.indexes.stored_splitter import from_stored
from hybridrank.collection.sqlite.reader import Reader
from hybridrank.component.protocols import DocumentSplitter, IndexedRetriever
from hybridrank.errors import ConfigError, StorageError, UntrustedConfigError
from hybridrank.runtime import fork

__all__ = ["Layout", "Layouts"]


@dataclass(frozen=True, eq=False)
class Layout:
    """How a collection splits, embeds and indexes its documents, under the `number` of its row.

    `embedders` are the numbers of the arms' embedders, by arm; `lacking` are embedders of the layout that no arm
    has.
    """

    number: int
    config: Mapping[str, Any]
    retrievers: Mapping[str, IndexedRetriever]
    splitter: DocumentSplitter | None
    embedders: Mapping[str, int]
    fingerprints: Mapping[int, str]
    lacking: Sequence[str]

    @classmethod
    def of(cls, reader: Reader, retrievers: Mapping[str, IndexedRetriever], *, trust: bool) -> Layout:
        """The layout that a transaction sees, with these arms.

        Raises:
            ConfigError: an arm's embedder is none of those whose vectors the layout has.
        """
        config = reader.settings()["config"]
        stored, fingerprints = reader.embedders(), reader.fingerprints()
        embedders = embedder_numbers(retrievers, stored, fingerprints)
        at_hand = set(embedders.values())
        splitter = from_stored(config, source="the collection", trust=trust)
        lacking = [name for name, number in stored.items() if number not in at_hand]
        number = reader.state().layout
        return cls(number, config, dict(retrievers), splitter, embedders, fingerprints, lacking)


class Layouts:
    """The layouts that an open collection has met: `at` gives the one that a transaction sees.

    Where the collection was reindexed, by this process or another, arms that were built from the stored
    configuration are built again from that of now; arms whose options are the same are kept, with their models.
    Arms of the caller are kept as they are.
    """

    def __init__(self, layout: Layout, *, given: bool, trust: bool, source: str) -> None:
        """`given` says that the caller passed the arms; `source` names the collection in messages."""
        self.current = layout
        self._met = {layout.number: layout}
        self._given = given
        self.trust = trust
        self._source = source
        self._guard = fork.new_rlock()

    def add(self, layout: Layout) -> None:
        """Use the parts of this layout once the collection is switched to it."""
        with self._guard:
            self._met[layout.number] = layout

    def reconfigure(self, config: Mapping[str, Any]) -> None:
        """Note that the configuration of the current layout was stored with other options."""
        with self._guard:
            self.add(replace(self.current, config=config))
            self.current = self._met[self.current.number]

    def at(self, reader: Reader) -> Layout:
        """The layout that a transaction sees.

        Raises:
            StorageError: the arms that the caller passed are none for it.
            UntrustedConfigError: building its arms takes `trust`.
        """
        number = reader.state().layout
        if self.current.number != number:
            with self._guard:
                if number not in self._met:
                    self._met[number] = self._built(reader)
                self.current = self._met[number]
        return self.current

    def _built(self, reader: Reader) -> Layout:
        before = self.current
        try:
            if self._given or not before.retrievers:
                return Layout.of(reader, before.retrievers, trust=self.trust)
            config = reader.settings()["config"]
            stored, held = config.get("retrievers") or {}, before.config.get("retrievers") or {}
            kept = {name: arm for name, arm in before.retrievers.items() if held.get(name) == stored.get(name, 0)}
            others = {**config, "retrievers": {name: arm for name, arm in stored.items() if name not in kept}}
            arms = {**kept, **configured(others, source=self._source, trust=self.trust)}
            return Layout.of(reader, {name: arms[name] for name in stored if name in arms}, trust=self.trust)
        except UntrustedConfigError:
            raise
        except ConfigError as error:
            raise StorageError(
                f"{self._source} was reindexed while it was open, and the retrievers that it was opened with are "
                f"none for it now: close it, and open it again ({error})"
            ) from error
