"""Calling a remote service: so many calls at one time, so many a minute, tried again, and all inside the deadline.

A component holds one `ServiceClient`, which every thread and every event loop of the process shares. There is one
way to call, the asynchronous one, since only there can a call be bounded as a whole and really be stopped;
`blocking` is how a thread waits for it.
"""

from __future__ import annotations

import asyncio
import atexit
import random
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybridrank.component.base import config_error
from hybridrank.errors import BackendTimeoutError, BackendUnavailableError, RateLimitedError
from hybridrank.runtime import fork
from hybridrank.runtime.deadline import check, remaining

__all__ = ["Limits", "ServiceClient", "gather_or_cancel", "run_sync", "trust_needed_by_service"]

T = TypeVar("T")

_FIRST_PAUSE = 0.25  # seconds; doubled with every retry


def trust_needed_by_service(url: str, *, api_key_env: str | None, option: str = "url") -> dict[str, str]:
    """What a component that asks a service answers to `trust_needed`: where it sends what, `option` says where."""
    needed = {option: f"it sends queries and documents to {url:.200}"}
    if api_key_env is not None:
        needed["api_key_env"] = f"it sends the content of the environment variable {api_key_env:.100} there"
    return needed


class Limits(BaseModel):
    """What a component may ask of a remote service.

    The rate is kept for any minute, not on average: of `per_minute` calls, the next waits until the first is a
    minute old. Each process keeps its own.

    Raises:
        ConfigError: a limit is unknown, or its value is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    concurrency: int = Field(8, ge=1, description="most calls at one time, over all threads and event loops")
    per_minute: float | None = Field(None, gt=0, description="most calls begun in any minute, retries included")
    timeout: float = Field(10.0, gt=0, description="seconds for one attempt, from connecting to the last byte")
    retries: int = Field(2, ge=0, le=10, description="attempts after the first")
    max_wait: float = Field(
        20.0, ge=0, description="longest pause before a retry, in seconds; if Retry-After is longer, give up"
    )

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise config_error(error, type(self).model_fields, given=options, path="$", what="limits") from None


class _Slots:
    """A semaphore over all threads and event loops: first come, first served."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._queue: deque[asyncio.Future[None]] = deque()
        self._served: set[asyncio.Future[None]] = set()
        # Reentrant: a coroutine that the garbage collector closes gives its slot back wherever it was collected.
        self._lock = fork.new_rlock()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Wait for a slot, and hold it meanwhile."""
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


class _Turns:
    """Whose call may begin now: at most `concurrency` at one time, at most `per_minute` in any minute."""

    def __init__(self, limits: Limits) -> None:
        self._slots = _Slots(limits.concurrency)
        self._rate = limits.per_minute
        calls = max(1, int(limits.per_minute or 0))
        self._window = 60.0 * calls / (limits.per_minute or 1.0)  # seconds; a minute, or a bit more
        self._begun: deque[float] = deque(maxlen=calls)
        self._gate = _Slots(1)  # one waits for the rate, the others for that one

    @asynccontextmanager
    async def one(self, name: str) -> AsyncIterator[None]:
        async with self._slots.one():
            if self._rate is not None:
                async with self._gate.one():
                    await self._allowed(name)
            yield

    async def _allowed(self, name: str) -> None:
        while len(self._begun) == self._begun.maxlen and (wait := self._begun[0] + self._window - monotonic()) > 0:
            left = remaining()
            if left is not None and wait >= left:
                problem = f"{name}: the limit of {self._rate:g} calls a minute allows the next in {wait:.3g} s"
                raise RateLimitedError(problem, retry_after=wait)
            await asyncio.sleep(wait)
        self._begun.append(monotonic())


class ServiceClient:
    """The calls of one component, within its limits.

    `name` is who is called, for messages. After a fork, the child starts with every slot free.
    """

    def __init__(self, limits: Limits, *, name: str) -> None:
        self._limits = limits
        self._name = name
        self._quickest = 0.0  # seconds that the quickest answer took; 0.0 before there is one
        self._renew()
        fork.in_child(self._renew)

    def _renew(self) -> None:
        self._turns = _Turns(self._limits)

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> tuple[T, int]:
        """Await ``attempt()`` in its turn, and say how many retries its answer took.

        An attempt is stopped (cancelled) when its time is up. One that times out, finds the service failing or
        is refused for its rate is tried again: after what the service asked for, waited in full, or else after a
        pause that doubles, less up to half of it at random. It is not where that pause is over the limits, or
        would leave less time before the deadline than the quickest answer took. Any other failure is final.

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
            async with scope, self._turns.one(self._name):
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
        """Seconds to wait before the next attempt, or None where there shall be none."""
        if retries >= self._limits.retries:
            return None
        asked = error.retry_after if isinstance(error, RateLimitedError) else None
        if asked is None:
            pause = min(_FIRST_PAUSE * 2.0**retries, self._limits.max_wait) * random.uniform(0.5, 1.0)
        elif asked <= self._limits.max_wait:
            pause = asked * random.uniform(1.0, 1.1)  # all who were refused together shall not return together
        else:
            return None
        return pause if pause + self._quickest < _or_infinite(remaining()) else None


def _or_infinite(seconds: float | None) -> float:
    return float("inf") if seconds is None else seconds


async def gather_or_cancel(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Await `coroutines` side by side, and give what they return, in their order.

    Where one fails or this is cancelled, the others are cancelled, and are over when this is.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on an event loop in the background, in the caller's context, and wait for what it returns.

    There is one such loop in the process, started at first use. A caller who is interrupted cancels the coroutine.

    Raises:
        RuntimeError: called on that loop itself, where waiting would wait for ever.
        BaseException: what the coroutine raised.
    """
    background = _running()
    if background.thread is threading.current_thread():
        coroutine.close()
        raise RuntimeError("run_sync() was called where it would wait for itself: await the coroutine instead")
    loop = background.loop
    tasks: list[asyncio.Task[T]] = []
    answer: SimpleQueue[asyncio.Task[T]] = SimpleQueue()

    def start() -> None:
        tasks.append(loop.create_task(coroutine))
        tasks[0].add_done_callback(answer.put)

    def stop() -> None:
        if tasks:
            tasks[0].cancel()
        else:
            coroutine.close()

    try:
        loop.call_soon_threadsafe(start)
        task = answer.get()
    except BaseException:
        loop.call_soon_threadsafe(stop)  # after `start`, if that was called at all
        raise
    if task.cancelled():
        raise CancelledError
    return task.result()


class _Background:
    """An event loop and the daemon thread that it runs in."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="hybridrank-remote", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.run_until_complete(self._tidy())
        self.loop.close()

    async def _tidy(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()  # among them those that close the connections

    def stop(self, *, wait: float) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(wait)


_guard = fork.new_lock()
_background: _Background | None = None
_parents: list[_Background | None] = []


def _running() -> _Background:
    global _background
    with _guard:
        if _background is None:
            _background = _Background()
        return _background


def _at_exit() -> None:
    if _background is not None:
        _background.stop(wait=1.0)


def _after_fork() -> None:
    """Leave the parent's loop and calls alone, which have no thread here.

    The loop is kept, so that it is never collected: closing its connections would disturb the parent's.
    """
    global _background
    _parents.append(_background)
    _background = None


atexit.register(_at_exit)
fork.in_child(_after_fork)
