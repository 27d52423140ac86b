"""Running what a plan asks for: calls beside each other, in threads or on an event loop, while there is time.

A plan is a generator. It yields calls, gets their outcomes, and goes on; so one plan serves a sync and an async
driver. Within `hybridrank.deadline.limited`, calls that are late are left behind: a thread goes on to its end with
nobody waiting, what runs on the event loop is cancelled.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
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


@cache
def _pool(purpose: str) -> ThreadPoolExecutor:
    # Work in the "arm" pool never waits for other work in a pool; work in the "search" pool waits only for arms.
    # That is why they are two: in one, searches could fill every thread and wait for arms that find none.
    return ThreadPoolExecutor(32, thread_name_prefix=f"hybridrank-{purpose}")


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
    _pool.cache_clear()  # a forked child inherits no threads
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


def _spawn(call: Call) -> Future[Outcome]:
    """Run a call in a thread of its own, which a hanging backend cannot take away from others."""
    future: Future[Outcome] = Future()
    if _left_behind.too_many(call.backend):
        future.set_result(_refused())
        return future
    future.set_running_or_notify_cancel()  # from here on nobody can cancel it
    context = copy_context()
    threading.Thread(
        target=lambda: future.set_result(context.run(_run, call)), name="hybridrank-timed", daemon=True
    ).start()
    return future


def run_all(calls: Sequence[Call]) -> tuple[list[Outcome], list[Future[Outcome]]]:
    """Run calls beside each other and wait for them, until the deadline if there is one.

    Returns each one's outcome, and of those that were left behind what they will come to.
    """
    seconds = remaining()
    if seconds is None:
        others = [_pool("arm").submit(copy_context().run, _run, call) for call in calls[:-1]]
        last = _run(calls[-1])
        return [*(other.result() for other in others), last], []
    started = perf_counter()
    futures = [_spawn(call) for call in calls]
    wait(futures, timeout=seconds)
    outcomes, late = [], []
    for call, future in zip(calls, futures, strict=True):
        if future.done():
            outcomes.append(future.result())
        else:
            _left_behind.add(call, future)
            late.append(future)
            outcomes.append(_late(started))
    return outcomes, late


async def _arun(call: Call) -> Outcome:
    started = perf_counter()
    seconds = remaining()
    if call.arun is None:
        if seconds is None:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(_pool("search"), copy_context().run, _run, call)
        future = _spawn(call)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except (TimeoutError, asyncio.CancelledError) as error:
            _left_behind.add(call, future)
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
            calls = plan.send(run_all(calls)[0])
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
