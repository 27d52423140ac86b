"""Who holds something, by objects that own their hold: it ends with them, however they come to their end."""

from __future__ import annotations

from threading import get_ident
from time import monotonic
from weakref import ref

__all__ = ["Hold", "Holds"]


class Hold(ref):  # type: ignore[type-arg]
    """One holder, weakly; `owner` is the thread that it began in, `since` when (`time.monotonic`)."""

    __slots__ = ("owner", "since")
    owner: int
    since: float


class Holds:
    """The holders there are.

    A signal handler may raise between any two steps of the main thread, in a `finally` block too, so a count that
    is taken back by code can stay too high for ever. Here a holder is an object: `discard` removes it, and so does
    its deallocation, when the frame that owns it is left by an exception. Adding and removing are one step for the
    interpreter each, so no lock is needed.
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
        """After a fork, in the child: drop the holds of threads that did not come along."""
        me = get_ident()
        self._holds.intersection_update([hold for hold in self.all() if hold.owner == me])
