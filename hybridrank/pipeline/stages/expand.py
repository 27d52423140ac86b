"""Expand: add other formulations of each query."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from hybridrank.component.protocols import AsyncExpander, Expander
from hybridrank.errors import BackendResponseError, BackendTimeoutError, described
from hybridrank.pipeline.setup import SETUP_ERRORS, Setup
from hybridrank.pipeline.state import QueryState, SearchOptions
from hybridrank.result.trace import Stage
from hybridrank.runtime.deadline import all_but, limited, remaining
from hybridrank.runtime.drivers import Call, Plan, ask
from hybridrank.types import Formulation, Query

__all__ = ["expand"]

_log = logging.getLogger(__name__)

_SHARE = 0.5
"""The part of a deadline that expanding may take: without its answer the search goes on."""


def expand(setup: Setup, options: SearchOptions, states: Sequence[QueryState]) -> Plan[None]:
    """Add the expander's formulations to each query that has a text."""
    expander = setup.config.expand
    asked = [state for state in states if not state.query.is_blank]
    if expander is None or not asked:
        return
    queries = [state.query for state in asked]
    started = perf_counter()
    with limited(all_but(_SHARE)):
        outcome = yield from ask(_call(expander, queries))
    error = outcome.error
    start, late = options.start(started), isinstance(error, BackendTimeoutError) and remaining() is not None
    if error is not None:
        if isinstance(error, SETUP_ERRORS):
            raise error
        if not late:
            _log.warning("the expander failed, only the queries themselves are searched for: %s", described(error))
        why = "deadline: not expanded" if late else described(error)
        for state in asked:
            state.stages.append(
                Stage("expand", "expand", outcome.seconds, error=why, batch=len(asked), start=start)
            )
        return
    for state, formulations in zip(asked, outcome.get(), strict=True):
        details = {"formulations": [{"text": each.text, "weight": each.weight} for each in formulations]}
        state.query = replace(state.query, formulations=(*state.query.formulations, *formulations))
        state.stages.append(
            Stage("expand", "expand", outcome.seconds, details=details, batch=len(asked), start=start)
        )


def _call(expander: Expander, queries: Sequence[Query]) -> Call[list[list[Formulation]]]:
    def run() -> list[list[Formulation]]:
        return _validated(expander.expand(queries), len(queries))

    if not isinstance(expander, AsyncExpander):
        return Call(run, backend=expander)
    native = expander

    async def arun() -> list[list[Formulation]]:
        return _validated(await native.aexpand(queries), len(queries))

    return Call(run, arun, backend=expander)


def _validated(found: Any, count: int) -> list[list[Formulation]]:
    try:
        rows = [list(row) for row in found]
    except TypeError:
        raise BackendResponseError(
            f"the expander returned {type(found).__name__}, not a list of formulations for each query"
        ) from None
    if len(rows) != count:
        raise BackendResponseError(f"the expander returned {len(rows)} lists of formulations, expected {count}")
    for formulation in (each for row in rows for each in row):
        if not isinstance(formulation, Formulation):
            raise BackendResponseError(
                f"the expander returned {formulation!r:.80}, expected Formulation objects, as in "
                '[[Formulation("…")]] for one query'
            )
    return rows
