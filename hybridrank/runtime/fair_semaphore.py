"""A semaphore with first come, first served order."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from weakref import ref

from hybridrank.runtime import fork
from hybridrank.runtime.holds import Hold, Holds

__all__ = ["FairSemaphore"]

_LOOKS = 0.1  # seconds after which a waiting thread looks for turns that were lost


class FairSemaphore:
    """A semaphore that passes each released slot to the thread that has waited longest.

    `threading.Semaphore` lets the thread that released its slot acquire it again before the waiting thread wakes
    up, so that a long piece of work may block a short one until it ends. A slot belongs to the object that
    `acquire` returns: no exception of a signal handler loses it, and a forked child starts with all slots free.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._holds = Holds()
        self._waiting: deque[ref[_Turn]] = deque()
        self._guard = fork.new_lock()
        fork.in_child(self._renew)

    def acquire(self) -> _Turn:
        """``with semaphore.acquire():`` waits for a slot, and holds it inside the block."""
        return _Turn(self)

    @property
    def waiting(self) -> int:
        """The number of waiting threads."""
        return sum(turn() is not None for turn in list(self._waiting))

    def _serve(self) -> None:
        """Pass free slots to waiting threads; with the guard held."""
        while self._waiting and len(self._holds) < self._count:
            turn = self._waiting[0]()
            if turn is not None:
                turn.hold = self._holds.add(turn)
                turn.hold.owner = turn.owner
                turn.ready.release()
            del turn
            self._waiting.popleft()

    def _renew(self) -> None:
        self._holds.keep_own()
        self._waiting.clear()


class _Turn:
    """One slot: requested, held, released."""

    __slots__ = ("__weakref__", "_turns", "hold", "owner", "ready")

    def __init__(self, turns: FairSemaphore) -> None:
        self._turns = turns
        self.hold: Hold | None = None
        self.owner = threading.get_ident()
        self.ready = threading.Lock()

    def __enter__(self) -> None:
        turns = self._turns
        self.ready.acquire()
        me = ref(self)
        try:
            with turns._guard:
                turns._waiting.append(me)
                turns._serve()
            while not self.ready.acquire(timeout=_LOOKS):
                with turns._guard:
                    turns._serve()
        except BaseException:  # a signal handler raised, here in the main thread
            with suppress(ValueError):
                turns._waiting.remove(me)
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self.hold is not None:
            self._turns._holds.discard(self.hold)
        with self._turns._guard:
            self._turns._serve()
