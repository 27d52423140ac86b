"""Forks: the one place that restores a forked child's state.

A child has one thread, the one that forked. The work of the others stops where it was: a lock stays locked, a
count stays up, a thread pool has no threads. Therefore

- every lock is made by `new_lock` (or `new_rlock`): a child finds it free;
- whatever else a child must recreate is registered with `in_child`;
- steps that must not be cut in half (native calls, changes of an index, SQLite transactions) run in `hold_forks`:
  a fork waits until other threads are done with them, for `WAITS` seconds at most;
- what must happen before a fork, with nobody inside `hold_forks` any more, is registered with `before`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from threading import get_ident
from time import monotonic, sleep
from types import MethodType
from typing import Any, TypeVar
from weakref import ref

from hybridrank.runtime.holds import Holds

__all__ = ["WAITS", "before", "hold_forks", "in_child", "inside", "new_lock", "new_rlock", "within"]

T = TypeVar("T")

WAITS = 30.0
"""Seconds that a fork waits for other threads."""

_POLL = 0.0005  # seconds

_locks: set[ref[Any]] = set()
_before: dict[object, Callable[[], None]] = {}
_in_child: dict[object, Callable[[], None]] = {}
_inside = Holds()
_forking: set[int] = set()  # threads


def new_lock() -> threading.Lock:
    """A `threading.Lock` that a forked child finds free."""
    lock = threading.Lock()
    _free_in_child(lock)
    return lock


def new_rlock() -> Any:
    """A `threading.RLock` that a forked child finds free."""
    lock = threading.RLock()
    _free_in_child(lock)
    return lock


def _free_in_child(lock: Any) -> None:
    _locks.add(ref(lock, _locks.discard))


def in_child(call: Callable[[], None]) -> None:
    """Call this in every forked child, in the order of registration; a method, as long as its object lives."""
    _register(_in_child, call)


def before(call: Callable[[], None]) -> None:
    """Call this before every fork, once no other thread is `hold_forks`; a method, as long as its object lives."""
    _register(_before, call)


def _register(calls: dict[object, Callable[[], None]], call: Callable[[], None]) -> None:
    key = object()
    if isinstance(call, MethodType):
        # No WeakMethod: where the interpreter ends, its callback may find that it is gone already, and complains.
        owner, method = ref(call.__self__, lambda _: calls.pop(key, None)), call.__func__
        calls[key] = partial(_call_of_living, owner, method)
    else:
        calls[key] = call


def _call_of_living(owner: ref[Any], method: Callable[[Any], None]) -> None:
    if (living := owner()) is not None:
        method(living)


def _call_all(calls: dict[object, Callable[[], None]]) -> None:
    for call in list(calls.values()):
        call()


class hold_forks:
    """``with hold_forks():`` a fork waits until this block is done.

    Reentrant. A thread that waits in here for another thread must see that the other one can go on: a thread that
    has to enter while a fork is waiting stays outside, unless it works for one that is inside (`within`).
    """

    __slots__ = ("__weakref__", "_hold")

    def __enter__(self) -> None:
        while True:
            already = bool(_forking) and inside()
            self._hold = _inside.add(self)  # before looking: a fork looks the other way round
            if already or not _forking:
                return
            _inside.discard(self._hold)
            while _forking:
                sleep(_POLL)

    def __exit__(self, *_: object) -> None:
        _inside.discard(self._hold)


def inside() -> bool:
    """Whether this thread is `hold_forks`."""
    me = get_ident()
    return any(hold.owner == me for hold in _inside.all())


def within(run: Callable[[], T]) -> T:
    """Run this for a thread that is `hold_forks` and waits for it."""
    off = hold_forks()
    off._hold = _inside.add(off)
    try:
        return run()
    finally:
        _inside.discard(off._hold)


def _before_fork() -> None:
    me, until = get_ident(), monotonic() + WAITS
    _forking.add(me)
    while any(hold.owner != me for hold in _inside.all()) and monotonic() < until:
        sleep(_POLL)
    _call_all(_before)


def _forked_parent() -> None:
    _forking.discard(get_ident())


def _forked_child() -> None:
    _forking.clear()
    _inside.keep_own()
    for each in list(_locks):
        if (lock := each()) is not None:
            lock._at_fork_reinit()
    _call_all(_in_child)


if hasattr(os, "register_at_fork"):  # not on Windows, which forks nothing
    os.register_at_fork(before=_before_fork, after_in_parent=_forked_parent, after_in_child=_forked_child)
