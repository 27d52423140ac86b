"""A reranker of a service with a local server that replaces the service, and helpers that use the two."""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, TypeAlias, TypeVar

from hybridrank.component.protocols import AsyncReranker, Reranker
from hybridrank.component.validation import validate_scores
from hybridrank.errors import BackendError
from hybridrank.remote import Limits
from hybridrank.testing.kit import CheckFailed, Tolerances, near, require, skip
from hybridrank.testing.samples import DOCUMENTS, queries
from hybridrank.testing.server import FaultyServer
from hybridrank.types import Candidates, Scores

__all__ = [
    "BATCH",
    "KEY",
    "PATIENCE",
    "VARIABLE",
    "Make",
    "Served",
    "Way",
    "answer",
    "ascore",
    "environment",
    "everything_shown",
    "failure",
    "in_own_thread",
    "kind_of",
    "needs_ascore",
    "same",
    "score",
    "soon",
]

T = TypeVar("T")
Make: TypeAlias = Callable[..., Any]
Way: TypeAlias = Callable[[Any, Sequence[Candidates]], Sequence[Scores]]

KEY = "ck-S3cret.key_for-checks~0123456789+/="
VARIABLE = "HYBRIDRANK_CHECKED_KEY"
"""The environment variable that holds the key while a check runs."""

PATIENCE = 60.0
"""Seconds after which what did not happen never will, however busy the machine."""

BATCH: Sequence[Candidates] = (Candidates(queries()[0], DOCUMENTS[:3]),)
"""One query with three short documents: a single request of any service."""


@dataclass(frozen=True, slots=True)
class Served:
    """How to create a server, and a reranker that calls it.

    ``server(key=…)`` is a `FaultyServer` that accepts only that key and really scores. ``reranker(url,
    api_key_env=…, limits=…)`` is a reranker that calls the server at `url`, with the key in that environment
    variable, within these `hybridrank.remote.Limits`.
    """

    server: Callable[..., FaultyServer]
    reranker: Callable[..., Reranker]

    @contextmanager
    def start(self) -> Iterator[tuple[FaultyServer, Make]]:
        """Run a server, and yield it with a function that creates its rerankers: ``make(url, **limits)``, both
        optional.
        """
        with self.server(key=KEY) as server, environment(**{VARIABLE: KEY, "no_proxy": "127.0.0.1"}):

            def make(url: str = server.url, **limits: Any) -> Reranker:
                allowed = Limits(**{"max_wait": 0.05, "timeout": 2 * PATIENCE, **limits})
                return self.reranker(url, api_key_env=VARIABLE, limits=allowed)

            yield server, make

    def ways(self) -> Sequence[Way]:
        """The ways to search with its rerankers: `score`, and `ascore` if they have it."""
        with self.start() as (_, make):
            return (score, ascore) if isinstance(make(), AsyncReranker) else (score,)


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Set environment variables temporarily; None unsets one."""
    before = {name: os.environ.get(name) for name in values}
    _export(values)
    try:
        yield
    finally:
        _export(before)


def _export(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def score(reranker: Any, batch: Sequence[Candidates]) -> Sequence[Scores]:
    """Score in a separate thread."""
    return in_own_thread(lambda: reranker.score(batch))


def ascore(reranker: Any, batch: Sequence[Candidates]) -> Sequence[Scores]:
    """Score on a separate event loop."""
    return in_own_thread(lambda: asyncio.run(reranker.ascore(batch)))


def in_own_thread(work: Callable[[], T], *, searches: int = 1) -> T:
    """Call `work`, several searches in sequence, in a separate thread, in the caller's context.

    Raises:
        CheckFailed: it does not end; the thread is abandoned until its server closes.
        Exception: raised by `work`.
    """
    done: Future[T] = Future()
    context = copy_context()

    def run() -> None:
        try:
            done.set_result(context.run(work))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return done.result(searches * PATIENCE)
    except TimeoutError:
        if done.done():
            raise
    raise CheckFailed(f"it still waits after {searches * PATIENCE:g} s")


def answer(way: Way, reranker: Any, batch: Sequence[Candidates] = BATCH, *, what: str = "") -> Sequence[Scores]:
    """Search, and return a valid response.

    Raises:
        CheckFailed: there was none; `what` says when.
    """
    try:
        return validate_scores(way(reranker, batch), batch, source=f"{way.__name__}()")
    except CheckFailed:
        raise
    except Exception as error:
        raise CheckFailed(
            f"{way.__name__}() raised {type(error).__name__}: {error}{what and f', {what}'}"
        ) from error


def failure(
    way: Way, reranker: Any, batch: Sequence[Candidates] = BATCH, *, what: str = "a failure"
) -> BackendError:
    """Search, and return the error; `what` describes the fault of the service. The frames here do not contain the
    key.

    Raises:
        CheckFailed: there was no error, or none of `hybridrank.errors`.
    """
    try:
        way(reranker, batch)
    except BackendError as error:
        return error
    except CheckFailed as error:
        raise CheckFailed(f"{what}: {error}") from None
    except Exception as error:
        problem = f"{what}: {way.__name__}() raised {type(error).__name__} ({error}), expected a BackendError"
        raise CheckFailed(f"{problem}: pipelines fall back on the fused order for those") from error
    raise CheckFailed(f"{what}: {way.__name__}() answered, expected a BackendError")


def needs_ascore(served: Served) -> None:
    """Skip checks of event loops for a reranker without `ascore`."""
    if ascore not in served.ways():
        raise skip("it has no ascore(): the pipeline runs score() in a thread")


def same(got: Sequence[Scores], expected: Sequence[Scores], tolerances: Tolerances, what: str) -> None:
    """Fail unless the scores agree."""
    require(
        all(
            near(a, b, tolerances.tolerance)
            for row, other in zip(got, expected, strict=True)
            for a, b in zip(row, other, strict=True)
        ),
        f"{what}, the scores were {list(map(tuple, got))}, expected {list(map(tuple, expected))}",
    )


def kind_of(error: BaseException) -> type[BaseException]:
    """The class in `hybridrank.errors` that pipelines treat the error as."""
    return next(kind for kind in type(error).__mro__ if kind.__module__ == BackendError.__module__)


def everything_shown(error: BaseException | None) -> str:
    """Everything that a log or an error reporter could show: messages, reprs, frames and their local variables."""
    text = ""
    while error is not None:
        report = traceback.TracebackException.from_exception(error, capture_locals=True)
        text += "".join(report.format()) + repr(error) + str(error) + repr(vars(error)) + repr(error.args)
        error = error.__cause__ or error.__context__
    return text


def soon(condition: Callable[[], bool]) -> bool:
    """Whether the condition becomes true within a few seconds."""
    give_up = monotonic() + PATIENCE
    while not (holds := condition()) and monotonic() < give_up:
        sleep(0.005)
    return holds
