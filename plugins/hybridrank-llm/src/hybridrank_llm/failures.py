"""Exceptions of the HTTP client -> hybridrank's errors, without the key."""

from __future__ import annotations

from hybridrank.errors import BackendError, BackendTimeoutError, BackendUnavailableError
from hybridrank.remote import one_line

__all__ = ["unreachable"]


def unreachable(error: Exception, variable: str | None) -> BackendError:
    """Say what the HTTP client raised, in one line."""
    import httpx

    reason = one_line(f"{type(error).__name__}: {error}", variable)
    if isinstance(error, httpx.TimeoutException):
        return BackendTimeoutError(f"the chat server did not answer in time ({reason})")
    return BackendUnavailableError(f"the connection to the chat server failed ({reason})")
