"""Running what a plan asks for: calls beside each other, in threads or on an event loop, while there is time.

A plan is a generator. It yields calls, gets their outcomes, and goes on; so one plan serves a sync and an async
driver. Within `hybridrank.deadline.limited`, calls that are late are left behind: a thread goes on to its end with
nobody waiting, what runs on the event loop is cancelled.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import Future, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache, partial
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

from hybridrank.deadline import remaining
from hybridrank.errors import BackendTimeoutError, BackendUnavailableError, OverloadedError

__all__ = ["Call", "Outcome", "Plan", "Searching", "adrive", "drive", "run_all"]

T = TypeVar("T")

_LEFT_BEHIND = 4
"""Calls of one backend that may go on with nobody waiting: past that it is not called, or threads pile up."""


@dataclass(frozen=True, slots=True)
class Call:
    """Work that a plan asks its driver for: `arun`, where there is one, is the same without a thread.

    `backend` is the object whose work it is.
    """

    run: Callable[[], Any]
    arun: Callable[[], Awaitable[Any]] | None = None
    backend: object = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call gave, or the exception that it raised, and what it took."""

    value: Any
    error: Exception | None
    seconds: float

    def get(self) -> Any:
        """The value; raises the error."""
        if self.error is not None:
            raise self.error
        return self.value


Plan: TypeAlias = Generator[Sequence[Call], Sequence[Outcome], T]


class _Workers:
    """Threads that run calls, at most so many; one whose call is left behind is replaced, and ends with its call.

    They are daemons, unlike those of `concurrent.futures`: a call that never ends does not keep the process from
    ending.
    """

    def __init__(self, name: str, *, most: int = 32) -> None:
        self._name = name
        self._most = most
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Future[Outcome], Callable[[], Outcome]]] = deque()
        self._idle = 0
        self._threads = 0
        self._left: set[Future[Outcome]] = set()

    def submit(self, run: Callable[[], Outcome]) -> Future[Outcome]:
        """Have this run when a thread is free."""
        future: Future[Outcome] = Future()
        with self._changed:
            self._waiting.append((future, run))
            self._changed.notify()
            self._staff()
        return future

    def leave(self, future: Future[Outcome]) -> bool:
        """Nobody waits for this any more: it is not begun, if it was not. True if it goes on."""
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
        future: Future[Outcome] | None = None
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
                future.set_result(run())
            del run


@cache
def _workers(purpose: str) -> _Workers:
    # Work for the "arm" workers never waits for other work; work for the "search" workers waits only for arms.
    # That is why they are two: in one, searches could fill every thread and wait for arms that find none.
    return _Workers(purpose)


class _LeftBehind:
    """How many calls of each backend nobody waits for any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[int, tuple[object, int]] = {}  # the object, so that no other gets its id meanwhile

    def add(self, call: Call, future: Future[Outcome]) -> None:
        self._change(call.backend, 1)
        future.add_done_callback(lambda _: self._change(call.backend, -1))

    def _change(self, backend: object, by: int) -> None:
        with self._lock:
            _, count = self._counts.get(id(backend), (backend, 0))
            if count + by:
                self._counts[id(backend)] = backend, count + by
            else:
                del self._counts[id(backend)]

    def too_many(self, backend: object) -> bool:
        with self._lock:
            return backend is not None and self._counts.get(id(backend), (backend, 0))[1] >= _LEFT_BEHIND


_left_behind = _LeftBehind()


def _after_fork() -> None:
    global _left_behind
    _workers.cache_clear()  # a forked child inherits no threads
    _left_behind = _LeftBehind()


if hasattr(os, "register_at_fork"):  # not on Windows, which forks nothing
    os.register_at_fork(after_in_child=_after_fork)


class Searching:
    """``with searching:`` counts one search more that goes on, and refuses it where there are `most` already."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if self._count >= self._most:
                raise OverloadedError(
                    f"{self._count} searches are going on or waiting, and max_searches is {self._most}: "
                    "try again when some have ended"
                )
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1


def _run(call: Call) -> Outcome:
    started = perf_counter()
    try:
        return Outcome(call.run(), None, perf_counter() - started)
    except Exception as error:
        return Outcome(None, error, perf_counter() - started)


def _late(started: float) -> Outcome:
    seconds = perf_counter() - started
    return Outcome(None, BackendTimeoutError(f"left behind at the deadline, after {seconds:.3f} s"), seconds)


def _refused() -> Outcome:
    problem = f"not called: {_LEFT_BEHIND} calls that were left behind are still running"
    return Outcome(None, BackendUnavailableError(problem), 0.0)


def _submit(call: Call, purpose: str) -> Future[Outcome]:
    if _left_behind.too_many(call.backend):
        refused: Future[Outcome] = Future()
        refused.set_result(_refused())
        return refused
    return _workers(purpose).submit(partial(copy_context().run, _run, call))


def _leave(call: Call, future: Future[Outcome], purpose: str) -> bool:
    """Leave a call behind. True if it goes on."""
    if going_on := _workers(purpose).leave(future):
        _left_behind.add(call, future)
    return going_on


def run_all(calls: Sequence[Call], *, purpose: str = "arm") -> tuple[list[Outcome], list[Future[Outcome]]]:
    """Run calls beside each other and wait for them, until the deadline if there is one.

    `purpose` names the workers: what waits for the work of "arm" workers is the work of "search" workers. Returns
    each call's outcome, and of those that were left behind and go on what they will come to.
    """
    seconds = remaining()
    if seconds is None:
        others = [_submit(call, purpose) for call in calls[:-1]]
        last = _run(calls[-1])
        return [*(other.result() for other in others), last], []
    started = perf_counter()
    futures = [_submit(call, purpose) for call in calls]
    wait(futures, timeout=seconds)
    outcomes, late = [], []
    for call, future in zip(calls, futures, strict=True):
        if future.done():
            outcomes.append(future.result())
            continue
        outcomes.append(_late(started))
        if _leave(call, future, purpose):
            late.append(future)
    return outcomes, late


async def _arun(call: Call) -> Outcome:
    started = perf_counter()
    seconds = remaining()
    if call.arun is None:
        future = _submit(call, "search")
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except (TimeoutError, asyncio.CancelledError) as error:
            if not future.done():
                _leave(call, future, "search")
            if isinstance(error, asyncio.CancelledError):
                raise
            return _late(started)
    try:
        async with asyncio.timeout(seconds) as limit:
            return Outcome(await call.arun(), None, perf_counter() - started)
    except Exception as error:
        if isinstance(error, TimeoutError) and limit.expired():
            return _late(started)
        return Outcome(None, error, perf_counter() - started)


def drive(plan: Plan[T]) -> T:
    """Run a plan to its end, in this thread and others."""
    try:
        calls = next(plan)
        while True:
            calls = plan.send(run_all(calls, purpose="search")[0])
    except StopIteration as finished:
        result: T = finished.value
        return result
    finally:
        plan.close()


async def adrive(plan: Plan[T]) -> T:
    """The same, without blocking the event loop."""
    try:
        calls = next(plan)
        while True:
            calls = plan.send(await asyncio.gather(*map(_arun, calls)))
    except StopIteration as finished:
        result: T = finished.value
        return result
    finally:
        plan.close()
