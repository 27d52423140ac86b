"""Drivers run a plan's calls: in parallel, in threads or on an event loop, within the remaining time.

A plan is a generator. It yields calls, receives their outcomes, and continues, so that one plan serves a sync and
an async driver. It may also yield a `Partial`, which `stream` and `astream` pass on and `drive` ignores. Within
`hybridrank.runtime.deadline.limited`, late calls are abandoned: an abandoned thread runs to its end, and
what runs on the event loop is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from time import monotonic, perf_counter
from typing import Any, Generic, TypeAlias, TypeVar, cast

from hybridrank.errors import BackendTimeoutError, BackendUnavailableError, OverloadedError
from hybridrank.runtime import fork
from hybridrank.runtime.cancellation import check_cancelled
from hybridrank.runtime.deadline import limited, remaining
from hybridrank.runtime.holds import Hold, Holds
from hybridrank.runtime.shielding import Shielded
from hybridrank.runtime.threads import Work, abandon, abandoned, in_task, in_thread, submit

__all__ = [
    "AdmissionLimit",
    "Call",
    "Outcome",
    "Partial",
    "Plan",
    "Step",
    "adrive",
    "ask",
    "ask_all",
    "astream",
    "begin",
    "drive",
    "run_all",
    "stream",
    "wait_for",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """Work that a plan requests from its driver: `arun`, if given, is the same without a thread.

    `backend` is the object whose work it is.
    """

    run: Callable[[], T]
    arun: Callable[[], Awaitable[T]] | None = None
    backend: object = None

    @classmethod
    def then(
        cls,
        check: Callable[[Any], T],
        run: Callable[[], object],
        arun: Callable[[], Awaitable[object]] | None = None,
        *,
        backend: object = None,
    ) -> Call[T]:
        """The call of a backend, whose answer `check` turns into the value, whichever way it is made."""
        if arun is None:
            return cls(lambda: check(run()), backend=backend)

        async def checked() -> T:
            return check(await arun())

        return cls(lambda: check(run()), checked, backend)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """The value of a call, or its exception; its start (`perf_counter`), and its seconds."""

    value: T | None
    error: Exception | None
    seconds: float
    started: float = 0.0

    @property
    def late(self) -> bool:
        """Whether a deadline is the reason for the missing value."""
        return isinstance(self.error, BackendTimeoutError) and remaining() is not None

    def without_value(self, error: Exception | None = None) -> Outcome[Any]:
        """The failure of this call, or of what was made of it, as the outcome of another."""
        return Outcome(None, error or self.error, self.seconds, self.started)

    def get(self) -> T:
        """The value; raises the error."""
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


@dataclass(frozen=True, slots=True)
class Partial(Generic[T]):
    """A partial result of a plan, for `stream` and `astream`."""

    value: T


Step: TypeAlias = Sequence[Call[Any]] | Partial[Any]
Plan: TypeAlias = Generator[Step, Sequence[Outcome[Any]], T]


def ask_all(calls: Sequence[Call[T]]) -> Plan[list[Outcome[T]]]:
    """Request calls in parallel; their outcomes in the same order."""
    return list((yield calls))


def ask(call: Call[T]) -> Plan[Outcome[T]]:
    """Request one call."""
    (outcome,) = yield [call]
    return outcome


class AdmissionLimit:
    """``with admission.one():`` counts a running search, and rejects it if `most` are running already."""

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
                f"{others} searches are running or waiting, and max_searches is {searching._most}: "
                "try again when some have finished"
            )

    def __exit__(self, *_: object) -> None:
        if self._hold is not None:
            self._admission._holds.discard(self._hold)


def _run(call: Call[T]) -> Outcome[T]:
    started = perf_counter()
    try:
        return Outcome(call.run(), None, perf_counter() - started, started)
    except Exception as error:
        return Outcome(None, error, perf_counter() - started, started)


def _late(started: float) -> Outcome[Any]:
    seconds = perf_counter() - started
    return Outcome(None, abandoned(seconds), seconds, started)


def _outcome(work: Work[Outcome[T]], started: float) -> Outcome[T]:
    """The outcome of a call, or the reason why it was rejected."""
    try:
        return work.result()
    except BackendUnavailableError as refused:
        return Outcome(None, refused, 0.0, started)


def run_all(calls: Sequence[Call[T]], *, purpose: str = "arm") -> tuple[list[Outcome[T]], list[Work[Outcome[T]]]]:
    """Run calls in parallel and wait for them, until the deadline if there is one.

    `purpose` names the threads: what waits for the work of "arm" threads is the work of "search" threads. Returns
    each call's outcome, and the work of those that were abandoned and are still running.
    """
    if remaining() is None:
        started = perf_counter()
        others = begin(calls[:-1], purpose=purpose)
        last = _run(calls[-1])
        return [*(_outcome(work, started) for work in others), last], []
    return wait_for(calls, begin(calls, purpose=purpose))


def begin(calls: Sequence[Call[T]], *, purpose: str = "arm") -> list[Work[Outcome[T]]]:
    """Start calls, each in a thread."""
    return [submit(partial(_run, call), backend=call.backend, purpose=purpose) for call in calls]


def wait_for(
    calls: Sequence[Call[T]], works: Sequence[Work[Outcome[T]]]
) -> tuple[list[Outcome[T]], list[Work[Outcome[T]]]]:
    """Wait for started calls, until the deadline if there is one; returns the same as `run_all`."""
    started, seconds = perf_counter(), remaining()
    until = None if seconds is None else monotonic() + seconds
    for work in works:
        work.wait(None if until is None else max(0.0, until - monotonic()))
    outcomes, late = [], []
    for call, work in zip(calls, works, strict=True):
        if work.finished:
            outcomes.append(_outcome(work, started))
            continue
        outcomes.append(_late(started))
        if abandon(work, backend=call.backend):
            late.append(work)
    return outcomes, late


async def _arun(call: Call[T]) -> Outcome[T]:
    started = perf_counter()
    seconds = remaining()
    try:
        if call.arun is None:
            run = partial(_run, call)
            return await in_thread(run, seconds, backend=call.backend, purpose="search")
        value = await (call.arun() if seconds is None else in_task(call.arun, seconds, backend=call.backend))
        return Outcome(value, None, perf_counter() - started, started)
    except Exception as error:
        return Outcome(None, error, perf_counter() - started, started)


def _advance(
    plan: Plan[T], outcomes: Sequence[Outcome[Any]] | None, emit: Callable[[Any], object] | None
) -> Sequence[Call[Any]]:
    """The next calls of a plan; `emit` is called with the partial results before them."""
    step = plan.send(outcomes)  # type: ignore[arg-type]  # None starts it
    while isinstance(step, Partial):
        if emit is not None:
            emit(step.value)
        step = plan.send(())
    return step


def drive(plan: Plan[T], *, emit: Callable[[Any], object] | None = None) -> T:
    """Run a plan to its end, in this thread and others; `emit` is called with each partial result."""
    try:
        calls = _advance(plan, None, emit)
        while True:
            outcomes, _ = run_all(calls, purpose="search")
            check_cancelled()
            calls = _advance(plan, outcomes, emit)
    except StopIteration as finished:
        return cast("T", finished.value)
    finally:
        plan.close()


async def adrive(plan: Plan[T], *, emit: Callable[[Any], object] | None = None) -> T:
    """Like `drive`, without blocking the event loop."""
    try:
        calls = _advance(plan, None, emit)
        while True:
            calls = _advance(plan, await asyncio.gather(*map(_arun, calls)), emit)
    except StopIteration as finished:
        return cast("T", finished.value)
    finally:
        plan.close()


def stream(plan: Plan[T], *, seconds: float | None) -> Generator[T, None, None]:
    """Yield each partial result of a plan, then its result; it runs in another thread, at most `seconds`.

    The plan is cancelled if the consumer stops early.
    """
    found: SimpleQueue[tuple[T] | None] = SimpleQueue()

    def run() -> T:
        try:
            return drive(plan, emit=lambda value: found.put((value,)))
        finally:
            found.put(None)

    with limited(seconds):
        call = Shielded(run)
    try:
        while (partial_result := found.get()) is not None:
            yield partial_result[0]
        yield call.wait()
    finally:
        call.cancel()


async def astream(plan: Plan[T], *, seconds: float | None) -> AsyncGenerator[T, None]:
    """Like `stream`, in a task of the running event loop."""
    found: asyncio.Queue[tuple[T] | None] = asyncio.Queue()
    with limited(seconds):  # a task has a copy of the context in which it is created
        task = asyncio.create_task(adrive(plan, emit=lambda value: found.put_nowait((value,))))
    task.add_done_callback(lambda _: found.put_nowait(None))
    try:
        while (partial_result := await found.get()) is not None:
            yield partial_result[0]
        yield task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # raised above, or nobody asks any more
