"""A circuit breaker: a backend that keeps failing is left alone for a while, then tried once."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Literal

from hybridrank.runtime import fork
from hybridrank.runtime.abandoned import abandoned_calls

__all__ = ["Circuit"]


class Circuit:
    """Decides whether a backend is called; thread-safe (Nygard, *Release It!*, 2007).

    Closed, it lets every call through. After `failure_threshold` in a row it is open, and lets none through for
    `cooldown` seconds. Then it is half-open: one call goes through as a probe, and closes it, or opens it again.
    It is also open while too many abandoned calls of `backend` are still running (`hybridrank.runtime.abandoned`).

    `clock` gives seconds, and never jumps. `reason` is the last failure, in words.
    """

    def __init__(
        self,
        backend: object,
        *,
        failure_threshold: int,
        cooldown: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._backend = backend
        self._failure_threshold = failure_threshold
        self._cooldown = cooldown
        self._clock = clock
        self._lock = fork.new_lock()
        self._failed = 0  # in a row
        self._opened: float | None = None
        self._probing = False
        self._turn = 0  # of opening and closing: what began before the last one has no say any more
        self.reason = ""
        fork.in_child(self._renew)

    def _renew(self) -> None:
        """The parent's calls tell a child nothing any more."""
        self._probing = False

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """Whether calls go through."""
        with self._lock:
            if self._crowded():
                return "open"
            if self._opened is None:
                return "closed"
            return "half-open" if self._clock() - self._opened >= self._cooldown else "open"

    def admit(self) -> int | None:
        """Let a call through, or not (None). Its number goes, in the end, to one of the next three."""
        with self._lock:
            if self._crowded():
                return None
            if self._opened is not None:
                if self._probing or self._clock() - self._opened < self._cooldown:
                    return None
                self._probing = True
            return self._turn

    def succeeded(self, turn: int) -> None:
        """The call was answered."""
        with self._lock:
            if turn == self._turn:
                self._turn += self._opened is not None
                self._opened, self._probing, self._failed = None, False, 0

    def failed(self, turn: int, reason: str) -> None:
        """The call failed."""
        with self._lock:
            self.reason = reason
            if turn == self._turn:
                self._failed += 1
                self._probing = False
                if self._opened is not None or self._failed >= self._failure_threshold:
                    self._opened = self._clock()
                    self._turn += 1

    def withdrawn(self, turn: int) -> None:
        """The call ended without telling anything about the backend."""
        with self._lock:
            if turn == self._turn:
                self._probing = False

    def _crowded(self) -> bool:
        return abandoned_calls.refusal(self._backend) is not None
