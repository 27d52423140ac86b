"""Clients of the SDK, one per event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hybridrank.remote import PerLoopClient, ssl_context

if TYPE_CHECKING:
    from cohere import AsyncClientV2
    from httpx import AsyncClient

__all__ = ["clients"]


def clients(
    *, api_key: Callable[[], str], base_url: str | None, connections: int
) -> PerLoopClient[tuple[AsyncClient, AsyncClientV2]]:
    """Clients by event loop, each with the HTTP client that it calls through.

    `api_key` is called at every request; `connections` is the number of idle connections kept.
    """

    def make() -> tuple[AsyncClient, AsyncClientV2]:
        import cohere
        import httpx

        http = httpx.AsyncClient(
            timeout=None,  # `hybridrank.remote.calls` bounds each attempt as a whole
            limits=httpx.Limits(max_keepalive_connections=connections, keepalive_expiry=30.0),
            verify=ssl_context(),
        )
        return http, cohere.AsyncClientV2(api_key, base_url=base_url, httpx_client=http)

    return PerLoopClient(make, lambda made: made[0].aclose(), name="Cohere")
