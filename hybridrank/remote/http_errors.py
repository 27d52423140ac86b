"""HTTP error statuses -> hybridrank's errors, with the server's message."""

from __future__ import annotations

import json
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
from hybridrank.remote.api_keys import redact

__all__ = ["error_for_status", "error_message", "one_line", "retry_after"]


def error_for_status(
    status: int, reason: str, *, who: str, wait: float | None, variable: str | None
) -> BackendError:
    """The error for a `status`; `wait` is the value of ``Retry-After``, `variable` the name of the key's
    variable.

    A service that is down and gives a time (503 with ``Retry-After``) is treated like one that limits its rate.
    """
    problem = f"{who} answered {status}: {one_line(reason, variable) or 'no reason given'}"
    if status in (401, 403):
        sent = f"the key is the one in {variable}" if variable else "no key was sent"
        return AuthenticationError(f"{problem} ({sent})")
    if status == 429 or (status == 503 and wait is not None):
        return RateLimitedError(problem, retry_after=wait)
    if status in (408, 504):
        return BackendTimeoutError(problem)
    if status >= 500:
        return BackendUnavailableError(problem)
    if 300 <= status < 400:
        return BackendError(f"{problem} (redirects are not followed: name the server itself)")
    return BackendError(problem)


def error_message(body: Any) -> str:
    """The message in an error's body, in any of the usual places, otherwise the body, JSON or not.

    >>> error_message('{"error": {"message": "no such model", "code": 404}}'), error_message("<html>")
    ('no such model', '<html>')
    >>> error_message('{"detail": []}')
    "{'detail': []}"
    """
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return str(body)
    while isinstance(body, dict):
        inner = next((body[name] for name in ("message", "error", "detail") if body.get(name)), None)
        if inner is None:
            break
        body = inner
    return str(body)


def one_line(text: str, variable: str | None) -> str:
    """A line of at most 300 characters, without the key in `variable`."""
    line = " ".join(redact(text, variable).split())
    return line if len(line) <= 300 else f"{line[:300]}…"


def retry_after(value: str | None) -> float | None:
    """The seconds of a ``Retry-After`` header, given as a number or as a date.

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
