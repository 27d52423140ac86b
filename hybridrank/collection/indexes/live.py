"""The indexes of a collection in memory: how they follow the database, with concurrency control."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from time import monotonic

from hybridrank.collection.indexes.arms import check_fingerprint, fingerprint
from hybridrank.collection.indexes.generations import Generations
from hybridrank.collection.indexes.indexes import Added, Indexes
from hybridrank.collection.indexes.layout import Layout, Layouts
from hybridrank.collection.indexes.view import Chosen, View
from hybridrank.collection.locks import WriterLock
from hybridrank.collection.sqlite.reader import Reader
from hybridrank.collection.sqlite.rows import State, Version, damaged
from hybridrank.collection.sqlite.store import Store
from hybridrank.collection.sqlite.writer import Writer
from hybridrank.component.protocols import ImprovingIndex, VectorIndex
from hybridrank.errors import HybridrankError, LockedError, StorageError
from hybridrank.runtime import fork
from hybridrank.runtime.cancellation import committing
from hybridrank.types import Progress

__all__ = ["Change", "LiveIndexes"]

_log = logging.getLogger(__name__)

_SAVE_AFTER = 10_000  # changed units; or a twentieth of all, if that is more
_SETTLES = 10.0  # seconds
_PATIENCE = 5.0  # seconds, with searches that still use the indexes
_ATTEMPTS = 1000  # of a search to find the indexes where its transaction is: others may change them in between


class Change:
    """A transaction, and the changes of the indexes after its commit."""

    def __init__(self, writer: Writer, indexes: Indexes) -> None:
        self.writer = writer
        self.indexes = indexes
        self.removed: list[str] = []
        self.added: list[Added] = []

    def remove(self, numbers: Collection[int]) -> None:
        """Remove documents by number."""
        self.removed += self.writer.remove(numbers)


class LiveIndexes:
    """Indexes that are in step with the database in every search.

    A search holds one state of both. A change is made in the database first; after its commit the indexes follow,
    before another search begins. Changes that other processes commit are applied by the next search. `folder` is
    the collection's directory.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        layouts: Layouts,
    ) -> None:
        self.generations = Generations(folder / "indexes", store.identity)
        self._folder = folder
        self._store = store
        self._layouts = layouts
        self._renew()
        fork.in_child(self._renew)

    def _renew(self) -> None:
        """Start with empty indexes and free locks."""
        self._writer = WriterLock(self._folder / "writer.lock", timeout=60.0)
        self._catching_up = fork.new_rlock()
        self._reloading = fork.new_lock()
        self._indexes = Indexes(self._layouts.current)
        self._indexes.broken = True  # until they are loaded
        self._unchecked: dict[str, str] = {}
        self._wrote = False
        self._last = Version(0, b"")  # that this process knows of by having made it
        self.alone = False  # whether nobody else has changed anything since the collection was empty
        self._rests_until = 0.0

    @property
    def indexes(self) -> Indexes:
        """The current indexes; new ones may replace them when the database has run far ahead."""
        return self._indexes

    @contextmanager
    def reading(self) -> Iterator[View]:
        """Hold one state, the newest: inside, the database and every index belong together.

        Raises:
            ConfigError: at the end, a model that was not here before is not the one that made the vectors.
            StorageError: the database cannot be read.
        """
        for _ in range(_ATTEMPTS):
            known = self.indexes.version  # a transaction that begins now sees this, or what came of it
            with self._store.reading() as reader:  # which is inside the store
                state = reader.state()
                if self._indexes.version != state.version or self._indexes.broken:
                    self._catch_up(reader, state, known)
                indexes = self._indexes
                with indexes.lock.reading() as hold:
                    if indexes is self._indexes and indexes.version == state.version and not indexes.broken:
                        yield View(
                            indexes.arms,
                            splits=reader.form.splits,
                            layout=indexes.layout,
                            chosen=indexes.chosen,
                            choose=reader.choose,
                            units=reader.units,
                            hold=hold,
                            lookalikes=reader.lookalikes,
                        )
                        self._check_embedders()
                        return
        raise StorageError(f"the indexes of {self._folder} cannot keep up with its changes: try again")

    def _check_embedders(self) -> None:
        """Check that models that arrived meanwhile, as by a download at the first query, are the same."""
        for arm, stored in list(self._unchecked.items()):
            index = self._indexes.arms.get(arm)
            if isinstance(index, VectorIndex) and fingerprint(index.embedder) is not None:
                check_fingerprint(index.embedder, stored, arm=arm)
                self._unchecked.pop(arm, None)

    @contextmanager
    def changing(self, doing: str) -> Iterator[Change]:
        """One transaction, and the same change of the indexes once it is committed."""
        self._store.require_writable()
        with self._writer.holding(doing), self._changing() as change:
            yield change

    @contextmanager
    def _changing(self) -> Iterator[Change]:
        """The same, where this thread holds the writer's lock."""
        with self._catching_up, ExitStack() as stack:
            with self._store.writing() as writer:
                state = writer.state()
                self.alone = self.alone and state.version == self._last
                if self._indexes.broken or self._indexes.version != state.version:
                    self._catch_up(writer, state, self._indexes.version)
                change = Change(writer, self._indexes)
                yield change
                version = writer.seal(state.version)
                stack.enter_context(committing())
            self._last = version
            if change.indexes is self._indexes and version != self._indexes.version:
                self._apply(change.removed, change.added, version)
                self._wrote = True

    def _apply(self, removed: Sequence[str], added: Sequence[Added], version: Version) -> None:
        """Apply a change to the indexes, atomically for searches.

        If an arm hangs in a search, that search keeps these indexes, and new ones replace them.
        """
        indexes = self._indexes
        try:
            with indexes.lock.writing(_PATIENCE):
                indexes.broken = True  # a failure leaves it so: the next search loads them again
                indexes.apply(removed, added, version)
                indexes.chosen = Chosen()
                indexes.broken = False
        except LockedError:
            _log.warning("a search has used the indexes for more than %g s: they are loaded again", _PATIENCE)
            self._indexes = self._loaded()

    def _catch_up(self, reader: Reader, state: State, known: Version) -> None:
        """Bring the indexes to the state that a transaction sees, or to a later one.

        `known` is their version before the transaction began. Where the state did not come of it, the database was
        put back to an older one: the indexes are reloaded.
        """
        with self._catching_up:
            missed = None
            broken = self._indexes.broken
            if not broken and self._indexes.version != known:
                return  # another thread was here meanwhile
            follows = self._indexes.layout.number == state.layout and known.sequence >= state.floor
            if not broken and follows and reader.follows(known):
                if known == state.version:
                    return
                missed = self._indexes.missed(reader)
            if missed is None:
                self._indexes = self._loaded()  # searches that are at work keep those that they have
            else:
                self._apply(*missed, state.version)
        saved = reader.generation()
        if saved is not None and saved[0] != self._indexes.generation and self._reloading.acquire(blocking=False):
            threading.Thread(target=self._reload, name="hybridrank-reload", daemon=True).start()

    def load(self, progress: Progress | None = None) -> None:
        """Open the saved indexes, or rebuild them from the database; `progress` counts units of the latter."""
        with fork.hold_forks(), self._catching_up:
            indexes = self._loaded(progress)
            self._last, self.alone = indexes.version, not indexes.sequence
            self._indexes = indexes
        self.maintain(repair=indexes.repaired)

    def _loaded(self, progress: Progress | None = None) -> Indexes:
        """New indexes at the newest state: the saved ones and later changes, or all from the database."""
        problem = None
        tried = ""
        while self._layouts.current.retrievers:
            with self._store.reading() as reader:
                saved = reader.generation()
                if saved is None or saved[0] == tried:
                    break
                tried, sequence, digest = saved
                indexes = Indexes(layout := self._layout(reader))
                try:
                    arms = self.generations.load(tried, sequence, digest, layout.retrievers)
                    state = reader.state()
                    if state.floor <= sequence <= state.version.sequence:
                        indexes.take(tried, sequence, arms, reader)
                        if indexes.catch_up(reader) and indexes.agree(reader):
                            return indexes
                    problem = "they do not hold what the database holds"
                except StorageError as error:  # perhaps a newer generation has just taken its place
                    problem = str(error)
        if problem is not None:
            _log.warning("the saved indexes of %s cannot be used and are made again: %s", self._folder, problem)
        with self._store.reading() as reader:
            indexes = Indexes(self._layout(reader))
            indexes.catch_up(reader, progress=progress)
            reader.check_counts()
            if not indexes.agree(reader):
                raise damaged("units are missing, or there are others than its table state counts")
            indexes.generation, indexes.repaired = str(tried), problem is not None
            return indexes

    def _layout(self, reader: Reader) -> Layout:
        """The layout that a transaction sees, whose models are to be checked when they are here."""
        layout = self._layouts.at(reader)
        self._unchecked = {
            arm: layout.fingerprints[number]
            for arm, number in layout.embedders.items()
            if number in layout.fingerprints
        }
        return layout

    def _reload(self) -> None:
        """Load a generation that another process has saved: it is more compact, and shared memory."""
        try:
            indexes = self._loaded()
            with fork.hold_forks(), self._catching_up, self._store.reading() as reader:
                # else it missed removals: the next change tries again
                state = reader.state()
                known = indexes.layout.number == state.layout and indexes.sequence >= state.floor
                known = known and reader.follows(indexes.version)
                if known and indexes.catch_up(reader):
                    self._indexes = indexes
        except StorageError as error:
            if not self._store.closed:
                _log.warning("the indexes of %s cannot be reloaded: %s", self._folder, error)
        finally:
            self._reloading.release()

    def maintain(self, *, repair: bool = False) -> None:
        """Reorganize and save the indexes when enough has changed since they were, or to repair what was saved.

        A process with many small changes spends at most a tenth of its time here; `finish` does the rest.
        """
        if self._store.read_only or not self._layouts.current.retrievers:
            return
        if monotonic() < self._rests_until and not repair:
            return
        try:
            if self._indexes.unsaved < max(_SAVE_AFTER, self._units() // 20) and not repair:
                return
            with self._writer.holding("saving the indexes", timeout=0):
                self._improve_and_save()
        except LockedError:
            pass  # the process that is writing will do it
        except StorageError as error:  # the documents are safe; the indexes can be made again
            _log.warning("the indexes of %s could not be saved: %s", self._folder, error)

    def finish(self) -> None:
        """Save the indexes, if this process has changed much since they were saved."""
        if self._wrote and not self._indexes.broken:
            self._wrote, self._rests_until = False, 0.0
            self.maintain()

    def settle(self) -> None:
        """Wait some seconds until no indexes are being reloaded, as the waiting thread may block that."""
        if self._reloading.acquire(timeout=_SETTLES):
            self._reloading.release()

    def compact(self) -> None:
        """Reorganize and save the indexes now, and free disk space in the database."""
        self._store.require_writable()
        with self._writer.holding("compacting"):
            if self._layouts.current.retrievers:
                self._improve_and_save(purge=True)
            else:  # documents alone were opened: what was saved of the indexes stays good
                with self._store.writing() as writer:
                    saved = writer.generation()
                    writer.purge(writer.state().version.sequence if saved is None else saved[1])
            self._store.shrink()

    def improve(self) -> None:
        """Reorganize the indexes if it pays, while nothing changes them."""
        indexes = self._indexes
        for index in indexes.arms.values():
            if isinstance(index, ImprovingIndex) and (swap := index.improve()) is not None:
                with indexes.lock.writing(_PATIENCE):
                    swap()

    @contextmanager
    def exclusively(self, doing: str) -> Iterator[Callable[[], AbstractContextManager[Change]]]:
        """Exclude other writers meanwhile; yields what begins each of several changes."""
        self._store.require_writable()
        with self._writer.holding(doing):
            yield self._changing

    @contextmanager
    def switching(self, other: LiveIndexes) -> Iterator[Writer]:
        """The transaction, inside of `exclusively`, that makes the layout of other indexes the current one.

        Those are saved first, so that every process opens them in its next search.
        """
        with other.reading():  # the newest state
            indexes = other._indexes
        name, digest = self.generations.save(indexes.arms, indexes.sequence)
        try:
            with self._catching_up, self._store.writing() as writer:
                state = writer.state()
                if state.version != indexes.version:
                    raise StorageError(f"the collection at {self._folder} was changed while locked: try again")
                yield writer
                writer.put_generation(name, indexes.sequence, digest)
                writer.seal(state.version)
        except BaseException:
            self.generations.drop(name)
            raise
        self.generations.sweep(name)

    @contextmanager
    def removing(self) -> Iterator[bool]:
        """Exclude other writers while the collection is removed; whether only this process has changed it."""
        with self._writer.holding("removing what could not be built", timeout=5.0):
            with self._store.reading() as reader:
                alone = self.alone and reader.state().version == self._last
            yield alone

    def _units(self) -> int:
        with self._store.reading() as reader:
            return reader.state().units

    def _improve_and_save(self, *, purge: bool = False) -> None:
        """Hold the writer's lock, so that nothing changes meanwhile; searches continue."""
        started = monotonic()
        with self._catching_up:
            with self._store.reading() as reader:
                self._catch_up(reader, reader.state(), self._indexes.version)
            indexes = self._indexes
            try:
                self.improve()
                name, digest = self.generations.save(indexes.arms, indexes.sequence)
            except HybridrankError:
                raise
            except Exception as error:  # files with the right checksums that no index wrote
                indexes.broken = True
                raise StorageError(
                    f"the indexes of {self._folder} are damaged; close the collection and remove its directory "
                    f"indexes, which are made again: {error!r}"
                ) from error
            try:
                with self._store.writing() as writer:
                    writer.put_generation(name, indexes.sequence, digest)
                    if purge:
                        writer.purge(indexes.sequence)
            except BaseException:
                self.generations.drop(name)
                raise
            indexes.generation, indexes.unsaved = name, 0
            self.generations.sweep(name)
        self._rests_until = monotonic() + 9 * (monotonic() - started)
