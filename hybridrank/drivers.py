"""Running what a plan asks for: calls beside each other, in threads or on an event loop, while there is time.

A plan is a generator. It yields calls, gets their outcomes, and goes on; so one plan serves a sync and an async
driver. Within `hybridrank.deadline.limited`, calls that are late are left behind: a thread goes on to its end with
nobody waiting, what runs on the event loop is cancelled.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias, TypeVar

from hybridrank.deadline import remaining
from hybridrank.errors import BackendUnavailableError, OverloadedError
from hybridrank.workers import in_task, in_thread, leave, left_behind, submit

__all__ = ["Call", "Outcome", "Plan", "Searching", "adrive", "drive", "run_all"]

T = TypeVar("T")


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
    return Outcome(None, left_behind(seconds), seconds)


def _submit(call: Call, purpose: str) -> Future[Outcome]:
    return submit(partial(_run, call), backend=call.backend, purpose=purpose)


def _come(future: Future[Outcome]) -> Outcome:
    """What a call came to, or the reason for which it was refused."""
    try:
        return future.result()
    except BackendUnavailableError as refused:
        return Outcome(None, refused, 0.0)


def run_all(calls: Sequence[Call], *, purpose: str = "arm") -> tuple[list[Outcome], list[Future[Outcome]]]:
    """Run calls beside each other and wait for them, until the deadline if there is one.

    `purpose` names the workers: what waits for the work of "arm" workers is the work of "search" workers. Returns
    each call's outcome, and of those that were left behind and go on what they will come to.
    """
    seconds = remaining()
    if seconds is None:
        others = [_submit(call, purpose) for call in calls[:-1]]
        last = _run(calls[-1])
        return [*map(_come, others), last], []
    started = perf_counter()
    futures = [_submit(call, purpose) for call in calls]
    wait(futures, timeout=seconds)
    outcomes, late = [], []
    for call, future in zip(calls, futures, strict=True):
        if future.done():
            outcomes.append(_come(future))
            continue
        outcomes.append(_late(started))
        if leave(future, backend=call.backend, purpose=purpose):
            late.append(future)
    return outcomes, late


async def _arun(call: Call) -> Outcome:
    started = perf_counter()
    seconds = remaining()
    try:
        if call.arun is None:
            run = partial(_run, call)
            return await in_thread(run, seconds, backend=call.backend, purpose="search")
        value = await (call.arun() if seconds is None else in_task(call.arun, seconds, backend=call.backend))
        return Outcome(value, None, perf_counter() - started)
    except Exception as error:
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
