"""A component of a service with a local server that replaces the service, and helpers that use the two."""

from __future__ import annotations

import asyncio
import os
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, TypeAlias, TypeVar, cast

from hybridrank.component.protocols import AsyncEmbedder, AsyncReranker, Embedder, Reranker
from hybridrank.component.validation import validate_scores, validate_vectors
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
    "TEXTS",
    "VARIABLE",
    "Make",
    "Served",
    "ServedComponent",
    "ServedEmbedder",
    "Way",
    "aembed",
    "answer",
    "ascore",
    "batch_of",
    "embed",
    "environment",
    "everything_shown",
    "failure",
    "in_own_thread",
    "kind_of",
    "needs_async",
    "same",
    "score",
    "soon",
]

T = TypeVar("T")
Make: TypeAlias = Callable[..., Any]
Way: TypeAlias = Callable[[Any, Any], Sequence[Any]]
"""A way to use a component: ``way(component, batch)`` gives a row of numbers for each member of the batch."""

KEY = "ck-S3cret.key_for-checks~0123456789+/="
VARIABLE = "HYBRIDRANK_CHECKED_KEY"
"""The environment variable that holds the key while a check runs."""

PATIENCE = 60.0
"""Seconds after which what did not happen never will, however busy the machine."""

BATCH: Sequence[Candidates] = (Candidates(queries()[0], DOCUMENTS[:3]),)
"""One query with three short documents: a single request of any service."""

TEXTS: Sequence[str] = tuple(document.content for document in DOCUMENTS[:3])
"""Three short texts: a single request of any service."""


class ServedComponent(ABC):
    """How to create a server, and a component that calls it."""

    server: Callable[..., FaultyServer]

    @abstractmethod
    def make(self, url: str, **options: Any) -> Any:
        """A component that calls the server at `url`."""

    @abstractmethod
    def ways(self) -> Sequence[Way]:
        """The ways to use its components: the method that blocks, and the one to await if they have it."""

    @abstractmethod
    async def await_answer(self, component: Any, *, requests: int = 1) -> Sequence[Any]:
        """Await the asynchronous method, with as much as takes this number of requests."""

    @contextmanager
    def start(self) -> Iterator[tuple[FaultyServer, Make]]:
        """Run a server, and yield it with a function that creates its components: ``make(url, **limits)``, both
        optional.
        """
        with self.server(key=KEY) as server, environment(**{VARIABLE: KEY, "no_proxy": "127.0.0.1"}):

            def make(url: str = server.url, **limits: Any) -> Any:
                allowed = Limits(**{"max_wait": 0.05, "timeout": 2 * PATIENCE, **limits})
                return self.make(url, api_key_env=VARIABLE, limits=allowed)

            yield server, make


@dataclass(frozen=True, slots=True)
class Served(ServedComponent):
    """How to create a server, and a reranker that calls it.

    ``server(key=…)`` is a `FaultyServer` that accepts only that key and really scores. ``reranker(url,
    api_key_env=…, limits=…)`` is a reranker that calls the server at `url`, with the key in that environment
    variable, within these `hybridrank.remote.Limits`.
    """

    server: Callable[..., FaultyServer]
    reranker: Callable[..., Reranker]

    def make(self, url: str, **options: Any) -> Reranker:
        """A reranker that calls the server at `url`."""
        return self.reranker(url, **options)

    def ways(self) -> Sequence[Way]:
        """The ways to search with its rerankers: `score`, and `ascore` if they have it."""
        with self.start() as (_, make):
            return (score, ascore) if isinstance(make(), AsyncReranker) else (score,)

    async def await_answer(self, component: Any, *, requests: int = 1) -> Sequence[Scores]:
        """Await `ascore` of this number of queries."""
        return cast("Sequence[Scores]", await component.ascore([*BATCH] * requests))


