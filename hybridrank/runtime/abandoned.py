"""The abandoned calls of each backend: beyond a bound, the backend is not called."""

from __future__ import annotations

from typing import Any, Protocol
from weakref import WeakSet

from hybridrank.errors import BackendUnavailableError
from hybridrank.runtime import fork

__all__ = ["MOST_ABANDONED", "abandoned_calls"]

MOST_ABANDONED = 4
"""Maximum number of abandoned calls of one backend: beyond it, the backend is not called, so that threads do not
pile up.
"""


class _Call(Protocol):
    def done(self) -> bool: ...


class _AbandonedCalls:
    """The abandoned calls of each backend."""

    def __init__(self) -> None:
        self._lock = fork.new_rlock()  # reentrant: the garbage collector may come by with a task
        # The backend, so that no other gets its id meanwhile. Its calls weakly, since a task that nothing can
        # wake any more is collected, and then no longer at work.
        self._calls: dict[int, tuple[object, WeakSet[Any]]] = {}

    def add(self, backend: object, call: _Call) -> None:
        if backend is not None:
            with self._lock:
                self._calls.setdefault(id(backend), (backend, WeakSet()))[1].add(call)

    def refusal(self, backend: object) -> BackendUnavailableError | None:
        """Why the backend is not called now; None if it may be."""
        if not self._calls:
            return None
        with self._lock:
            for key, (_, calls) in list(self._calls.items()):
                if all(call.done() for call in calls):
                    del self._calls[key]
            held = self._calls.get(id(backend))
            if held is None or sum(not call.done() for call in held[1]) < MOST_ABANDONED:
                return None
        return BackendUnavailableError(f"not called: {MOST_ABANDONED} abandoned calls are still running")

    def forget(self) -> None:
        """Start from none: a forked child has no part in its parent's calls."""
        self._calls.clear()


abandoned_calls = _AbandonedCalls()
fork.in_child(abandoned_calls.forget)
