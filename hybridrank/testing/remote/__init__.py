"""Checks of a component that calls a service: its connections, failures and key, and how it stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from hybridrank.testing import components, embedders, rerankers
from hybridrank.testing.kit import Tolerances
from hybridrank.testing.remote import connections, failures, key, stopping
from hybridrank.testing.served import ServedComponent

__all__ = ["CHECKS", "checks"]

CHECKS: Sequence[Callable[[ServedComponent, Tolerances], None]] = (
    connections.threads_and_loops_at_once,  # first, so that a component is first used by many at once
    connections.connections_are_kept,
    connections.calls_run_in_parallel,
    connections.closed_loops_are_released,
    connections.a_burst_leaves_nothing_running,
    failures.client_errors_are_final,
    failures.transient_failures_are_retried,
    failures.unreachable_service,
    failures.one_failure_stops_the_batch,
    failures.retry_after_is_honored,
    key.missing_key_names_its_variable,
    key.invalid_key_is_not_sent,
    key.key_is_read_at_every_call,
    key.key_is_never_shown,
    stopping.slow_service_is_abandoned,
    stopping.no_request_after_the_deadline,
    stopping.no_pause_beyond_the_deadline,
    stopping.rate_limit_is_honored,
    stopping.cancelling_stops_the_request,
    stopping.cancellation_leaves_nothing_running,
)


def checks(kind: str) -> Sequence[Callable[[ServedComponent, Tolerances], None]]:
    """The checks here, and those of every component of this kind, with a server that works correctly."""
    own: Sequence[Callable[[Any, Tolerances], None]] = embedders.CHECKS if kind == "embedder" else rerankers.CHECKS
    return (*CHECKS, *map(_while_all_is_right, (*own, *components.checks(kind))))


def _while_all_is_right(check: Callable[[Any, Tolerances], None]) -> Callable[[ServedComponent, Tolerances], None]:
    @wraps(check)
    def on_served(served: ServedComponent, tolerances: Tolerances) -> None:
        with served.start() as (_, make):
            check(make(), tolerances)

    return on_served
