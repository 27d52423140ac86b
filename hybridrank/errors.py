"""Every exception that hybridrank raises on purpose.

::

    HybridrankError
    ├── InputError (ValueError)          a document, a query or an argument is unusable; nothing was changed
    ├── ConfigError (ValueError)         a configuration is wrong; names the path, as ``$.reranker.model``
    │   ├── UnknownComponentError        no such name is registered
    │   └── UntrustedConfigError         a stored configuration requires trust; ``concerns`` has the reasons
    ├── MissingDependencyError (ImportError)   an optional package is missing; names the ``pip install``
    ├── ModelError                       a model cannot be found, verified or loaded
    ├── BackendError                     a retriever, an embedder or a reranker failed
    │   ├── BackendResponseError         its response is invalid
    │   ├── BackendTimeoutError          it did not respond in time
    │   ├── BackendUnavailableError      it cannot be reached, or is failing
    │   ├── RateLimitedError             its rate limit is exceeded; ``retry_after`` in seconds, if known
    │   └── AuthenticationError          the key is missing or rejected
    ├── StorageError                     a collection's files cannot be read or written
    │   └── LockedError                  another writer is active; ``holder`` names it
    ├── OverloadedError                  too many concurrent searches; nothing was done
    └── SearchError                      all arms of a search failed; ``causes`` has each arm's exception

The exception of an underlying library is chained as ``__cause__``. No message contains a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "AuthenticationError",
    "BackendError",
    "BackendResponseError",
    "BackendTimeoutError",
    "BackendUnavailableError",
    "ConfigError",
    "HybridrankError",
    "InputError",
    "LockedError",
    "MissingDependencyError",
    "ModelError",
    "OverloadedError",
    "RateLimitedError",
    "SearchError",
    "StorageError",
    "UnknownComponentError",
    "UntrustedConfigError",
    "described",
]


class HybridrankError(Exception):
    """Root of the tree: catch this to catch everything that hybridrank raises on purpose."""


class InputError(HybridrankError, ValueError):
    """A document, a query or an argument is unusable. Nothing was changed."""


class ConfigError(HybridrankError, ValueError):
    """A configuration is wrong. `path` is its JSONPath-like path: ``$.retrievers.dense.embedder``."""

    def __init__(self, problem: str, *, path: str = "$") -> None:
        super().__init__(problem, path)
        self.problem = problem
        self.path = path

    def __str__(self) -> str:
        return self.problem if self.path == "$" else f"{self.path}: {self.problem}"


class UnknownComponentError(ConfigError):
    """No installed distribution registers this name."""


class UntrustedConfigError(ConfigError):
    """A configuration that is stored with data requires the caller's trust. `concerns` maps each path to a
    reason.
    """

    def __init__(self, problem: str, *, concerns: Mapping[str, str]) -> None:
        super().__init__(problem)
        self.concerns = dict(concerns)

    def __reduce__(self) -> tuple[Any, ...]:
        return _untrusted, (self.problem, self.concerns)


def _untrusted(problem: str, concerns: Mapping[str, str]) -> UntrustedConfigError:
    return UntrustedConfigError(problem, concerns=concerns)


class MissingDependencyError(HybridrankError, ImportError):
    """An optional package is missing. The message has the exact ``pip install`` line."""


class ModelError(HybridrankError):
    """A model cannot be found, verified or loaded."""


class BackendError(HybridrankError):
    """A retriever, an embedder or a reranker failed."""


class BackendResponseError(BackendError):
    """A backend responded, but violated its contract (count, shape, finiteness, ids)."""


class BackendTimeoutError(BackendError):
    """A backend did not respond in time."""


class BackendUnavailableError(BackendError):
    """A backend could not be reached, or reported a failure."""


class RateLimitedError(BackendError):
    """A backend's rate limit is exceeded. `retry_after` is in seconds, or None if unknown."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthenticationError(BackendError):
    """A backend's key is missing or rejected."""


class StorageError(HybridrankError):
    """A collection's files cannot be read or written: absent, damaged, of a newer format, or the disk is full."""


class LockedError(StorageError):
    """Another writer is active on the collection. `holder` has its process, its machine and the start time."""

    def __init__(self, message: str, *, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class OverloadedError(HybridrankError):
    """Too many concurrent searches. Nothing was done; a later attempt may succeed."""


class SearchError(HybridrankError):
    """All arms of a search failed. `causes` maps each arm's name to its exception."""

    def __init__(self, causes: Mapping[str, BaseException]) -> None:
        self.causes = dict(causes)
        reasons = "; ".join(f"{name}: {described(error)}" for name, error in causes.items())
        super().__init__(f"every retriever failed ({reasons})")


def described(error: BaseException) -> str:
    """An exception's class and message, for a trace or another message; some have no readable message."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # its own __str__ failed
        return type(error).__name__
    # A log or a terminal encodes this text: a lone surrogate becomes U+FFFD.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
