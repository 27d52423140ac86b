"""Exceptions of the SDK -> hybridrank's errors, without the key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hybridrank.errors import BackendError, BackendResponseError, BackendUnavailableError, HybridrankError
from hybridrank.remote import error_for_status, error_message, one_line, retry_after, scrub

__all__ = ["backend_error", "translated"]


def backend_error(error: Exception, *, variable: str) -> BackendError:
    """The error for an exception of the SDK; `variable` is the name of the key's variable."""
    import httpx
    from cohere.core.api_error import ApiError

    if isinstance(error, ApiError):
        status, reason = error.status_code or 0, error_message(error.body)
        if status < 300:
            reason = one_line(f"Cohere answered {status}: {reason}", variable)
            return BackendResponseError(f"{reason} (not JSON)")
        wait = retry_after((error.headers or {}).get("retry-after"))
        return error_for_status(status, reason, who="Cohere", wait=wait, variable=variable)
    reason = one_line(f"{type(error).__name__}: {error}", variable)
    if isinstance(error, httpx.TransportError):
        return BackendUnavailableError(f"the connection to Cohere failed ({reason})")
    return BackendResponseError(f"Cohere's answer cannot be read ({reason})")


@contextmanager
def translated(variable: str) -> Iterator[None]:
    """Raise the SDK's exceptions as hybridrank's errors, without the key that the environment `variable` has."""
    try:
        yield
    except HybridrankError:
        raise
    except Exception as error:
        failure = backend_error(error, variable=variable)
        scrub(error, variable)
        raise failure from error
