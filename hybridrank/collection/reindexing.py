"""Another splitter, embedder or index for a live collection: built next to the old one, and switched to."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from hybridrank.collection.adding import BATCH_TO_EMBED, Embedded, digests_of, embedded, units_of
from hybridrank.collection.indexes.arms import check_fingerprint, configured, fingerprint, identities, named
from hybridrank.collection.indexes.layout import Layout, Layouts
from hybridrank.collection.indexes.live import Change, LiveIndexes
from hybridrank.collection.indexes.stored_splitter import from_stored, to_stored
from hybridrank.collection.sqlite.layouts import (
    OtherLayout,
    begin_layout,
    count_pending,
    drop_embedders,
    drop_layout,
    other_layout,
    pending,
    put_units,
    switch_layout,
)
from hybridrank.collection.sqlite.reader import Reader
from hybridrank.collection.sqlite.store import OtherStore, Store
from hybridrank.collection.units import split
from hybridrank.collection.vectors import naming_the_arm
from hybridrank.component.protocols import DocumentSplitter, Index, IndexedRetriever, VectorIndex
from hybridrank.errors import InputError
from hybridrank.filters.language import Filter
from hybridrank.ingest.splitting.auto import chosen_splitter
from hybridrank.runtime.shielding import shielded
from hybridrank.types import Document, Progress

__all__ = ["LAYOUT_OPTIONS", "ReindexReport", "Reindexer"]

LAYOUT_OPTIONS = ("retrievers", "splitter", "indexed_fields")
"""The options that `reindex` changes."""

_CHARACTERS = 1 << 15  # that are embedded at a time: some seconds of a small model, which a kill loses
_ROUNDS = 3  # of catching up, before other writers have to wait

Gate: TypeAlias = Callable[[OtherStore, Layouts, LiveIndexes], Any]
"""Given the layout that was built, returns a value that is true if it is to be switched to."""


@dataclass(frozen=True)
class ReindexReport:
    """What `reindex` or `rollback` did, or would do.

    `changed` names the changed options, as in a configuration. `documents` and `units` are those of the new
    layout; `embedded` counts the texts that were embedded, or would be, `reused` those whose vectors were stored.
    `switched` says whether searches use the new layout now; `gate` is what the gate returned, None without one.
    """

    changed: tuple[str, ...] = ()
    documents: int = 0
    units: int = 0
    embedded: int = 0
    reused: int = 0
    switched: bool = False
    gate: Any = None

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        gate = self.gate.to_dict() if hasattr(self.gate, "to_dict") else self.gate
        return {**asdict(self), "changed": list(self.changed), "gate": gate}


class Target(NamedTuple):
    """The layout that is wanted: the whole stored configuration, and what is built from it."""

    config: Mapping[str, Any]
    retrievers: Mapping[str, IndexedRetriever]
    splitter: DocumentSplitter | None


class Reindexer:
    """Builds another layout of a collection, switches to it, goes back, and removes what is left."""

    def __init__(self, path: Path, store: Store, live: LiveIndexes, layouts: Layouts) -> None:
        self._path = path
        self._store = store
        self._live = live
        self._layouts = layouts

    def statistics(self, reader: Reader) -> dict[str, Any]:
        """JSON values about the other layout, if there is one."""
        if (other := other_layout(reader)) is None:
            return {}
        now = self._layouts.at(reader).config
        changed = [
            name for name in sorted({*now, *other.config} - {"fields"}) if now.get(name) != other.config.get(name)
        ]
        left = 0 if other.shared else count_pending(reader)
        state = "being built" if other.role == "next" else "kept from before the last switch"
        return {"other_layout": {"state": state, "differs_in": changed, "documents_to_do": left}}

    # ── what is wanted ───────────────────────────────────────────────────────────────────────────────────────

    def target(self, options: Mapping[str, Any], config: Mapping[str, Any]) -> Target:
        """The current layout with other options; `config` are further ones to be stored, of a pipeline.

        Raises:
            InputError: an option is unknown, or wrong.
        """
        if unknown := sorted(options.keys() - set(LAYOUT_OPTIONS)):
            raise InputError(f"reindex changes {', '.join(LAYOUT_OPTIONS)}, not {unknown[0]!r}")
        with self._live.reading():  # the newest layout
            now = self._live.indexes.layout
        arms = {**options.get("retrievers", now.retrievers)}
        if not arms:
            raise InputError("the collection was opened without its retrievers: open it with them to reindex it")
        splitter = chosen_splitter(options.get("splitter", now.splitter), arms.values())
        fields = options.get("indexed_fields", now.config.get("indexed_fields", ()))
        if isinstance(fields, str):
            raise InputError(f'indexed_fields must be names, not one str; write ["{fields}"]')
        for name in fields:
            Filter.of({name: {"$exists": True}})
        stored = {**now.config, **config}
        stored.pop("fields", None)
        if "retrievers" in options and "retrievers" not in config:
            stored["retrievers"] = {name: named(arm) for name, arm in arms.items()}
        stored["splitter"] = to_stored(splitter)
        stored["indexed_fields"] = list(dict.fromkeys(fields))
        return Target(json.loads(json.dumps(stored)), arms, splitter)

    def _changed(self, target: Target, layout: Layout) -> tuple[str, ...]:
        """The options in which a configuration differs from the current one."""
        now = {name: value for name, value in layout.config.items() if name != "fields"}
        names = {*now, *target.config}
        changed = {name for name in names if now.get(name) != target.config.get(name)}
        arms = target.config.get("retrievers") or {"": None}
        if None in arms.values() and dict(target.retrievers) != dict(layout.retrievers):  # objects without a name
            changed.add("retrievers")
        return tuple(sorted(changed))

    def _shares(self, target: Target, layout: Layout, reader: Reader) -> bool:
        """Whether the wanted layout has the units and the vectors of the current one."""
        if target.config["splitter"] != json.loads(json.dumps(layout.config.get("splitter"))):
            return False
        return set(_embedders(target, reader).values()) == set(reader.embedders().values())

    # ── building, switching ──────────────────────────────────────────────────────────────────────────────────

    def preview(self, target: Target, progress: Progress | None) -> ReindexReport:
        """What `run` would do. Documents are split to count the texts that must be embedded; nothing is stored."""
        with self._store.reading() as reader:
            layout, state = self._live.indexes.layout, reader.state()
            changed = self._changed(target, layout)
            numbers = _embedders(target, reader).values()
            if not changed or self._shares(target, layout, reader):
                return ReindexReport(changed, state.documents, state.units)
        wanted: set[bytes] = set()
        units, after, done = 0, 0, 0
        while True:
            with self._store.reading() as reader:
                found = reader.documents_after(after, size=BATCH_TO_EMBED)
            if not found:
                break
            documents = [document for _, document in found]
            after, done = found[-1][0], done + len(found)
            digests = digests_of(units_of(documents, [split(target.splitter, each) for each in documents]))
            units += len(digests)
            wanted.update(digests)
            if progress is not None:
                progress(done, state.documents)
        with self._store.reading() as reader:
            stored = [0 if n is None else len(reader.known_vectors(n, wanted, dim=None)) for n in numbers]
        missing = sum(len(wanted) - held for held in stored)
        return ReindexReport(changed, done, units, missing, sum(stored))

    def run(self, target: Target, gate: Gate | None, progress: Progress | None) -> ReindexReport:
        """Build the wanted layout, or go on with it, and switch to it if the gate agrees."""
        self._store.require_writable()
        changed = self._changed(target, self._live.indexes.layout)
        if not changed:
            with self._store.reading() as reader:
                return ReindexReport((), reader.state().documents, reader.state().units)
        other = shielded(partial(self._begun, target))
        return self._finished(other, target, changed, gate, progress)

    def _begun(self, target: Target) -> OtherLayout:
        """The other layout of the database, which is the wanted one; begun if it was not."""
        with self._live.changing("reindexing") as change:
            other, layout = other_layout(change.writer), change.indexes.layout
            shared = self._shares(target, layout, change.writer)
            embedders = _embedders(target, change.writer)
            same = other is not None and other.config == target.config
            if other is None or not same or set(embedders.values()) != set(other.embedders):
                if other is not None and other.role == "previous":
                    raise InputError(
                        "the collection still has its layout of before the last reindex: remove that (--finish, "
                        "in Python finish_reindex), or go back to it (--rollback, rollback), and reindex then"
                    )
                number = secrets.randbelow(2**62 - 1) + 1
                numbers = [
                    change.writer.create_embedder(name, None, current=False) if known is None else known
                    for name, known in embedders.items()
                ]
                begin_layout(change.writer, number, target.config, numbers, shared=shared)
                other = other_layout(change.writer)
            assert other is not None
            return other

    def _finished(
        self,
        other: OtherLayout,
        target: Target,
        changed: tuple[str, ...],
        gate: Gate | None,
        progress: Progress | None,
    ) -> ReindexReport:
        with self._opened(other, target) as (store, layout, layouts):
            build = _Build(self._store, layout, other)
            if not other.shared:
                build.run(partial(self._live.changing, "reindexing"), progress)
            preview = LiveIndexes(self._path, store, layouts)
            shielded(preview.load)
            verdict = None if gate is None else gate(store, layouts, preview)
            if gate is not None and not verdict:
                return self._report(store, changed, build, switched=False, gate=verdict)
            if not other.shared:
                for _ in range(_ROUNDS):  # what is written in the last one waits for the switch
                    build.run(partial(self._live.changing, "reindexing"), None)
                with preview.reading():
                    pass
            shielded(preview.improve)
            self._layouts.add(layout)
            shielded(partial(self._switch, preview, build))
            preview.settle()
            return self._report(self._store, changed, build, switched=True, gate=verdict)

    def _switch(self, preview: LiveIndexes, build: _Build) -> None:
        with self._live.exclusively("switching to another layout") as changing:
            if not build.other.shared:
                build.run(changing, None)
            with self._live.switching(preview) as writer:
                switch_layout(writer)
        with self._live.reading():
            pass

    def _report(
        self, store: Store, changed: tuple[str, ...], build: _Build, *, switched: bool, gate: Any
    ) -> ReindexReport:
        with store.reading() as reader:
            state = reader.state()
        counts = state.documents, state.units, build.embedded, build.reused
        return ReindexReport(changed, *counts, switched, gate)

    @contextmanager
    def _opened(self, other: OtherLayout, target: Target) -> Iterator[tuple[OtherStore, Layout, Layouts]]:
        store = OtherStore(self._store.path, other)
        try:
            with store.reading() as reader:
                layout = Layout.of(reader, target.retrievers, trust=True)
            yield store, layout, Layouts(layout, given=True, trust=True, source=f"the collection at {self._path}")
        finally:
            store.close()

    # ── going back, removing ─────────────────────────────────────────────────────────────────────────────────

    def rollback(
        self, retrievers: Mapping[str, IndexedRetriever] | None, *, trust: bool, progress: Progress | None
    ) -> ReindexReport:
        """Switch to the layout of before, with what was written since; or remove one that is being built."""
        self._store.require_writable()
        with self._live.reading(), self._store.reading() as reader:
            layout, other, state = self._live.indexes.layout, other_layout(reader), reader.state()
        if other is None:
            raise InputError("there is nothing to go back to: the collection has one layout")
        if other.role == "next":
            shielded(self._abandon)
            return ReindexReport((), state.documents, state.units)
        source = f"the collection at {self._path}"
        arms = configured(other.config, source=source, trust=trust) if retrievers is None else dict(retrievers)
        target = Target(other.config, arms, from_stored(other.config, source=source, trust=trust))
        return self._finished(other, target, self._changed(target, layout), None, progress)

    def _abandon(self) -> None:
        with self._live.changing("removing a layout") as change:
            drop_layout(change.writer)

    def finish(self) -> None:
        """Remove the layout of before the last switch, and free its space."""
        with self._live.changing("removing a layout") as change:
            other = other_layout(change.writer)
            if other is not None and other.role == "next":
                raise InputError(
                    "the collection was not switched to the layout that is being built: reindex again to go on "
                    "with it, or remove it (--rollback, in Python rollback)"
                )
            if other is None:
                raise InputError("there is nothing to remove: the collection has one layout")
            drop_layout(change.writer)
            drop_embedders(change.writer)
        self._live.compact()


class _Build:
    """Makes documents ready in the other layout: splits and embeds them, and stores their units."""

    def __init__(self, store: Store, layout: Layout, other: OtherLayout) -> None:
        self.other = other
        self.embedded = 0
        self.reused = 0
        self._store = store
        self._layout = layout
        self._indexes: dict[str, Index] = {name: arm.create_index() for name, arm in layout.retrievers.items()}
        self._after = 0

    def run(
        self,
        changing: Callable[[], AbstractContextManager[Change]],
        progress: Progress | None,
    ) -> None:
        """Make the documents of now ready, batch by batch; those that are written meanwhile are left.

        A batch is one change of the collection: what was done before a failure stays.
        """
        with self._store.reading() as reader:
            state = reader.state()
            done = state.documents - count_pending(reader)
        total, last = state.documents, state.version.sequence
        while True:
            with self._store.reading() as reader:
                found = pending(reader, self._after, last, size=BATCH_TO_EMBED, characters=_CHARACTERS)
            if not found:
                return
            shielded(partial(self._batch, found, changing))
            self._after = found[-1][0]
            done += len(found)
            if progress is not None:
                progress(min(done, total), total)

    def _batch(
        self, found: Sequence[tuple[int, Document]], changing: Callable[[], AbstractContextManager[Change]]
    ) -> None:
        documents = [document for _, document in found]
        passages = [split(self._layout.splitter, each) for each in documents]
        units = units_of(documents, passages)
        digests = digests_of(units)
        made: dict[int, Embedded] = {}
        used: dict[int, tuple[str, Any]] = {}
        for name, index in self._indexes.items():
            number = self._layout.embedders.get(name)
            if isinstance(index, VectorIndex) and number is not None and number not in made:
                with naming_the_arm(name):
                    made[number] = embedded(self._store, index, number, units, digests, _unseen)
                used[number] = (name, index.embedder)
                self.embedded += made[number].fresh
                self.reused += len(set(digests)) - made[number].fresh
        with changing() as change:
            if not change.writer.sees(self.other.number):
                raise InputError("another process removed the layout that is being built, or began another one")
            known = change.writer.fingerprints()
            for number, (arm, embedder) in used.items():
                check_fingerprint(embedder, known.get(number), arm=arm)
                if number not in known and (told := fingerprint(embedder)) is not None:
                    change.writer.put_fingerprint(number, told)
            places, numbers = put_units(change.writer, [number for number, _ in found], passages)
            kept: list[int] = []
            at, stored = 0, set(places)
            for place, some in enumerate(passages):
                size = max(1, len(some))
                kept += range(at, at + size) if place in stored else ()
                at += size
            for number, (rows, _, unread) in made.items() if kept else ():
                cut = [unread[row] for row in kept]
                change.writer.put_vectors(number, numbers, [digests[row] for row in kept], rows[kept], cut)


def _embedders(target: Target, reader: Reader) -> dict[str, int | None]:
    """For each embedder of the wanted arms, by name, the number of that name or of the same content, if any."""
    stored = reader.every_embedder()
    same = {told: number for number, told in reader.fingerprints().items()}
    return {
        name: stored.get(name, None if told is None else same.get(told))
        for name, told in identities(target.retrievers.values()).items()
    }


def _unseen(_done: int, _total: int) -> None: ...
