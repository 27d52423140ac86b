"""Threads for calls that may hang: bounded in number, and one whose call is left behind is replaced.

Nobody can stop a thread. A call that is not waited for any more goes on to its end; too many of those of one
backend, and it is not called until one of them ends.
"""

from __future__ import annotations

import asyncio
import os
import threading
from asyncio import Future as AsyncFuture
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import copy_context
from functools import cache, partial
from time import perf_counter
from typing import Any, TypeVar
from weakref import WeakSet

from hybridrank.errors import BackendTimeoutError, BackendUnavailableError

__all__ = ["in_task", "in_thread", "leave", "left_behind", "submit"]

T = TypeVar("T")

_LEFT_BEHIND = 4
"""Calls of one backend that may go on with nobody waiting: past that it is not called, or threads pile up."""

_GRACE = 0.05
"""The part of its time that a task has, once it is cancelled, to come to its end."""


def submit(run: Callable[[], T], *, backend: object, purpose: str) -> Future[T]:
    """Have this run in a thread, in this context; it fails where too many of the backend's calls are left behind.

    `purpose` names the workers. What waits for the work of some workers is the work of others: in one pool, those
    who wait could take every thread, and wait for work that finds none. A backend of None is never refused.
    """
    if refusal := _left_behind.refusal(backend):
        refused: Future[T] = Future()
        refused.set_exception(refusal)
        return refused
    return _workers(purpose).submit(partial(copy_context().run, run))


def leave(future: Future[Any], *, backend: object, purpose: str) -> bool:
    """Nobody waits for this any more: it is not begun, if it was not. True if it goes on."""
    if going_on := _workers(purpose).leave(future):
        _left_behind.add(backend, future)
    return going_on


def left_behind(seconds: float) -> BackendTimeoutError:
    """What to say of a call that was not done after so many seconds."""
    return BackendTimeoutError(f"left behind at the deadline, after {seconds:.3f} s")


async def in_thread(run: Callable[[], T], seconds: float | None, *, backend: object, purpose: str) -> T:
    """Await what `run` gives, for so many seconds at most; late or cancelled, it is left behind.

    Unlike those of `asyncio.to_thread`, its threads keep neither the event loop nor the process from ending.

    Raises:
        BackendTimeoutError: it is late.
        BackendUnavailableError: too many of the backend's calls are left behind.
        Exception: what `run` raised.
    """
    future = submit(run, backend=backend, purpose=purpose)
    work = asyncio.wrap_future(future)
    started = perf_counter()
    try:
        await asyncio.wait({work}, timeout=seconds)
        if work.done():
            return work.result()
    finally:
        if not work.done():
            leave(future, backend=backend, purpose=purpose)
            work.add_done_callback(_look_at_exception)
            work.cancel()
    raise left_behind(perf_counter() - started)


async def in_task(call: Callable[[], Awaitable[T]], seconds: float, *, backend: object) -> T:
    """Await what ``call()`` gives for so many seconds; late, or when this is cancelled, it is cancelled.

    If it does not heed that, it is left behind.

    Raises:
        BackendTimeoutError: it is late.
        BackendUnavailableError: too many of the backend's calls are left behind.
        Exception: what it raised.
    """
    if refusal := _left_behind.refusal(backend):
        raise refusal
    started = perf_counter()
    task = asyncio.ensure_future(call())
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
    finally:
        if not task.done():
            task.add_done_callback(_look_at_exception)
            task.cancel()
            try:
                await asyncio.wait({task}, timeout=seconds * _GRACE)
            finally:
                if not task.done():
                    _left_behind.add(backend, task)
    raise left_behind(perf_counter() - started)


class _Workers:
    """Threads that run calls, at most so many; one whose call is left behind is replaced, and ends with its call.

    They are daemons, unlike those of `concurrent.futures`: a call that never ends does not keep the process from
    ending.
    """

    def __init__(self, name: str, *, most: int = 32) -> None:
        self._name = name
        self._most = most
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._idle = 0
        self._threads = 0
        self._left: set[Future[Any]] = set()

    def submit(self, run: Callable[[], T]) -> Future[T]:
        """Have this run when a thread is free."""
        future: Future[T] = Future()
        with self._changed:
            self._waiting.append((future, run))
            self._changed.notify()
            self._staff()
        return future

    def leave(self, future: Future[Any]) -> bool:
        """Let the call go on in its thread, which ends with it; True unless it was not begun, or is done."""
        if future.cancel():
            return False
        with self._changed:
            if future.done():
                return False
            self._left.add(future)
            self._threads -= 1
            self._staff()
        return True

    def _staff(self) -> None:
        if self._idle < len(self._waiting) and self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._work, name=f"hybridrank-{self._name}", daemon=True).start()

    def _work(self) -> None:
        future: Future[Any] | None = None
        while True:
            with self._changed:
                if future in self._left:
                    self._left.discard(future)
                    return
                self._idle += 1
                while not self._waiting:
                    future = None  # and what it holds
                    self._changed.wait()
                self._idle -= 1
                future, run = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                _fulfil(future, run)
            del run


def _fulfil(future: Future[Any], run: Callable[[], Any]) -> None:
    try:
        value = run()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(value)


class _LeftBehind:
    """The calls of each backend that nobody waits for any more."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # reentrant: the garbage collector may end a task wherever it comes by
        # The backend, so that no other gets its id meanwhile. Its calls weakly, since a task that nothing can
        # wake any more is collected, and then no longer at work.
        self._calls: dict[int, tuple[object, WeakSet[Any]]] = {}

    def add(self, backend: object, call: Future[Any] | AsyncFuture[Any]) -> None:
        if backend is None:
            return
        with self._lock:
            self._calls.setdefault(id(backend), (backend, WeakSet()))[1].add(call)
        call.add_done_callback(lambda _: self._forget_done())

    def refusal(self, backend: object) -> BackendUnavailableError | None:
        """Why the backend is not called now; None if it may be."""
        with self._lock:
            _, calls = self._calls.get(id(backend), (None, ()))
            if sum(not call.done() for call in calls) < _LEFT_BEHIND:
                return None
        return BackendUnavailableError(f"not called: {_LEFT_BEHIND} calls that were left behind are still running")

    def _forget_done(self) -> None:
        with self._lock:
            for key, (_, calls) in list(self._calls.items()):
                if all(call.done() for call in calls):
                    del self._calls[key]


def _look_at_exception(task: AsyncFuture[Any]) -> None:
    """Or the event loop would complain that nobody did."""
    if not task.cancelled():
        task.exception()


_left_behind = _LeftBehind()


@cache
def _workers(purpose: str) -> _Workers:
    return _Workers(purpose)


def _after_fork() -> None:
    global _left_behind
    _workers.cache_clear()  # a forked child inherits no threads
    _left_behind = _LeftBehind()


if hasattr(os, "register_at_fork"):  # not on Windows, which forks nothing
    os.register_at_fork(after_in_child=_after_fork)
