"""An event loop in a background thread, on which synchronous callers run coroutines."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from queue import SimpleQueue
from typing import Any, TypeVar

from hybridrank.runtime import fork

__all__ = ["run_sync"]

T = TypeVar("T")


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on a background event loop, in the caller's context, and return its result.

    There is one such loop per process, started at first use. If the caller is interrupted, the coroutine is
    cancelled.

    Raises:
        RuntimeError: called on that loop itself, where waiting would wait forever.
        BaseException: what the coroutine raised.
    """
    background = _current()
    if background.thread is threading.current_thread():
        coroutine.close()
        raise RuntimeError("run_sync() was called where it would wait for itself: await the coroutine instead")
    loop = background.loop
    tasks: list[asyncio.Task[T]] = []
    answer: SimpleQueue[asyncio.Task[T]] = SimpleQueue()

    def start() -> None:
        tasks.append(loop.create_task(coroutine))
        tasks[0].add_done_callback(answer.put)

    def stop() -> None:
        if tasks:
            tasks[0].cancel()
        else:
            coroutine.close()

    try:
        loop.call_soon_threadsafe(start)
        task = answer.get()
    except BaseException:
        loop.call_soon_threadsafe(stop)  # after `start`, if that was called at all
        raise
    if task.cancelled():
        raise CancelledError
    return task.result()


class _Background:
    """An event loop and the daemon thread that it runs in."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="hybridrank-loop", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.run_until_complete(self._close())
        self.loop.close()

    async def _close(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()  # among them those that close the connections

    def stop(self, *, wait: float) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(wait)


_guard = fork.new_lock()
_background: _Background | None = None
_parents: list[_Background | None] = []


def _current() -> _Background:
    global _background
    with _guard:
        if _background is None:
            _background = _Background()
        return _background


def _at_exit() -> None:
    if _background is not None:
        _background.stop(wait=1.0)


def _after_fork() -> None:
    """Leave the parent's loop and calls alone, which have no thread here.

    The loop is kept, so that it is never collected: closing its connections would disturb the parent's.
    """
    global _background
    _parents.append(_background)
    _background = None


atexit.register(_at_exit)
fork.in_child(_after_fork)
