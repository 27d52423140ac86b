"""Cancellation of abandoned work: it stops at its next wait, and before it changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["Cancellation", "Cancelled", "cancelled_by", "check_cancelled", "committing", "is_cancelled"]


class Cancelled(BaseException):
    """This work was abandoned."""


class Cancellation:
    """Whether the work of this context is cancelled, and whether it is committing a change."""

    __slots__ = ("_cancelled", "_committing")

    def __init__(self) -> None:
        self._cancelled = False
        self._committing = False

    @property
    def cancelled(self) -> bool:
        """Whether it is cancelled, and not committing a change."""
        return self._cancelled and not self._committing

    def cancel(self) -> bool:
        """Cancel the work. False if it is committing a change, which it finishes."""
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
    """Make a change inside: atomically, or not at all if the work of this context has been cancelled before.

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
    """Bind the work inside to this cancellation."""
    token = _current.set(cancellation)
    try:
        yield
    finally:
        _current.reset(token)
