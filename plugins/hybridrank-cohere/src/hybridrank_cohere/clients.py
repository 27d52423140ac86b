"""Clients of the SDK, one for each event loop, since connections cannot leave the loop that opened them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from ssl import SSLContext

    from cohere import AsyncClientV2
    from httpx import AsyncClient

__all__ = ["Clients"]


class Clients:
    """Clients by event loop, which keep their connections from one search to the next.

    `api_key` is asked at every call; `connections` is how many are kept when nobody uses them. A client is closed
    when its loop shuts down its asynchronous generators, as `asyncio.run` does, or when this object goes.
    """

    def __init__(self, *, api_key: Callable[[], str], base_url: str | None, connections: int) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._connections = connections
        self._held: dict[AbstractEventLoop, tuple[AsyncClientV2, AsyncIterator[None]]] = {}
        # A generator that nobody holds is closed on its loop. At exit, the loop does that by itself.
        weakref.finalize(self, self._held.clear).atexit = False

    async def mine(self) -> AsyncClientV2:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._held:
            http, client = await asyncio.to_thread(self._make)  # imports and certificates would block the loop
            if loop not in self._held:  # no other task was faster
                for closed in [known for known in list(self._held) if known.is_closed()]:
                    self._held.pop(closed, None)
                closer = _close_with_loop(http)
                self._held[loop] = client, closer
                await anext(closer)
        return self._held[loop][0]

    def _make(self) -> tuple[AsyncClient, AsyncClientV2]:
        import cohere
        import httpx

        http = httpx.AsyncClient(
            timeout=None,  # `hybridrank.remote` bounds each attempt as a whole
            limits=httpx.Limits(max_keepalive_connections=self._connections, keepalive_expiry=30.0),
            verify=_trusted(),
        )
        return http, cohere.AsyncClientV2(self._api_key, base_url=self._base_url, httpx_client=http)


@cache
def _trusted() -> SSLContext:
    """The certificates that httpx trusts: slow to read, so read once for all clients."""
    import httpx

    return httpx.create_ssl_context()


async def _close_with_loop(http: AsyncClient) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await http.aclose()
