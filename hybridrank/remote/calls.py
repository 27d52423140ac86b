"""Calls of a remote service: limited in number and rate, retried, and all within the deadline.

A component has one `ServiceClient`, shared by all threads and event loops of the process. Calls are asynchronous,
since only then can a call be bounded as a whole and really be stopped; `run_sync` lets a thread wait for one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from time import monotonic
from typing import Any, TypeVar

from hybridrank.errors import BackendTimeoutError, BackendUnavailableError, RateLimitedError
from hybridrank.remote.rate_limits import Limits, RateLimit
from hybridrank.runtime import fork
from hybridrank.runtime.deadline import check, remaining

__all__ = ["ServiceClient", "gather_or_cancel", "trust_needed_by_service"]

T = TypeVar("T")

_FIRST_PAUSE = 0.25  # seconds; doubled with every retry


def trust_needed_by_service(url: str, *, api_key_env: str | None, option: str = "url") -> dict[str, str]:
    """The `trust_needed` of a component that calls a service: what it sends where; `option` names the address."""
    needed = {option: f"it sends queries and documents to {url:.200}"}
    if api_key_env is not None:
        needed["api_key_env"] = f"it sends the content of the environment variable {api_key_env:.100} there"
    return needed


class ServiceClient:
    """The calls of one component, within its limits.

    `name` is the service, for messages. After a fork, the child starts with all slots free.
    """

    def __init__(self, limits: Limits, *, name: str) -> None:
        self._limits = limits
        self._name = name
        self._quickest = 0.0  # seconds that the fastest response took; 0.0 before there is one
        self._renew()
        fork.in_child(self._renew)

    def _renew(self) -> None:
        self._rate_limit = RateLimit(self._limits)

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> tuple[T, int]:
        """Await ``attempt()`` within the limits, and return its result with the number of retries.

        An attempt is cancelled when its time has expired. One that times out, finds the service failing or
        exceeds its rate limit is retried: after the delay that the service requested, or else after a pause that
        doubles, minus a random part of up to half. It is not retried if that pause exceeds the limits, or would
        leave less time before the deadline than the fastest response took. Any other failure is final.

        Raises:
            BackendTimeoutError: the deadline has passed, or the last attempt took too long.
            RateLimitedError: the limits allow no call before the deadline.
            Exception: what the last attempt raised.
        """
        retries = 0
        while True:
            try:
                return await self._attempt(attempt), retries
            except (BackendTimeoutError, BackendUnavailableError, RateLimitedError) as error:
                pause = self._pause(error, retries)
                if pause is None:
                    raise
            await asyncio.sleep(pause)
            retries += 1

    async def _attempt(self, attempt: Callable[[], Awaitable[T]]) -> T:
        check(self._name)
        late = f"{self._name}: the deadline passed before its turn came"
        scope = asyncio.timeout(remaining())
        try:
            async with scope, self._rate_limit.acquire(self._name):
                check(self._name)
                seconds = min(self._limits.timeout, _or_infinite(remaining()))
                late = f"{self._name} did not answer within {seconds:.3g} s"
                scope.reschedule(asyncio.get_running_loop().time() + seconds)
                began = monotonic()
                answer = await attempt()
                took = monotonic() - began
                self._quickest = min(self._quickest or took, took)
                return answer
        except TimeoutError:
            if not scope.expired():
                raise
        raise BackendTimeoutError(late)  # chained to nothing: the frames of what was stopped may hold a key

    def _pause(self, error: Exception, retries: int) -> float | None:
        """Seconds to wait before the next attempt, or None if there is none."""
        if retries >= self._limits.retries:
            return None
        asked = error.retry_after if isinstance(error, RateLimitedError) else None
        if asked is None:
            pause = min(_FIRST_PAUSE * 2.0**retries, self._limits.max_wait) * random.uniform(0.5, 1.0)
        elif asked <= self._limits.max_wait:
            pause = asked * random.uniform(1.0, 1.1)  # rejected calls must not all return at the same time
        else:
            return None
        return pause if pause + self._quickest < _or_infinite(remaining()) else None


def _or_infinite(seconds: float | None) -> float:
    return float("inf") if seconds is None else seconds


async def gather_or_cancel(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await `coroutines` concurrently, and return their results in order.

    If one fails or this is cancelled, the others are cancelled, and have ended when this ends.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
