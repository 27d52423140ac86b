"""Calls that no signal handler can cut in half: another thread makes them, while the main thread waits.

Python runs signal handlers in the main thread, between any two of its steps, and what one raises (a
`KeyboardInterrupt`, a worker's time limit) may leave locks held, counts up and changes half made, whatever
`finally` says. So in the main thread a public call only waits for another thread, where no handler runs. An
exception out of the wait cancels the call: it stops at its next wait, and changes nothing any more; where it is
just making its change, the exception is raised when that is done.
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
    """A call that another thread makes, in this context, from now on."""

    def __init__(self, run: Callable[..., T], *, progress: Progress | None = None) -> None:
        """Begin with ``run()``; with `progress`, which the thread that waits will call, ``run(progress=…)``."""
        self._cancellation = Cancellation()
        self._asked: SimpleQueue[Callable[[], object]] = SimpleQueue()
        if progress is not None:
            run = partial(run, progress=partial(self._relay, progress))
        self._work: Work[T] = submit(partial(_cancellable, self._cancellation, run), backend=None, purpose="call")
        self._work.when_done(partial(self._asked.put, _nothing))

    def _relay(self, progress: Progress, done: int, total: int) -> None:
        """Have the thread that waits call `progress`; what that raises is raised here."""
        call = Work(partial(progress, done, total))
        self._asked.put(call.run)
        while not call.wait(_LOOKS):
            check_cancelled()
        call.result()

    def wait(self, *, undo: Callable[[T], object] | None = None) -> T:
        """What the call gave, or raised; `undo` takes back what it has made when nobody receives it any more.

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
        except BaseException:  # it has made nothing
            return
        undo(made)

    def cancel(self) -> None:
        """Cancel the call, and wait until it makes no change any more."""
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
    """Call ``run()``, or ``run(progress=…)``, where no signal handler can raise: in another thread if need be.

    `undo` takes back what an interrupted call has made anyway.
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
