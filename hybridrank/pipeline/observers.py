"""Observers of searches: logging, metrics and tracing attach here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hybridrank.errors import InputError, described
from hybridrank.result.hits import SearchResult
from hybridrank.result.trace import Stage
from hybridrank.runtime import fork
from hybridrank.types import Query

__all__ = ["Observer", "Observers"]

_log = logging.getLogger(__name__)

_EVENTS = ("on_stage", "on_search", "on_error")


class Observer(Protocol):
    """Watches the searches of a pipeline. Every method is optional.

    Methods are called in the searching thread, must return quickly, and may be called by several threads
    concurrently. Exceptions that they raise are logged, and do not affect the search.
    """

    def on_stage(self, query: Query, stage: Stage) -> None:
        """A stage of this query has finished, or failed (`Stage.error`)."""

    def on_search(self, query: Query, result: SearchResult) -> None:
        """A search has finished; the trace of `result` has every stage, with its start and its duration."""

    def on_error(self, queries: Sequence[Query], error: BaseException) -> None:
        """A search has raised. Several queries that were searched together raise once."""


class Observers:
    """The observers of a pipeline; without any, it costs one truth test."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[Callable[..., object], ...]] = dict.fromkeys(_EVENTS, ())
        self._adding = fork.new_lock()

    def add(self, observer: Observer) -> None:
        """Call this observer's methods from now on.

        Raises:
            InputError: it has none of the methods of `Observer`.
        """
        found = {event: call for event in _EVENTS if callable(call := getattr(observer, event, None))}
        if not found or isinstance(observer, type):
            raise InputError(f"{observer!r:.80} is no observer: give an object with {' or '.join(_EVENTS)}")
        with self._adding:
            self._calls = {
                event: (*calls, found[event]) if event in found else calls for event, calls in self._calls.items()
            }

    def __bool__(self) -> bool:
        return any(self._calls.values())

    def on_stage(self, query: Query, stage: Stage) -> None:
        """Notify every observer of a stage."""
        self._call("on_stage", query, stage)

    def on_search(self, query: Query, result: SearchResult) -> None:
        """Notify every observer of a result."""
        self._call("on_search", query, result)

    def on_error(self, queries: Sequence[Query], error: BaseException) -> None:
        """Notify every observer of a search that raised."""
        self._call("on_error", queries, error)

    def _call(self, event: str, *arguments: Any) -> None:
        for call in self._calls[event]:
            try:
                call(*arguments)
            except Exception as error:
                _log.warning("an observer's %s failed: %s", event, described(error), exc_info=error)
