"""Checks of how a remote component handles a service's failures."""

# ruff: noqa: ARG001  (every check takes what is served and the tolerances)

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

from hybridrank.errors import (
    AuthenticationError,
    BackendError,
    BackendResponseError,
    BackendTimeoutError,
    BackendUnavailableError,
    RateLimitedError,
)
from hybridrank.testing.kit import Tolerances, require
from hybridrank.testing.served import (
    KEY,
    ServedComponent,
    Way,
    answer,
    batch_of,
    everything_shown,
    failure,
    kind_of,
    same,
    soon,
)
from hybridrank.testing.server import FaultyServer

__all__ = [
    "FINAL",
    "PASSING",
    "SLOW",
    "client_errors_are_final",
    "one_failure_stops_the_batch",
    "require_rate_limited",
    "retry_after_is_honored",
    "transient_failures_are_retried",
    "unreachable_service",
]

FINAL: Mapping[str, type[BackendError]] = {
    "400": BackendError,
    "401": AuthenticationError,
    "403": AuthenticationError,
    "404": BackendError,
    "413": BackendError,
    "422": BackendError,
    "echo": AuthenticationError,
    "not json": BackendResponseError,
}
"""Errors that a second request cannot fix."""

PASSING: Mapping[str, type[BackendError]] = {
    "408": BackendTimeoutError,
    "429": RateLimitedError,
    "429 retry-after 0": RateLimitedError,
    "500": BackendUnavailableError,
    "502": BackendUnavailableError,
    "503": BackendUnavailableError,
    "503 retry-after 0": RateLimitedError,
    "504": BackendTimeoutError,
    "hang up": BackendUnavailableError,
}
"""What may be over at the next request."""

SLOW = ("silence", "trickle")


def _fails(
    way: Way, served: ServedComponent, fault: str, expected: type[BackendError], *, requests: int, **limits: Any
) -> None:
    with served.start() as (server, make):
        server.fault = fault
        error = failure(way, make(**limits), what=f"a service's {fault!r}")
        require(
            kind_of(error) is expected,
            f"a service's {fault!r} made {way.__name__}() raise {type(error).__name__} ({error}), expected "
            f"{expected.__name__}: pipelines and users decide by the class",
        )
        require(
            len(server.received) == requests,
            f"a service's {fault!r} was met by {way.__name__}() with {len(server.received)} requests, expected "
            f"{requests} with {limits or 'two retries'}",
        )


def client_errors_are_final(served: ServedComponent, tolerances: Tolerances) -> None:
    """An error that a retry cannot fix is raised at once, as the right class."""
    for way in served.ways():
        for fault, expected in FINAL.items():
            _fails(way, served, fault, expected, requests=1)


def transient_failures_are_retried(served: ServedComponent, tolerances: Tolerances) -> None:
    """A transient error is retried, up to `limits.retries` times, and then raised as the right class."""
    for way in served.ways():
        for fault, expected in PASSING.items():
            _fails(way, served, fault, expected, requests=3)
            with served.start() as (server, make):
                sound = answer(way, make())
                server.faults.extend([fault, fault])
                same(
                    answer(way, make(), what=f"after {fault!r} twice"), sound, tolerances, f"after {fault!r} twice"
                )
        for fault in SLOW:
            _fails(way, served, fault, BackendTimeoutError, requests=2, timeout=0.3, retries=1)
            with served.start() as (server, make):
                sound = answer(way, make())
                server.faults.append(fault)
                rows = answer(way, make(timeout=0.5, retries=10), what=f"after {fault!r}")
                same(rows, sound, tolerances, f"after {fault!r}")
        _fails(way, served, "500", BackendUnavailableError, requests=1, retries=0)


def unreachable_service(served: ServedComponent, tolerances: Tolerances) -> None:
    """A refused connection raises BackendUnavailableError, caused by the client's exception, without the key."""
    for way in served.ways():
        with served.start() as (server, make), socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
            nowhere = urlsplit(server.url)._replace(netloc=f"127.0.0.1:{unused.getsockname()[1]}").geturl()
            error = failure(way, make(nowhere, retries=0), what="a refused connection")
        require(
            kind_of(error) is BackendUnavailableError and error.__cause__ is not None,
            f"where nobody listens, {way.__name__}() raised {type(error).__name__} ({error}) from "
            f"{error.__cause__!r}, expected BackendUnavailableError, chained (`raise … from error`)",
        )
        shown = everything_shown(error)
        require(KEY not in shown, f"where nobody listens, the error of {way.__name__}() or a frame shows the key")


def one_failure_stops_the_batch(served: ServedComponent, tolerances: Tolerances) -> None:
    """If one of several calls fails, the batch fails at once, and the other calls are stopped."""
    for way in served.ways():
        with served.start() as (server, make):
            server.faults.extend(["silence", "400"])
            error = failure(way, make(), batch_of(way, requests=2), what="one call of two that is refused")
            require(kind_of(error) is BackendError, f"of two calls one answered 400, and came {error!r}")
            what = f"one call failed, and the others of {way.__name__}() went on"
            require(soon(lambda: server.left == 1), f"{what}: the search has failed")


def retry_after_is_honored(served: ServedComponent, tolerances: Tolerances) -> None:
    """The delay that a service requests, in seconds or as a date, is respected in full, or the search fails."""
    for way in served.ways():
        for status in ("429", "503"):
            with served.start() as (server, make):
                server.faults.append(f"{status} retry-after 1")
                answer(way, make(max_wait=5.0))
                first, second = server.received
                waited = second.seconds - first.seconds
                require(waited >= 1.0, f"{status} asked to wait 1 s, and {way.__name__}() waited {waited:.3g} s")
            with served.start() as (server, make):
                moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
                server.faults.append(f"{status} retry-after {format_datetime(moment, usegmt=True)}")
                answer(way, make(max_wait=5.0))
                what = f"{status} named a date, and {way.__name__}() asked before it"
                require(datetime.now(UTC) >= moment, what)
            with served.start() as (server, make):
                server.fault = f"{status} retry-after 3600"
                error = failure(way, make(max_wait=10.0), what=f"{status} that asks to wait an hour")
                require_rate_limited(
                    error, 3600.0, server, f"{status} asked to wait for an hour, and max_wait is 10 s"
                )
        with served.start() as (server, make):
            server.fault = "429"
            require_rate_limited(failure(way, make(retries=0), what="429"), None, server, "429 named no time")


def require_rate_limited(error: BackendError, wait: float | None, server: FaultyServer, what: str) -> None:
    """Fail unless the service received one request, and the error has the requested delay."""
    require(
        isinstance(error, RateLimitedError) and error.retry_after == wait and len(server.received) == 1,
        f"{what}: expected a RateLimitedError with retry_after = {wait} after one request, but got "
        f"{error!r} with {getattr(error, 'retry_after', 'no retry_after')} after {len(server.received)}",
    )
