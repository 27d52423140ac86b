"""Running what a plan asks for: calls beside each other, in threads or on an event loop, while there is time.

A plan is a generator. It yields calls, gets their outcomes, and goes on; so one plan serves a sync and an async
driver. Within `hybridrank.runtime.deadline.limited`, calls that are late are left behind: a thread goes on to its
end with nobody waiting, what runs on the event loop is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic, perf_counter
from typing import Any, TypeAlias, TypeVar

from hybridrank.errors import BackendUnavailableError, OverloadedError
from hybridrank.runtime import fork
from hybridrank.runtime.cancellation import check_cancelled
from hybridrank.runtime.deadline import remaining
from hybridrank.runtime.holds import Hold, Holds
from hybridrank.runtime.threads import Work, abandon, abandoned, in_task, in_thread, submit

__all__ = ["AdmissionLimit", "Call", "Outcome", "Plan", "adrive", "begin", "come", "drive", "run_all"]

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


class AdmissionLimit:
    """``with searching.one():`` counts a search that goes on, and refuses it where there are `most` already."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._holds = Holds()
        fork.in_child(self._holds.keep_own)

    def one(self) -> _Search:
        """Count a search in a `with` block.

        Raises:
            OverloadedError: there are `most`, when the block begins.
        """
        return _Search(self)


class _Search:
    """A search that is counted."""

    __slots__ = ("__weakref__", "_admission", "_hold")

    def __init__(self, searching: AdmissionLimit) -> None:
        self._admission = searching
        self._hold: Hold | None = None

    def __enter__(self) -> None:
        searching = self._admission
        self._hold = searching._holds.add(self)
        if (others := len(searching._holds) - 1) >= searching._most:
            searching._holds.discard(self._hold)
            raise OverloadedError(
                f"{others} searches are going on or waiting, and max_searches is {searching._most}: "
                "try again when some have ended"
            )

    def __exit__(self, *_: object) -> None:
        if self._hold is not None:
            self._admission._holds.discard(self._hold)


def _run(call: Call) -> Outcome:
    started = perf_counter()
    try:
        return Outcome(call.run(), None, perf_counter() - started)
    except Exception as error:
        return Outcome(None, error, perf_counter() - started)


def _late(started: float) -> Outcome:
    seconds = perf_counter() - started
    return Outcome(None, abandoned(seconds), seconds)


def _come(work: Work[Outcome]) -> Outcome:
    """What a call came to, or the reason for which it was refused."""
    try:
        return work.result()
    except BackendUnavailableError as refused:
        return Outcome(None, refused, 0.0)


def run_all(calls: Sequence[Call], *, purpose: str = "arm") -> tuple[list[Outcome], list[Work[Outcome]]]:
    """Run calls beside each other and wait for them, until the deadline if there is one.

    `purpose` names the workers: what waits for the work of "arm" workers is the work of "search" workers. Returns
    each call's outcome, and of those that were left behind and go on what they will come to.
    """
    if remaining() is None:
        others = begin(calls[:-1], purpose=purpose)
        last = _run(calls[-1])
        return [*map(_come, others), last], []
    return come(calls, begin(calls, purpose=purpose))


def begin(calls: Sequence[Call], *, purpose: str = "arm") -> list[Work[Outcome]]:
    """Begin calls, each in a thread."""
    return [submit(partial(_run, call), backend=call.backend, purpose=purpose) for call in calls]


def come(calls: Sequence[Call], works: Sequence[Work[Outcome]]) -> tuple[list[Outcome], list[Work[Outcome]]]:
    """Wait for calls that were begun, until the deadline if there is one; returns what `run_all` returns."""
    started, seconds = perf_counter(), remaining()
    until = None if seconds is None else monotonic() + seconds
    for work in works:
        work.wait(None if until is None else max(0.0, until - monotonic()))
    outcomes, late = [], []
    for call, work in zip(calls, works, strict=True):
        if work.finished:
            outcomes.append(_come(work))
            continue
        outcomes.append(_late(started))
        if abandon(work, backend=call.backend):
            late.append(work)
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
            outcomes, _ = run_all(calls, purpose="search")
            check_cancelled()
            calls = plan.send(outcomes)
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
