"""One client per event loop, since connections cannot leave the loop that opened them."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import finalize

from hybridrank.errors import BackendTimeoutError
from hybridrank.runtime.deadline import remaining
from hybridrank.runtime.threads import in_thread

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["PerLoopClient", "ssl_context"]

T = TypeVar("T")


def ssl_context() -> SSLContext:
    """The certificates that httpx trusts: slow to read, so read once for all clients."""
    return _ssl_context()


@cache
def _ssl_context() -> SSLContext:
    import httpx

    return httpx.create_ssl_context()


class PerLoopClient(Generic[T]):
    """A client created by `make`, once per event loop, and closed by `close` on that loop.

    It is kept from one search to the next, and closed when its loop shuts down its asynchronous generators, as
    `asyncio.run` does, or when this object is collected. `make` is called in a thread, since imports and
    certificates would block the loop. `name` is the service, for messages.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]], *, name: str) -> None:
        self._name = name
        self._make = make
        self._close = close
        self._held: dict[AbstractEventLoop, _Own[T]] = {}
        # A generator that nobody holds is closed on its loop. At exit, the loop does that by itself.
        finalize(self, self._held.clear).atexit = False

    async def get(self) -> T:
        """Return the running loop's client; created at first use, which is slow.

        Raises:
            BackendTimeoutError: the deadline passed before it was made.
        """
        loop = asyncio.get_running_loop()
        if (own := self._held.get(loop)) is None:
            for closed in [known for known in list(self._held) if known.is_closed()]:
                self._held.pop(closed, None)
            own = self._held[loop] = _Own()
        scope = asyncio.timeout(remaining())
        try:
            async with scope, own.lock:
                if not own.made:
                    own.made.append(await in_thread(self._make, None, backend=None, purpose="client"))
                    own.closer = _close_with(loop, own.made[0], self._close, self._held)
                    await anext(own.closer)
            return own.made[0]
        except TimeoutError:
            if not scope.expired():
                raise
        raise BackendTimeoutError(f"{self._name}: the deadline passed before its client was ready")


class _Own(Generic[T]):
    """A loop's: what was made for it, once that is done, and the generator that closes it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()  # one task makes it, the others wait
        self.made: list[T] = []
        self.closer: AsyncIterator[None] | None = None


async def _close_with(
    loop: AbstractEventLoop,
    made: T,
    close: Callable[[T], Awaitable[None]],
    held: dict[AbstractEventLoop, _Own[T]],
) -> AsyncIterator[None]:
    try:
        yield
    finally:
        held.pop(loop, None)
        await close(made)
