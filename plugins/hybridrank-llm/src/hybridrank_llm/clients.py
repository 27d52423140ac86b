"""HTTP clients, one for each event loop, with connections that are kept from one search to the next."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from hybridrank.remote import PerLoopClient

if TYPE_CHECKING:
    from ssl import SSLContext

    from httpx import AsyncClient

__all__ = ["clients"]


def clients() -> PerLoopClient[AsyncClient]:
    """Clients by event loop."""
    return PerLoopClient(_client, lambda client: client.aclose(), name="the chat server")


def _client() -> AsyncClient:
    import httpx

    return httpx.AsyncClient(
        timeout=None,  # `hybridrank.remote.calls` bounds each attempt as a whole
        limits=httpx.Limits(max_connections=None),  # and their number
        verify=_trusted(),
        headers={"Accept-Encoding": "identity"},
    )


@cache
def _trusted() -> SSLContext:
    """The certificates that httpx trusts: slow to read, so read once for all clients."""
    import httpx

    return httpx.create_ssl_context()
