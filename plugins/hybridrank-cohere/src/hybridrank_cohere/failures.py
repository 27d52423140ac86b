"""What the SDK raised -> one of our errors, with no key in any of it."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from hybridrank.errors import (
    AuthenticationError,
    BackendError,
    BackendResponseError,
    BackendTimeoutError,
    BackendUnavailableError,
    RateLimitedError,
)

__all__ = ["api_key", "backend_error", "retry_after", "scrub"]

_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1


def api_key(variable: str) -> str:
    """Read the key from the environment; whitespace around it is dropped, as a key file ends in a newline.

    Raises:
        AuthenticationError: the variable is not set, is empty, or holds what no key can be.
    """
    if not _key(variable):
        raise AuthenticationError(f"Cohere needs an API key: set the environment variable {variable}")
    if not _BEARER_TOKEN.fullmatch(_key(variable)):
        raise AuthenticationError(f"the environment variable {variable} holds characters that no API key has")
    return _key(variable)


def _key(variable: str) -> str:
    return os.environ.get(variable, "").strip()


def backend_error(error: Exception, *, variable: str) -> BackendError:
    """Say in our own words what went wrong in a call of the SDK; `variable` names the key's variable."""
    import httpx
    from cohere.core.api_error import ApiError

    if isinstance(error, ApiError):
        wait = retry_after((error.headers or {}).get("retry-after"))
        return _by_status(error.status_code or 0, _one_line(error.body, variable), wait, variable)
    reason = _one_line(f"{type(error).__name__}: {error}", variable)
    if isinstance(error, httpx.TransportError):
        return BackendUnavailableError(f"the connection to Cohere failed ({reason})")
    return BackendResponseError(f"Cohere's answer cannot be read ({reason})")


def _by_status(status: int, reason: str, wait: float | None, variable: str) -> BackendError:
    """Say what a status means; `wait` is the answer's ``Retry-After``, in seconds.

    A service that is down and names a time to come back (503 with ``Retry-After``) refuses for now, as one that
    limits its rate does.
    """
    problem = f"Cohere answered {status}: {reason}"
    if status in (401, 403):
        return AuthenticationError(f"{problem} (the key is the one in {variable})")
    if status == 429 or (status == 503 and wait is not None):
        return RateLimitedError(problem, retry_after=wait)
    if status in (408, 504):
        return BackendTimeoutError(problem)
    if status >= 500:
        return BackendUnavailableError(problem)
    if status < 300:
        return BackendResponseError(f"{problem} (not JSON)")
    return BackendError(problem)


def _one_line(body: Any, variable: str) -> str:
    message = body.get("message", body) if isinstance(body, dict) else body
    text = " ".join(_redacted(str(message), variable).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def _redacted(text: str, variable: str) -> str:
    return text.replace(_key(variable), f"<{variable}>") if _key(variable) else text


def retry_after(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` asks us to wait, given as a number or as a date.

    >>> retry_after("1.5"), retry_after("-3"), retry_after("soon"), retry_after(None)
    (1.5, 0.0, None, None)
    """
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


def scrub(error: BaseException | None, variable: str) -> None:
    """Take the key out of an exception that is about to be chained, and out of all that it is chained to.

    A server or a proxy may echo the request in its answer, and the SDK prints the answer's headers and body;
    the frames of the HTTP client hold the request's headers, which error reporters like to print.
    """
    from cohere.core.api_error import ApiError

    while error is not None:
        error.__traceback__ = None
        error.args = tuple(_redacted(arg, variable) if isinstance(arg, str) else arg for arg in error.args)
        if isinstance(error, ApiError):
            error.headers = None
            error.body = _redacted(str(error.body), variable)
        error = error.__cause__ or error.__context__
