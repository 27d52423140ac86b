"""Checks of a remote component under a deadline, a rate limit, or cancellation."""

# ruff: noqa: ARG001  (every check takes what is served and the tolerances)

from __future__ import annotations

import asyncio
from typing import Any

from hybridrank.errors import BackendError, BackendTimeoutError, RateLimitedError
from hybridrank.runtime.deadline import limited
from hybridrank.testing.kit import CheckFailed, Tolerances, require
from hybridrank.testing.remote.failures import SLOW, require_rate_limited
from hybridrank.testing.served import (
    PATIENCE,
    ServedComponent,
    Way,
    answer,
    failure,
    in_own_thread,
    kind_of,
    needs_async,
    same,
    soon,
)

__all__ = [
    "cancellation_leaves_nothing_running",
    "cancelling_stops_the_request",
    "late",
    "no_pause_beyond_the_deadline",
    "no_request_after_the_deadline",
    "rate_limit_is_honored",
    "slow_service_is_abandoned",
]


def late(way: Way, component: Any, *, deadline: float = 1.0) -> BackendError:
    """Search with this number of seconds left, and return the error."""
    with limited(deadline):
        return failure(way, component, what=f"a deadline in {deadline:g} s")


def slow_service_is_abandoned(served: ServedComponent, tolerances: Tolerances) -> None:
    """A service that never responds, or never finishes, is abandoned at the deadline and at the attempt's
    timeout.
    """
    for way in served.ways():
        for fault in SLOW:
            for limit in ("deadline", "limits.timeout"):
                with served.start() as (server, make):
                    answer(way, make())
                    server.fault = fault
                    if limit == "deadline":
                        error = late(way, make())
                    else:
                        error = failure(way, make(timeout=0.5, retries=0), what="a service that takes too long")
                    require(
                        kind_of(error) is BackendTimeoutError,
                        f"past the {limit}, {way.__name__}() raised {error!r}, expected a BackendTimeoutError",
                    )
                    require(
                        soon(lambda: server.left == len(server.received) - 1),
                        f"past the {limit}, {way.__name__}() was over and its request was not: it costs, and it "
                        "takes a place from those that somebody waits for",
                    )


def no_request_after_the_deadline(served: ServedComponent, tolerances: Tolerances) -> None:
    """Without remaining time, no request is sent."""
    for way in served.ways():
        with served.start() as (server, make):
            error = late(way, make(), deadline=0.0)
            require(
                kind_of(error) is BackendTimeoutError and not server.received,
                f"after the deadline, {way.__name__}() sent {len(server.received)} requests and raised {error!r}, "
                "expected none and a BackendTimeoutError (hybridrank.runtime.deadline.remaining)",
            )


def no_pause_beyond_the_deadline(served: ServedComponent, tolerances: Tolerances) -> None:
    """A pause that would exceed the deadline is not started: the search ends at once."""
    for way in served.ways():
        for status in ("429", "503"):
            with served.start() as (server, make):
                server.fault = f"{status} retry-after 3600"
                with limited(PATIENCE):
                    error = failure(
                        way, make(max_wait=7200.0), what=f"{status} that asks to wait beyond the deadline"
                    )
                require_rate_limited(error, 3600.0, server, f"{status} asked to wait beyond the deadline")


def rate_limit_is_honored(served: ServedComponent, tolerances: Tolerances) -> None:
    """`limits.per_minute` applies across threads and loops; a search that cannot wait for it sends nothing."""
    ways = served.ways()
    with served.start() as (server, make):
        component = make(per_minute=2)
        answer(ways[0], component)
        answer(ways[-1], component)
        with limited(20.0):  # far less than the minute
            error = failure(ways[0], component, what="the third call of two a minute")
        require(
            kind_of(error) is RateLimitedError and len(server.received) == 2,
            f"with per_minute = 2, the third search sent a request or raised {error!r}, expected RateLimitedError",
        )


def cancelling_stops_the_request(served: ServedComponent, tolerances: Tolerances) -> None:
    """A cancelled search closes its request, and the next search succeeds."""
    needs_async(served)
    with served.start() as (server, make):
        component = make()
        sound = answer(served.ways()[-1], component)
        server.received.clear()
        server.faults.append("silence")

        async def search() -> Any:
            task = asyncio.create_task(served.await_answer(component))
            while not server.received:
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            require(task.cancelled(), "a search that was cancelled went on: let CancelledError through")
            left = await asyncio.to_thread(soon, lambda: server.left == 1)
            require(left, "a search was cancelled, and its request was not: close the connection")
            return await served.await_answer(component)

        rows = in_own_thread(lambda: asyncio.run(search()), searches=3)
        same(rows, sound, tolerances, "after a search that was cancelled")


def cancellation_leaves_nothing_running(served: ServedComponent, tolerances: Tolerances) -> None:
    """Wherever a search is cancelled, no task remains, its slot is free, and the next search succeeds."""
    needs_async(served)
    with served.start() as (server, make):
        component = make(concurrency=1)

        async def at_every_step() -> None:
            expected = await served.await_answer(component)
            for steps in range(60):
                server.faults.append("503")
                task = asyncio.create_task(served.await_answer(component, requests=2))
                for _ in range(steps):
                    await asyncio.sleep(0)
                early = task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                require(
                    task.cancelled() is early, "a search that was cancelled went on: let CancelledError through"
                )
                left = asyncio.all_tasks() - {asyncio.current_task()}
                require(
                    not left, f"a search was cancelled after {steps} turns of the loop, and these run on: {left}"
                )
                server.faults.clear()
                same(
                    await _next(served, component, steps),
                    expected,
                    tolerances,
                    "after a search that was cancelled",
                )
                if not early:
                    return

        in_own_thread(lambda: asyncio.run(at_every_step()), searches=60)


async def _next(served: ServedComponent, component: Any, steps: int) -> Any:
    try:
        async with asyncio.timeout(PATIENCE):
            return await served.await_answer(component)
    except (TimeoutError, BackendError) as error:
        problem = f"a search was cancelled after {steps} turns of the loop, and the next one was not answered"
        raise CheckFailed(f"{problem} ({type(error).__name__}: {error})") from error
