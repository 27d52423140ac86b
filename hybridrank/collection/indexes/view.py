"""One state of a collection, as a search sees it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from hybridrank.collection.locks import Reading
from hybridrank.component.protocols import Index
from hybridrank.errors import StorageError
from hybridrank.filters.language import Filter
from hybridrank.runtime import fork
from hybridrank.runtime.threads import Work
from hybridrank.types import Document, Query

__all__ = ["Chosen", "Units", "View"]

_REMEMBERED = 32

Units: TypeAlias = Callable[[Collection[str]], Mapping[str, Document]]
"""Those of the units of these ids that are held, by id."""

Choose: TypeAlias = Callable[[frozenset[str] | None, Filter | None], frozenset[str]]


class Chosen:
    """A cache of filter results while nothing changes: the same filter gives the same frozenset."""

    def __init__(self) -> None:
        self._found: OrderedDict[Any, frozenset[str]] = OrderedDict()
        self._lookalikes: frozenset[str] | None = None
        self._guard = fork.new_lock()

    def get(self, query: Query, choose: Choose) -> frozenset[str]:
        """Ids of the units that match a query's ids and filters."""
        key = (query.filters, query.ids)
        with self._guard:
            found = self._found.get(key)
        if found is None:
            found = choose(query.ids, query.filters)
            with self._guard:
                self._found[key] = found
                if len(self._found) > _REMEMBERED:
                    self._found.popitem(last=False)
        return found

    def lookalikes(self, find: Callable[[], frozenset[str]]) -> frozenset[str]:
        """What `find` finds, called once."""
        if self._lookalikes is None:
            self._lookalikes = find()
        return self._lookalikes


class View:
    """The indexes and the documents of a collection in one state.

    The indexes hold *units*: documents, or where the collection `splits`, passages. `hold` is what keeps writers
    from the indexes; `keep` gives what knows some units of this state without it, where `units` does not. `layout`
    is the collection's.
    """

    def __init__(
        self,
        indexes: Mapping[str, Index],
        *,
        splits: bool,
        chosen: Chosen,
        choose: Choose,
        units: Units,
        hold: Reading,
        keep: Callable[[Collection[str]], Units] | None = None,
        lookalikes: Callable[[], frozenset[str]] = frozenset,
        layout: object = None,
    ) -> None:
        self.indexes = indexes
        self.layout = layout
        self.splits = splits
        self.units = units
        self._chosen = chosen
        self._choose = choose
        self._hold = hold
        self._keep = keep
        self._lookalikes = lookalikes

    @property
    def state(self) -> object:
        """The same object as long as nothing changes."""
        return self._chosen

    def retrieved(self, ids: Collection[str]) -> None:
        """Release the indexes; `units` continues to return these units in this state."""
        if self._keep is not None:
            self.units = self._keep(ids)
        self._hold.__exit__()

    def lookalikes(self) -> frozenset[str]:
        """The whole documents whose ids have the form of a passage's: looked for once in each state."""
        return self._chosen.lookalikes(self._lookalikes)

    def abandon(self, works: Sequence[Work[Any]]) -> None:
        """Leave the indexes to abandoned calls: nothing changes them until those are done."""
        hold, last = self._hold.handed_on(), threading.Lock()

        def done() -> None:
            if all(work.finished for work in works) and last.acquire(blocking=False):
                hold.__exit__()

        for work in works:
            work.when_done(done)

    def found(self, ids: Collection[str]) -> Mapping[str, Document]:
        """Units that the indexes found, by id.

        Raises:
            StorageError: the documents lack one: the collection is damaged.
        """
        units = self.units(ids)
        if missing := [unit for unit in ids if unit not in units]:
            raise StorageError(
                f"the collection is damaged: its indexes hold {missing[0]!r}, and its documents do not; remove "
                "its directory indexes, which are made again, or restore it from a backup that snapshot() made"
            )
        return units

    def resolve(self, query: Query) -> Query:
        """The query with its ids and filters as ids of units, which are all that an index knows."""
        if query.filters is None and (query.ids is None or not self.splits):
            return query
        return query._among(self._chosen.get(query, self._choose))
