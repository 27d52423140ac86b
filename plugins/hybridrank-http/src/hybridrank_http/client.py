"""One request over HTTP: the server's response, or one of hybridrank's errors, without the key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hybridrank.errors import BackendError, BackendResponseError, BackendUnavailableError
from hybridrank.remote import (
    PerLoopClient,
    api_key,
    error_for_status,
    error_message,
    one_line,
    redact,
    retry_after,
    scrub,
    ssl_context,
)

if TYPE_CHECKING:
    from httpx import AsyncClient, Request, Response

__all__ = ["Reply", "clients", "on_loopback", "post"]

_ANSWER = 1 << 20  # bytes of an answer, besides four times the request's, which it may repeat
_LOOPBACK = re.compile(r"^https?://(localhost|127\.[0-9.]+|\[::1\])(:|/|$)")
_SECRET = 8  # characters; a shorter key is no secret, and could be part of any answer
_HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer, which is no refusal: its text, and its headers by their names in lower case."""

    text: str
    headers: Mapping[str, str]


def clients(*, keep: int, proxies: bool, name: str) -> PerLoopClient[AsyncClient]:
    """HTTP clients by event loop, each keeping up to `keep` connections that nobody uses.

    They use the environment's proxies, or none.
    """
    return PerLoopClient(partial(_client, keep=keep, proxies=proxies), lambda client: client.aclose(), name=name)


def _client(*, keep: int, proxies: bool) -> AsyncClient:
    import httpx

    return httpx.AsyncClient(
        timeout=None,  # of one read, in httpx; `hybridrank.remote.calls` bounds each attempt as a whole
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=keep, keepalive_expiry=30.0),
        verify=ssl_context(),
        trust_env=proxies,
    )


def on_loopback(url: str) -> bool:
    """Whether `url` is on this machine, to which no proxy leads."""
    return bool(_LOOPBACK.match(url))


async def post(
    client: AsyncClient,
    url: str,
    body: bytes,
    *,
    who: str,
    variable: str | None,
    header: str = "Authorization",
    more: int = 0,
) -> Reply:
    """Send one request, with the key in the environment `variable` if one is named, and follow no redirect.

    The key is sent in `header`, as a bearer token if that is ``Authorization``. The answer may have a megabyte,
    four times the request, and `more` bytes.

    Raises:
        BackendError: the answer did not come, is a refusal, or cannot be read; its class says which.
    """
    import httpx

    auth = partial(_authorised, variable=variable, who=who, header=header) if variable else None
    try:
        async with client.stream("POST", url, content=body, headers=_HEADERS, auth=auth) as response:
            text = await _text(response, most=_ANSWER + 4 * len(body) + more, variable=variable)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # a host that no host can be is the last
        failure = _unreachable(error, who=who, variable=variable)
        scrub(error, variable)
        raise failure from error
    if response.headers.get("content-encoding", "identity") != "identity":  # a few bytes may be gigabytes
        raise BackendResponseError(f"{who} compressed its answer, which was not asked for")
    if text is None:
        raise BackendResponseError(f"{who} answered more than it has to say")
    if not response.is_success:
        wait = retry_after(response.headers.get("retry-after"))
        raise error_for_status(response.status_code, error_message(text), who=who, wait=wait, variable=variable)
    return Reply(text, response.headers)


def _authorised(request: Request, *, variable: str, who: str, header: str) -> Request:
    request.headers[header] = ("Bearer " if header == "Authorization" else "") + api_key(variable, who=who)
    return request


async def _text(response: Response, *, most: int, variable: str | None) -> str | None:
    """Read the answer, or None where it is too long; a key that it repeats gets into no frame but this."""
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > most:
            return None
    return redact(content.decode("utf-8", "replace"), variable, shortest=_SECRET)


def _unreachable(error: Exception, *, who: str, variable: str | None) -> BackendError:
    import httpx

    reason = one_line(f"{type(error).__name__}: {error}", variable)
    if isinstance(error, httpx.TransportError):
        return BackendUnavailableError(f"the connection to {who} failed ({reason})")
    return BackendError(f"{who} could not be asked ({reason})")
