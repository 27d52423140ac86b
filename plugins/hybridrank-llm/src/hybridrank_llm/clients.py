"""HTTP clients: one for each event loop, since connections cannot leave the loop that opened them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl import SSLContext

    from httpx import AsyncClient

__all__ = ["Clients"]


class Clients:
    """Clients by event loop, each with connections that are kept from one search to the next.

    A client is closed when its loop shuts down its asynchronous generators, as `asyncio.run` does, or when the
    last reference to this object goes.
    """

    def __init__(self) -> None:
        self._held: dict[asyncio.AbstractEventLoop, tuple[AsyncClient, AsyncIterator[None]]] = {}
        # What is held outlives this object until it is let go: no open connection is ever collected with it.
        weakref.finalize(self, self._held.clear)

    async def mine(self) -> AsyncClient:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._held:
            client = await asyncio.to_thread(_client)  # its imports and certificates would block the loop
            if loop not in self._held:  # no other task was faster
                for closed in [known for known in list(self._held) if known.is_closed()]:
                    self._held.pop(closed, None)
                closer = _close_with_loop(client)
                self._held[loop] = client, closer
                await anext(closer)
        return self._held[loop][0]


def _client() -> AsyncClient:
    import httpx

    return httpx.AsyncClient(
        timeout=None,  # `hybridrank.remote` bounds each attempt as a whole
        limits=httpx.Limits(max_connections=None),  # and their number
        verify=_trusted(),
        headers={"Accept-Encoding": "identity"},
    )


@cache
def _trusted() -> SSLContext:
    """The certificates that httpx trusts: slow to read, so read once for all clients."""
    import httpx

    return httpx.create_ssl_context()


async def _close_with_loop(client: AsyncClient) -> AsyncIterator[None]:
    """Close `client` when the loop shuts down, or when nobody holds this generator any more."""
    try:
        yield
    finally:
        await client.aclose()
