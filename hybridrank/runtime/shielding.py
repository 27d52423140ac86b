"""Calls that no signal handler can interrupt: another thread makes them, while the main thread waits.

Python runs signal handlers in the main thread, between any two of its steps, and their exceptions (a
`KeyboardInterrupt`, a worker's time limit) may leave locks held, counts up and changes incomplete, despite
`finally`. In the main thread, a public call therefore only waits for another thread, where no handler runs. An
exception that ends the wait cancels the call: it stops at its next wait, and changes nothing more; if it is
committing a change, the exception is raised afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial, wraps
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar, cast

from hybridrank.runtime.cancellation import Cancellation, cancelled_by, check_cancelled
from hybridrank.runtime.threads import Work, submit
from hybridrank.types import Progress

__all__ = ["Shielded", "shield", "shielded"]

T = TypeVar("T")
P = ParamSpec("P")

_LOOKS = 0.1  # seconds


class Shielded(Generic[T]):
    """A call that another thread makes, in this context, starting now."""

    def __init__(self, run: Callable[..., T], *, progress: Progress | None = None) -> None:
        """Start with ``run()``; with `progress`, which the waiting thread will call, ``run(progress=…)``."""
        self._cancellation = Cancellation()
        self._asked: SimpleQueue[Callable[[], object]] = SimpleQueue()
        if progress is not None:
            run = partial(run, progress=partial(self._relay, progress))
        self._work: Work[T] = submit(partial(_cancellable, self._cancellation, run), backend=None, purpose="call")
        self._work.when_done(partial(self._asked.put, _nothing))

    def _relay(self, progress: Progress, done: int, total: int) -> None:
        """Have the waiting thread call `progress`; its exceptions are raised here."""
        call = Work(partial(progress, done, total))
        self._asked.put(call.run)
        while not call.wait(_LOOKS):
            check_cancelled()
        call.result()

    def wait(self, *, undo: Callable[[T], object] | None = None) -> T:
        """The result of the call; `undo` reverts it if the caller no longer receives it.

        Raises:
            BaseException: what a signal handler raised meanwhile. The call has been cancelled.
        """
        try:
            while not self._work.finished:
                self._asked.get()()
            return self._work.result()
        except BaseException:
            self.cancel()
            if undo is not None:
                self._take_back(undo)
            raise

    def _take_back(self, undo: Callable[[T], object]) -> None:
        self._work.wait()
        try:
            made = self._work.result()
        except BaseException:  # it has changed nothing
            return
        undo(made)

    def cancel(self) -> None:
        """Cancel the call, and wait until it makes no more changes."""
        if not self._cancellation.cancel():
            self._work.wait()


def _nothing() -> None:
    pass


def _cancellable(cancellation: Cancellation, run: Callable[[], T]) -> T:
    with cancelled_by(cancellation):
        return run()


def _is_exposed() -> bool:
    """Whether signal handlers run in this thread."""
    return threading.current_thread() is threading.main_thread()


def shielded(
    run: Callable[..., T], *, progress: Progress | None = None, undo: Callable[[T], object] | None = None
) -> T:
    """Call ``run()``, or ``run(progress=…)``, where no signal handler can raise: if necessary in another thread.

    `undo` reverts the effect of an interrupted call that was completed.
    """
    if _is_exposed():
        try:
            call = Shielded(run, progress=progress)
        except RuntimeError:  # the interpreter is ending, and starts no thread any more
            pass
        else:
            return call.wait(undo=undo)
    return run() if progress is None else run(progress=progress)


def shield(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function so that its calls are `shielded`; it may have an argument `progress`."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if not _is_exposed():
            return function(*args, **kwargs)
        options = cast("dict[str, Any]", kwargs)
        progress = options.pop("progress", None)
        return shielded(partial(function, *args, **options), progress=progress)

    return call
