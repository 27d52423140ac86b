"""The remaining time of the current work, available to everything that works for one search.

The limit belongs to a context (`contextvars`): a task has its creator's, and the pipeline carries it into its
threads. A backend that waits can therefore query it, without a parameter in every contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import TIMEOUT_MAX
from time import monotonic

from hybridrank.errors import BackendTimeoutError
from hybridrank.runtime.cancellation import check_cancelled, is_cancelled

__all__ = ["all_but", "check", "limited", "remaining"]

_ends: ContextVar[float | None] = ContextVar("hybridrank_deadline", default=None)


def remaining() -> float | None:
    """Seconds until the deadline, 0.0 after it; None without one. Also 0.0 for abandoned work.

    >>> remaining()
    >>> with limited(2.0):
    ...     1.9 < remaining() <= 2.0
    True
    """
    if is_cancelled():
        return 0.0
    ends = _ends.get()
    return None if ends is None else max(0.0, ends - monotonic())


def all_but(part: float) -> float | None:
    """The remaining seconds except for a share of them; None without a deadline."""
    seconds = remaining()
    return None if seconds is None else seconds * (1 - part)


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """Limit the time of the work inside, in seconds; a nearer outer limit applies; None is no limit."""
    if seconds is None:
        yield
        return
    outer, ends = _ends.get(), monotonic() + min(seconds, TIMEOUT_MAX)  # longer waits do not exist
    token = _ends.set(ends if outer is None else min(outer, ends))
    try:
        yield
    finally:
        _ends.reset(token)


def check(what: str) -> None:
    """Stop here if the time has expired: a backend calls this between steps.

    Raises:
        BackendTimeoutError: it is; `what` says who had no time left.
        Cancelled: this work was abandoned.
    """
    check_cancelled()
    if remaining() == 0.0:
        raise BackendTimeoutError(f"{what}: the deadline has passed")
