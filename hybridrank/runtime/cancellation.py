"""Work that its caller no longer waits for: it stops at its next wait, and before it changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Cancellation", "Cancelled", "cancelled_by", "check_cancelled", "committing", "is_cancelled"]


class Cancelled(BaseException):
    """This work was abandoned."""


class Cancellation:
    """Whether the work of this context is cancelled, and whether it is just making its change."""

    __slots__ = ("_cancelled", "_committing")

    def __init__(self) -> None:
        self._cancelled = False
        self._committing = False

    @property
    def cancelled(self) -> bool:
        """Whether it is, and not just making its change."""
        return self._cancelled and not self._committing

    def cancel(self) -> bool:
        """Cancel the work. False if it is just making its change, and goes on to the end of that."""
        self._cancelled = True  # before looking: who commits looks the other way round
        return not self._committing

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Make the change: all of it, or, if the work has been cancelled, nothing."""
        self._committing = True
        try:
            if self._cancelled:
                raise Cancelled
            yield
        finally:
            self._committing = False


_current: ContextVar[Cancellation | None] = ContextVar("hybridrank_cancellation", default=None)


def is_cancelled() -> bool:
    """Whether the work of this context is cancelled, and may still stop."""
    current = _current.get()
    return current is not None and current.cancelled


def check_cancelled() -> None:
    """Stop here if the work of this context is cancelled.

    Raises:
        Cancelled: it is.
    """
    if is_cancelled():
        raise Cancelled


@contextmanager
def committing() -> Iterator[None]:
    """Make a change inside: whole, or not at all where the work of this context has been cancelled before.

    Raises:
        Cancelled: it has.
    """
    current = _current.get()
    if current is None or current._committing:
        yield
        return
    with current.committing():
        yield


@contextmanager
def cancelled_by(cancellation: Cancellation) -> Iterator[None]:
    """Have what runs inside be the work that this cancels."""
    token = _current.set(cancellation)
    try:
        yield
    finally:
        _current.reset(token)
