"""Expand: add other formulations of each query."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

from hybridrank.component.protocols import AsyncExpander
from hybridrank.errors import BackendResponseError, described
from hybridrank.pipeline.setup import SETUP_ERRORS, Setup
from hybridrank.pipeline.state import QueryState, SearchOptions
from hybridrank.result.trace import Stage
from hybridrank.runtime.deadline import all_but, limited
from hybridrank.runtime.drivers import Call, Plan, ask
from hybridrank.types import Formulation

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
    call = Call.then(
        partial(_validated, count=len(queries)),
        partial(expander.expand, queries),
        partial(expander.aexpand, queries) if isinstance(expander, AsyncExpander) else None,
        backend=expander,
    )
    started = perf_counter()
    with limited(all_but(_SHARE)):
        outcome = yield from ask(call)
    if isinstance(outcome.error, SETUP_ERRORS):
        raise outcome.error
    why = None
    if outcome.late:
        why = "deadline: not expanded"
    elif outcome.error is not None:
        why = described(outcome.error)
        _log.warning("the expander failed, only the queries themselves are searched for: %s", why)
    for state, formulations in zip(asked, outcome.value or [[]] * len(asked), strict=True):
        details = {"formulations": [{"text": each.text, "weight": each.weight} for each in formulations]}
        state.query = replace(state.query, formulations=(*state.query.formulations, *formulations))
        state.stages.append(
            Stage(
                "expand",
                "expand",
                outcome.seconds,
                error=why,
                details=details if why is None else {},
                batch=len(asked),
                start=options.start(started),
            )
        )


def _validated(found: Any, *, count: int) -> list[list[Formulation]]:
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
