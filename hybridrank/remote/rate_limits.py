"""Limits on the calls that a component makes to a remote service: concurrent, and per minute."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybridrank.component.base import config_error
from hybridrank.errors import RateLimitedError
from hybridrank.runtime import fork
from hybridrank.runtime.deadline import remaining

__all__ = ["Limits", "RateLimit"]


class Limits(BaseModel):
    """The limits of a component's calls to a remote service.

    The rate applies to any minute, not on average: after `per_minute` calls, the next waits until the first is a
    minute old. Each process has its own count.

    Raises:
        ConfigError: a limit is unknown, or its value is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    concurrency: int = Field(
        default=8, ge=1, description="most calls at one time, over all threads and event loops"
    )
    per_minute: float | None = Field(
        default=None, gt=0, description="most calls begun in any minute, retries included"
    )
    timeout: float = Field(
        default=10.0, gt=0, description="seconds for one attempt, from connecting to the last byte"
    )
    retries: int = Field(default=2, ge=0, le=10, description="attempts after the first")
    max_wait: float = Field(
        default=20.0,
        ge=0,
        description="longest pause before a retry, in seconds; if Retry-After is longer, give up",
    )

    if not TYPE_CHECKING:  # type checkers know the fields

        def __init__(self, **options: Any) -> None:
            try:
                super().__init__(**options)
            except ValidationError as error:
                raise config_error(
                    error, type(self).model_fields, given=options, path="$", what="limits"
                ) from None


class _AsyncSemaphore:
    """A semaphore over all threads and event loops: first come, first served."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._queue: deque[asyncio.Future[None]] = deque()
        self._served: set[asyncio.Future[None]] = set()
        # Reentrant: a coroutine that the garbage collector closes gives its slot back wherever it was collected.
        self._lock = fork.new_rlock()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[None]:
        """Wait for a slot, and hold it inside the ``async with`` block."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            with self._lock:
                self._queue.append(turn)
                self._serve()
                served = turn in self._served
            if not served:
                await turn
            yield
        finally:
            with self._lock:
                if turn in self._served:
                    self._served.remove(turn)
                    self._serve()
                elif turn in self._queue:
                    self._queue.remove(turn)

    def _serve(self) -> None:
        while self._queue and len(self._served) < self._count:
            turn = self._queue.popleft()
            try:
                turn.get_loop().call_soon_threadsafe(_wake, turn)
            except RuntimeError:  # that loop is closed: nobody waits any more
                continue
            self._served.add(turn)


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


class RateLimit:
    """Admits calls, first come, first served: at most `concurrency` at once and `per_minute` in any minute."""

    def __init__(self, limits: Limits) -> None:
        self._slots = _AsyncSemaphore(limits.concurrency)
        self._rate = limits.per_minute
        calls = max(1, int(limits.per_minute or 0))
        self._window = 60.0 * calls / (limits.per_minute or 1.0)  # seconds; a minute, or a bit more
        self._begun: deque[float] = deque(maxlen=calls)
        self._gate = _AsyncSemaphore(1)  # one waits for the rate, the others for that one

    @asynccontextmanager
    async def acquire(self, name: str) -> AsyncIterator[None]:
        """Wait until a call may start, and count it as running inside the ``async with`` block.

        Raises:
            RateLimitedError: the rate allows no call before the deadline.
        """
        async with self._slots.acquire():
            if self._rate is not None:
                async with self._gate.acquire():
                    await self._wait_for_rate(name)
            yield

    async def _wait_for_rate(self, name: str) -> None:
        while len(self._begun) == self._begun.maxlen and (wait := self._begun[0] + self._window - monotonic()) > 0:
            left = remaining()
            if left is not None and wait >= left:
                problem = f"{name}: the limit of {self._rate:g} calls a minute allows the next in {wait:.3g} s"
                raise RateLimitedError(problem, retry_after=wait)
            await asyncio.sleep(wait)
        self._begun.append(monotonic())
