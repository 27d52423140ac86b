"""HTTP clients, one per event loop, with connections that are kept from one search to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank.remote import PerLoopClient, ssl_context

if TYPE_CHECKING:
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
        verify=ssl_context(),
        headers={"Accept-Encoding": "identity"},
    )