@dataclass(frozen=True, slots=True)
class ServedEmbedder(ServedComponent):
    """How to create a server, and an embedder that calls it.

    ``server(key=…)`` is a `FaultyServer` that accepts only that key and really embeds. ``embedder(url,
    api_key_env=…, limits=…)`` is an embedder that calls the server at `url`, with the key in that environment
    variable, within these `hybridrank.remote.Limits`, and sends three texts in a request.
    """

    server: Callable[..., FaultyServer]
    embedder: Callable[..., Embedder]

    def make(self, url: str, **options: Any) -> Embedder:
        """An embedder that calls the server at `url`."""
        return self.embedder(url, **options)

    def ways(self) -> Sequence[Way]:
        """The ways to embed with its embedders: `embed`, and `aembed` if they have it."""
        with self.start() as (_, make):
            return (embed, aembed) if isinstance(make(), AsyncEmbedder) else (embed,)

    async def await_answer(self, component: Any, *, requests: int = 1) -> Sequence[Any]:
        """Await `aembed` of three texts for each request."""
        return list(await component.aembed([*TEXTS] * requests, role="document"))


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


def embed(embedder: Any, texts: Sequence[str]) -> Sequence[Any]:
    """Embed in a separate thread."""
    return in_own_thread(lambda: embedder.embed(texts, role="document"))


def aembed(embedder: Any, texts: Sequence[str]) -> Sequence[Any]:
    """Embed on a separate event loop."""
    return in_own_thread(lambda: asyncio.run(embedder.aembed(texts, role="document")))


def batch_of(way: Way, *, requests: int = 1) -> Sequence[Any]:
    """What to call `way` with so that it takes this number of requests."""
    return [*(TEXTS if way in (embed, aembed) else BATCH)] * requests


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


def answer(way: Way, component: Any, *, requests: int = 1, what: str = "") -> Sequence[Any]:
    """Use the component, with as much as takes this number of requests, and return a valid response.

    Raises:
        CheckFailed: there was none; `what` says when.
    """
    try:
        batch, source = batch_of(way, requests=requests), f"{way.__name__}()"
        if way in (embed, aembed):
            return list(validate_vectors(way(component, batch), count=len(batch), source=source))
        return validate_scores(way(component, batch), batch, source=source)
    except CheckFailed:
        raise
    except Exception as error:
        raise CheckFailed(
            f"{way.__name__}() raised {type(error).__name__}: {error}{what and f', {what}'}"
        ) from error


def failure(
    way: Way, component: Any, batch: Sequence[Any] | None = None, *, what: str = "a failure"
) -> BackendError:
    """Use the component, by default with what takes one request, and return the error.

    `what` describes the fault of the service. The frames here do not contain the key.

    Raises:
        CheckFailed: there was no error, or none of `hybridrank.errors`.
    """
    try:
        way(component, batch_of(way) if batch is None else batch)
    except BackendError as error:
        return error
    except CheckFailed as error:
        raise CheckFailed(f"{what}: {error}") from None
    except Exception as error:
        problem = f"{what}: {way.__name__}() raised {type(error).__name__} ({error}), expected a BackendError"
        raise CheckFailed(f"{problem}: pipelines fall back on the fused order for those") from error
    raise CheckFailed(f"{what}: {way.__name__}() answered, expected a BackendError")


def needs_async(served: ServedComponent) -> None:
    """Skip checks of event loops for a component without an asynchronous method."""
    if len(ways := served.ways()) == 1:
        name = ways[0].__name__
        raise skip(f"it has no a{name}(): callers run {name}() in a thread")


def same(got: Sequence[Any], expected: Sequence[Any], tolerances: Tolerances, what: str) -> None:
    """Fail unless the scores, or the vectors, agree."""
    require(
        len(got) == len(expected)
        and all(
            near(a, b, tolerances.tolerance)
            for row, other in zip(got, expected, strict=True)
            for a, b in zip(row, other, strict=True)
        ),
        f"{what}, the answer was {list(map(tuple, got))}, expected {list(map(tuple, expected))}",
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
