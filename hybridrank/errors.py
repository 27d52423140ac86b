"""Every exception that hybridrank raises on purpose.

::

    HybridrankError
    ├── InputError (ValueError)          a document, a query or an argument is unusable; nothing was changed
    ├── ConfigError (ValueError)         a configuration is wrong; says where, as in ``$.reranker.model``
    │   ├── UnknownComponentError        no such name is registered
    │   └── UntrustedConfigError         a stored configuration needs the caller's word; ``concerns`` says what for
    ├── MissingDependencyError (ImportError)   an optional package is absent; says which ``pip install``
    ├── ModelError                       a model cannot be found, verified or loaded
    ├── BackendError                     a retriever, an embedder or a reranker failed
    │   ├── BackendResponseError         it answered, and the answer cannot be believed
    │   ├── BackendTimeoutError          it did not answer in time
    │   ├── BackendUnavailableError      it could not be reached, or is failing
    │   ├── RateLimitedError             it refuses for now; ``retry_after`` in seconds where it said so
    │   └── AuthenticationError          the key is missing or refused
    ├── StorageError                     a collection's files cannot be read or written
    │   └── LockedError                  another writer is at work; ``holder`` says who
    ├── OverloadedError                  too many searches are going on; nothing was done
    └── SearchError                      no arm of a search answered; ``causes`` holds each arm's exception

Whatever a library underneath raised is chained as ``__cause__``. No message ever holds a secret.
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
    """A configuration is wrong. `path` says where, JSONPath-like: ``$.retrievers.dense.embedder``."""

    def __init__(self, problem: str, *, path: str = "$") -> None:
        super().__init__(problem, path)
        self.problem = problem
        self.path = path

    def __str__(self) -> str:
        return self.problem if self.path == "$" else f"{self.path}: {self.problem}"


class UnknownComponentError(ConfigError):
    """No installed distribution registers this name."""


class UntrustedConfigError(ConfigError):
    """A configuration that was stored with data needs the caller's word. `concerns` maps each path to a reason."""

    def __init__(self, problem: str, *, concerns: Mapping[str, str]) -> None:
        super().__init__(problem)
        self.concerns = dict(concerns)

    def __reduce__(self) -> tuple[Any, ...]:
        return _untrusted, (self.problem, self.concerns)


def _untrusted(problem: str, concerns: Mapping[str, str]) -> UntrustedConfigError:
    return UntrustedConfigError(problem, concerns=concerns)


class MissingDependencyError(HybridrankError, ImportError):
    """An optional package is absent. The message holds the exact ``pip install`` line."""


class ModelError(HybridrankError):
    """A model cannot be found, verified or loaded."""


class BackendError(HybridrankError):
    """A retriever, an embedder or a reranker failed."""


class BackendResponseError(BackendError):
    """A backend answered, but not with what its contract promises (count, shape, finiteness, ids)."""


class BackendTimeoutError(BackendError):
    """A backend did not answer in time."""


class BackendUnavailableError(BackendError):
    """A backend could not be reached, or answered that it is failing."""


class RateLimitedError(BackendError):
    """A backend refuses for now. `retry_after` is in seconds, or None where it named no time."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthenticationError(BackendError):
    """A backend's key is missing or refused."""


class StorageError(HybridrankError):
    """A collection's files cannot be read or written: absent, damaged, of a newer format, or the disk is full."""


class LockedError(StorageError):
    """Another writer is at work on the collection. `holder` says who: its process, machine and since when."""

    def __init__(self, message: str, *, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class OverloadedError(HybridrankError):
    """Too many searches are going on at once. Nothing was done; later it may go."""


class SearchError(HybridrankError):
    """No arm of a search answered. `causes` maps each arm's name to its exception."""

    def __init__(self, causes: Mapping[str, BaseException]) -> None:
        self.causes = dict(causes)
        reasons = "; ".join(f"{name}: {described(error)}" for name, error in causes.items())
        super().__init__(f"every retriever failed ({reasons})")


def described(error: BaseException) -> str:
    """What an exception is and says, for a trace or a message; some have no message that can be read."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # its own __str__ failed
        return type(error).__name__
    # Whoever logs or prints this may have to encode it: a lone surrogate becomes U+FFFD.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
