"""Asking a reranker that may ignore the deadline: it is then left behind, never waited for."""

from __future__ import annotations

import asyncio
import threading
from asyncio import Future as AsyncFuture
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial
from typing import Any, TypeAlias

from hybridrank.component.protocols import AsyncReranker, Reranker
from hybridrank.errors import BackendTimeoutError
from hybridrank.rerank.members import ascore_member, score_member
from hybridrank.runtime.deadline import remaining
from hybridrank.types import Candidates, Scores

__all__ = ["LeaveBehind", "ascore_in_time", "score_in_time"]

LeaveBehind: TypeAlias = Callable[[Future[Any] | AsyncFuture[Any]], None]
"""Told about work that goes on though nobody waits for it."""


def score_in_time(
    reranker: Reranker, batch: Sequence[Candidates], *, name: str, leave_behind: LeaveBehind
) -> Sequence[Scores]:
    """The reranker's answer, checked, by the deadline; where there is one, it works in a thread of its own.

    Raises:
        BackendTimeoutError: it did not answer by the deadline. Its thread goes on, and ends with the process.
    """
    seconds = remaining()
    if seconds is None:
        return score_member(reranker, batch, name=name)
    work = _in_thread(partial(score_member, reranker, batch, name=name))
    late = True
    try:
        late = not wait([work], seconds).done
    finally:
        if late:
            leave_behind(work)
    if late:
        raise _too_late(name, seconds)
    return work.result()


async def ascore_in_time(
    reranker: Reranker, batch: Sequence[Candidates], *, name: str, leave_behind: LeaveBehind
) -> Sequence[Scores]:
    """As `score_in_time`; a reranker that waits without a thread is cancelled when it is late, or this is."""
    seconds = remaining()
    if seconds is None:
        return await ascore_member(reranker, batch, name=name)
    work: AsyncFuture[Sequence[Scores]]
    left: Future[Any] | AsyncFuture[Any]
    if isinstance(reranker, AsyncReranker):
        work = left = asyncio.ensure_future(ascore_member(reranker, batch, name=name))
    else:
        left = _in_thread(partial(score_member, reranker, batch, name=name))
        work = asyncio.wrap_future(left)
    late = True
    try:
        late = not (await asyncio.wait({work}, timeout=seconds))[0]
    finally:
        if late:
            leave_behind(left)
            work.add_done_callback(_forget)
            work.cancel()
    if late:
        raise _too_late(name, seconds)
    return work.result()


def _in_thread(work: Callable[[], Sequence[Scores]]) -> Future[Sequence[Scores]]:
    """Start `work`, in this context, in a thread that no exit of the process waits for."""
    future: Future[Sequence[Scores]] = Future()
    future.set_running_or_notify_cancel()
    context = copy_context()

    def run() -> None:
        try:
            answer = context.run(work)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(answer)

    threading.Thread(target=run, name="hybridrank-member", daemon=True).start()
    return future


def _too_late(name: str, seconds: float) -> BackendTimeoutError:
    return BackendTimeoutError(f"reranker {name!r} did not answer within {seconds:.3g} s")


def _forget(work: AsyncFuture[Any]) -> None:
    """Look at the exception that nobody asks for, or the event loop would complain."""
    if not work.cancelled():
        work.exception()
