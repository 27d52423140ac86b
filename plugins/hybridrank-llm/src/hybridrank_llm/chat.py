"""One request to a chat endpoint, and its response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from hybridrank.errors import BackendResponseError
from hybridrank.remote import api_key, error_for_status, error_message, one_line, redact, retry_after, scrub
from hybridrank_llm.failures import unreachable

if TYPE_CHECKING:
    from httpx import AsyncClient, Request, Response

__all__ = ["Answer", "ask", "read"]

_LONGEST = 2**20  # bytes of an answer; a ranking takes some hundreds, and thoughts aloud some ten thousands
_SECRET = 8  # characters; a shorter key is no secret, and could be part of any answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said: "" where it said nothing or refused; `cut` where it was stopped for its length."""

    text: str
    cut: bool = False
    tokens: Mapping[str, int] = field(default_factory=dict)


async def ask(client: AsyncClient, url: str, body: Mapping[str, Any], *, api_key_env: str | None) -> Answer:
    """Send one request, and read at most a megabyte of its answer.

    Raises:
        BackendError: the answer did not come, is a refusal, or cannot be read; its class says which.
    """
    import httpx

    auth = partial(_authorised, variable=api_key_env) if api_key_env else None
    try:
        async with client.stream("POST", url, json=body, auth=auth) as response:
            content, is_whole = await _content(response, api_key_env)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        scrub(error, api_key_env)
        raise unreachable(error, api_key_env) from error
    if response.status_code != 200:
        wait = retry_after(response.headers.get("retry-after"))
        raise error_for_status(
            response.status_code, error_message(content), who="the chat server", wait=wait, variable=api_key_env
        )
    if not is_whole:
        raise BackendResponseError(f"the chat server's answer is longer than {_LONGEST:,} bytes")
    try:
        return read(json.loads(content))
    except (ValueError, RecursionError):
        problem = f"the chat server's answer is no chat completion: {one_line(content, api_key_env)}"
        raise BackendResponseError(problem) from None


def _authorised(request: Request, *, variable: str) -> Request:
    request.headers["Authorization"] = "Bearer " + api_key(variable, who="the chat server")
    return request


async def _content(response: Response, api_key_env: str | None) -> tuple[str, bool]:
    """As much of the body as we want to know, and whether that is all; without the key, should it be echoed."""
    content = bytearray()
    async for chunk in response.aiter_raw():  # raw, for a few compressed bytes may be gigabytes
        content += chunk
        if len(content) > _LONGEST:
            break
    return redact(content.decode(errors="replace"), api_key_env, shortest=_SECRET), len(content) <= _LONGEST


def read(completion: Any) -> Answer:
    """Take the first choice out of a chat completion.

    Raises:
        ValueError: it has none.
    """
    try:
        choice = completion["choices"][0]
        content = choice["message"].get("content")
    except (TypeError, LookupError, AttributeError):
        raise ValueError("no choice with a message") from None
    if isinstance(content, list):  # of parts: some servers give thoughts and words apart
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n".join(text for text in texts if isinstance(text, str))
    return Answer(
        text=content if isinstance(content, str) else "",
        cut=choice.get("finish_reason") == "length",
        tokens=_tokens(completion.get("usage")),
    )


def _tokens(usage: Any) -> dict[str, int]:
    if not isinstance(usage, dict):
        return {}
    counts = {"input_tokens": usage.get("prompt_tokens"), "output_tokens": usage.get("completion_tokens")}
    return {name: count for name, count in counts.items() if type(count) is int and count >= 0}
