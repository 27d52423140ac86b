"""Threads for calls that may hang: bounded in number, and one whose call is abandoned is replaced.

Nobody can stop a thread. A call that is not waited for any more goes on to its end; too many of those of one
backend, and it is not called until one of them ends.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from functools import cache, partial
from time import monotonic, perf_counter
from typing import Any, Generic, TypeVar

from hybridrank.errors import BackendTimeoutError
from hybridrank.runtime import fork
from hybridrank.runtime.abandoned import abandoned_calls

__all__ = ["Work", "abandon", "abandoned", "in_task", "in_thread", "run_in_thread", "submit"]

T = TypeVar("T")

_GRACE = 0.05
"""The part of its time that a task has, once it is cancelled, to come to its end."""

_MOST = 32
"""Threads for one purpose, apart from those that are at a long call."""

_LONG = 0.5
"""Seconds: a call that takes longer, or hangs, takes no other call's place."""


class Work(Generic[T]):
    """A call made in a thread, and what it came to.

    A signal handler may raise between any two steps of the waiting thread. Each step here is one for the
    interpreter, so that the thread goes on whatever happens there; a `concurrent.futures.Future` can be left
    locked.
    """

    __slots__ = ("__weakref__", "_callbacks", "_claim", "_error", "_run", "_value", "_workers", "finished")

    def __init__(self, run: Callable[[], T], workers: _Workers | None = None) -> None:
        self._run: Callable[[], T] | None = run
        self._workers = workers
        self._claim = threading.Lock()
        self._callbacks: deque[Callable[[], object]] = deque()
        self._value: T | None = None
        self._error: BaseException | None = None
        self.finished = False

    @classmethod
    def failed(cls, error: BaseException) -> Work[T]:
        """Work that was over before it began."""
        work: Work[T] = cls(_nothing)  # type: ignore[arg-type]
        work.cancel()
        work._error = error
        return work

    def run(self) -> None:
        """Make the call in this thread, unless it has been made or cancelled."""
        if not self._claim.acquire(blocking=False):
            return
        run, self._run = self._run, None
        try:
            self._value = run()  # type: ignore[misc]  # nobody else has claimed it
        except BaseException as error:
            self._error = error
        del run
        self._finish()

    def cancel(self) -> bool:
        """See that the call is not made. False if it has been begun."""
        if not self._claim.acquire(blocking=False):
            return False
        self._run = None
        self._error = asyncio.CancelledError()
        self._finish()
        return True

    def done(self) -> bool:
        """Whether it is over."""
        return self.finished

    @property
    def begun(self) -> bool:
        """Whether the call is being made, or is over."""
        return self._claim.locked()

    def _finish(self) -> None:
        self.finished = True
        self._tell()

    def _tell(self) -> None:
        with suppress(IndexError):  # none is left
            while True:
                self._callbacks.popleft()()

    def when_done(self, callback: Callable[[], object]) -> None:
        """Call this in the thread that ends the work; now, if it is over already."""
        self._callbacks.append(callback)
        if self.finished:
            self._tell()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is over, for so many seconds at most; whether it is."""
        if self.finished:
            return True
        until = float("inf") if seconds is None else monotonic() + seconds
        over = threading.Lock()
        over.acquire()
        self.when_done(over.release)
        while not self.finished and (left := until - monotonic()) > 0:
            over.acquire(timeout=min(left, threading.TIMEOUT_MAX if self.begun else _LONG))
            self.hurry()
        return self.finished

    def hurry(self) -> None:
        """Have a thread for it, if it has waited for long and every thread is at a long call."""
        if not self.begun and self._workers is not None:
            self._workers.hurry()

    def result(self) -> T:
        """What the call gave, once it is over; raises what it raised."""
        self.wait()
        try:
            if self._error is not None:
                raise self._error
            return self._value  # type: ignore[return-value]
        finally:
            del self  # the error's traceback has this frame


def _nothing() -> None:
    pass


def submit(run: Callable[[], T], *, backend: object, purpose: str) -> Work[T]:
    """Have this run in a thread, in this context; it fails where too many of the backend's calls are abandoned.

    `purpose` names the workers. What waits for the work of some workers is the work of others: in one pool, those
    who wait could take every thread, and wait for work that finds none. A backend of None is never refused.
    """
    if refusal := abandoned_calls.refusal(backend):
        return Work.failed(refusal)
    call = partial(copy_context().run, run)
    return _workers(purpose).submit(partial(fork.within, call) if fork.inside() else call)


def abandon(work: Work[Any], *, backend: object) -> bool:
    """Abandon this work: if it has not started, it never does. True if it is still running."""
    if work.cancel() or work.finished:
        return False
    if work._workers is not None:
        work._workers.abandon(work)
    abandoned_calls.add(backend, work)
    return True


def abandoned(seconds: float) -> BackendTimeoutError:
    """The error of a call that was not done after so many seconds."""
    return BackendTimeoutError(f"abandoned at the deadline, after {seconds:.3f} s")


def run_in_thread(run: Callable[[], T], seconds: float, *, backend: object, purpose: str) -> T:
    """What `run` gives, in a thread of the workers for `purpose`, within so many seconds; late, it is abandoned.

    Raises:
        BackendTimeoutError: it is late.
        BackendUnavailableError: too many of the backend's calls are abandoned.
        Exception: what `run` raised.
    """
    work = submit(run, backend=backend, purpose=purpose)
    try:
        if work.wait(seconds):
            return work.result()
    finally:
        if not work.finished:
            abandon(work, backend=backend)
    raise abandoned(seconds)


async def in_thread(run: Callable[[], T], seconds: float | None, *, backend: object, purpose: str) -> T:
    """Await what `run` gives, for so many seconds at most; late or cancelled, it is abandoned.

    Unlike those of `asyncio.to_thread`, its threads keep neither the event loop nor the process from ending.

    Raises:
        BackendTimeoutError: it is late.
        BackendUnavailableError: too many of the backend's calls are abandoned.
        Exception: what `run` raised.
    """
    started = perf_counter()
    work = submit(run, backend=backend, purpose=purpose)
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    work.when_done(partial(_wake, loop, over))
    until = float("inf") if seconds is None else monotonic() + seconds
    try:
        while not work.finished and (left := until - monotonic()) > 0:
            await asyncio.wait({over}, timeout=None if work.begun and seconds is None else min(left, _LONG))
            work.hurry()
        if work.finished:
            return work.result()
    finally:
        if not work.finished:
            abandon(work, backend=backend)
    raise abandoned(perf_counter() - started)


def _wake(loop: asyncio.AbstractEventLoop, over: asyncio.Future[None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_set, over)


def _set(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


async def in_task(call: Callable[[], Awaitable[T]], seconds: float, *, backend: object) -> T:
    """Await what ``call()`` gives for so many seconds; late, or when this is cancelled, it is cancelled.

    If it ignores that, it is abandoned.

    Raises:
        BackendTimeoutError: it is late.
        BackendUnavailableError: too many of the backend's calls are abandoned.
        Exception: what it raised.
    """
    if refusal := abandoned_calls.refusal(backend):
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
                    abandoned_calls.add(backend, task)
    raise abandoned(perf_counter() - started)


class _Worker(threading.Thread):
    """A thread that makes one call after another.

    It is a daemon, unlike those of `concurrent.futures`: a call that never ends does not keep the process from
    ending.
    """

    def __init__(self, workers: _Workers, work: Work[Any], *, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._workers = workers
        self.work: Work[Any] | None = work
        self.since = monotonic()
        self.ready = threading.Lock()
        self.ready.acquire()

    def run(self) -> None:
        while self.work is not None:
            self.work.run()
            self.work = None  # and what it holds
            if self._workers.next(self):
                self.ready.acquire()  # released once it has work again


class _Workers:
    """Threads that make calls, so many at most at short ones; one whose call is abandoned ends with it."""

    def __init__(self, name: str, *, most: int = _MOST) -> None:
        self._name = name
        self._most = most
        self._guard = fork.new_lock()
        self._waiting: deque[Work[Any]] = deque()
        self._idle: list[_Worker] = []
        self._threads: set[_Worker] = set()

    def submit(self, run: Callable[[], T]) -> Work[T]:
        """Have this run when a thread is free."""
        work = Work(run, self)
        new = None
        with self._guard:
            if self._idle:
                idle = self._idle.pop()
                idle.work, idle.since = work, monotonic()
                idle.ready.release()
            elif (new := self._hired(work)) is None:
                self._waiting.append(work)
        self._start(new)
        return work

    def next(self, worker: _Worker) -> bool:
        """Give the worker its next work, if there is some; else it shall wait until it has (True), or end."""
        with self._guard:
            if worker not in self._threads:
                return False
            worker.since = monotonic()
            while self._waiting:
                work = self._waiting.popleft()
                if not work.begun:
                    worker.work = work
                    return False
            if len(self._threads) > self._most:
                self._threads.discard(worker)
                return False
            self._idle.append(worker)
            return True

    def abandon(self, work: Work[Any]) -> None:
        """Replace the worker that makes this call."""
        with self._guard:
            for worker in self._threads:
                if worker.work is work:
                    self._threads.discard(worker)
                    worker.name = "hybridrank-abandoned"
                    break
        self.hurry()

    def hurry(self) -> None:
        """Begin with more of the work that waits, as far as threads are at long calls."""
        hired = []
        with self._guard:
            while self._waiting:
                if not self._waiting[0].begun:
                    if (new := self._hired(self._waiting[0])) is None:
                        break
                    hired.append(new)
                self._waiting.popleft()
        for new in hired:
            self._start(new)

    def _hired(self, work: Work[Any]) -> _Worker | None:
        """A new worker for this work, unless there are enough; with the guard."""
        now = monotonic()
        if sum(now - worker.since < _LONG for worker in self._threads) >= self._most:
            return None
        worker = _Worker(self, work, name=f"hybridrank-{self._name}")
        self._threads.add(worker)
        return worker

    def _start(self, worker: _Worker | None) -> None:
        if worker is None:
            return
        try:
            worker.start()
        except RuntimeError:  # the system has no thread to give, or the interpreter is ending
            with self._guard:
                self._threads.discard(worker)
            raise


def _look_at_exception(task: asyncio.Future[Any]) -> None:
    """Or the event loop would complain that nobody did."""
    if not task.cancelled():
        task.exception()


@cache
def _workers(purpose: str) -> _Workers:
    return _Workers(purpose)


fork.in_child(_workers.cache_clear)  # a forked child inherits no threads
