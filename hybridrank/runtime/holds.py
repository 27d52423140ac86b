"""Holders of a resource, as objects that own their hold, which ends with them in any case."""

from __future__ import annotations

from threading import get_ident
from time import monotonic
from weakref import ref

__all__ = ["Hold", "Holds"]


class Hold(ref):  # type: ignore[type-arg]
    """One holder, weakly; `owner` is its thread, `since` its start (`time.monotonic`)."""

    __slots__ = ("owner", "since")
    owner: int
    since: float


class Holds:
    """The current holders.

    A signal handler may raise between any two steps of the main thread, even in a `finally` block, so a count
    that code must decrement can stay too high forever. Here a holder is an object: `discard` removes it, and so
    does its deallocation, when an exception leaves the frame that owns it. Adding and removing are one step each
    for the interpreter, so no lock is needed.
    """

    def __init__(self) -> None:
        self._holds: set[Hold] = set()

    def add(self, holder: object) -> Hold:
        """Add a holder: any object that can be weakly referenced."""
        hold = Hold(holder, self._holds.discard)
        hold.owner, hold.since = get_ident(), monotonic()
        self._holds.add(hold)
        return hold

    def discard(self, hold: Hold) -> None:
        """Remove it, if it is still there."""
        self._holds.discard(hold)

    def __len__(self) -> int:
        return len(self._holds)

    def all(self) -> list[Hold]:
        """The holds, in no order."""
        return list(self._holds)

    def keep_own(self) -> None:
        """In a forked child: drop the holds of the parent's other threads."""
        me = get_ident()
        self._holds.intersection_update([hold for hold in self.all() if hold.owner == me])
