"""What went wrong in a request -> one of our errors, with no key in any of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from hybridrank.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    RateLimitedError,
)

__all__ = ["api_key", "one_line", "redacted", "refusal", "retry_after", "scrub", "unreachable"]

_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1


def api_key(variable: str) -> str:
    """Read the key from the environment; whitespace around it is dropped, as a key file ends in a newline.

    Raises:
        AuthenticationError: the variable is not set, is empty, or holds what no key can be.
    """
    if not _key(variable):
        raise AuthenticationError(f"the chat server needs a key: set the environment variable {variable}")
    if not _BEARER_TOKEN.fullmatch(_key(variable)):
        raise AuthenticationError(f"the environment variable {variable} holds characters that no API key has")
    return _key(variable)


def _key(variable: str | None) -> str:
    return os.environ.get(variable, "").strip() if variable else ""


def unreachable(error: Exception, variable: str | None) -> BackendError:
    """Say what the HTTP client raised, in one line."""
    import httpx

    reason = one_line(f"{type(error).__name__}: {error}", variable)
    if isinstance(error, httpx.TimeoutException):
        return BackendTimeoutError(f"the chat server did not answer in time ({reason})")
    return BackendUnavailableError(f"the connection to the chat server failed ({reason})")


def refusal(status: int, headers: Mapping[str, str], content: str, variable: str | None) -> BackendError:
    """Say what a status other than 200 means, in the server's words."""
    problem = f"the chat server answered {status}: {one_line(_message(content), variable)}"
    if status in (401, 403):
        sent = f"the key is the one in {variable}" if variable else "no key was sent: key_variable is not set"
        return AuthenticationError(f"{problem} ({sent})")
    wait = retry_after(headers)
    if status == 429 or (status == 503 and wait is not None):  # a time to come back at is no failure
        return RateLimitedError(problem, retry_after=wait)
    if status in (408, 504):
        return BackendTimeoutError(problem)
    if status >= 500:
        return BackendUnavailableError(problem)
    return BackendError(problem)


def _message(content: str) -> Any:
    """The message in an error's body, wherever the server puts it, or else the body."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return content
    for name in ("error", "message", "detail"):
        if isinstance(body, dict) and body.get(name):
            body = body[name]
    return body


def one_line(message: Any, variable: str | None) -> str:
    """A short line of `message`, without the key."""
    text = " ".join(redacted(str(message), variable).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def redacted(text: str, variable: str | None) -> str:
    """`text` with the name of the key's variable in place of the key."""
    return text.replace(_key(variable), f"<{variable}>") if _key(variable) else text


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` asks us to wait, given as a number or as a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(seconds, 0.0) if seconds < float("inf") else None


def scrub(error: BaseException | None, variable: str | None) -> None:
    """Take the key out of an exception that is about to be chained, and out of all that it is chained to.

    The frames of the HTTP client hold the request's headers, which error reporters like to print.
    """
    while error is not None:
        error.__traceback__ = None
        error.args = tuple(redacted(arg, variable) if isinstance(arg, str) else arg for arg in error.args)
        vars(error).pop("_request", None)
        error = error.__cause__ or error.__context__
