"""The plan of a search: its stages in order. It yields every call that may take long to its driver."""

from __future__ import annotations

from collections.abc import Sequence

from hybridrank.pipeline.local_arms import ReindexedError
from hybridrank.pipeline.setup import Setup
from hybridrank.pipeline.stages.adjust import adjust
from hybridrank.pipeline.stages.blend import blend
from hybridrank.pipeline.stages.expand import expand
from hybridrank.pipeline.stages.rank import rank
from hybridrank.pipeline.stages.rerank import rerank
from hybridrank.pipeline.stages.retrieve import retrieve
from hybridrank.pipeline.state import QueryState, SearchOptions
from hybridrank.result.hits import SearchResult
from hybridrank.runtime.deadline import all_but, limited
from hybridrank.runtime.drivers import Partial, Plan
from hybridrank.types import Query

__all__ = ["plan"]

_RESERVE = 0.05
"""The part of a deadline that is kept for adjusters, where there are any."""


def plan(setup: Setup, options: SearchOptions, queries: Sequence[Query]) -> Plan[list[SearchResult]]:
    """Search for several queries, batched through every stage; results in the order of `queries`.

    If `options` request streaming, it yields partial results too: the fused order, then each refinement.
    """
    observed = _Observed(setup)
    try:
        states = [QueryState(query) for query in queries]
        yield from expand(setup, options, states)
        while True:
            try:
                states = yield from retrieve(setup, options, states)  # and fuse
                break
            except ReindexedError:
                if (followed := setup.following()) is setup:
                    raise
                setup = followed
        observed.stages(states)
        if options.streaming and (setup.config.reranker is not None or setup.config.adjust):
            yield Partial(rank(setup, options, states))
        with limited(all_but(_RESERVE) if setup.config.adjust else None):
            refined = (
                (lambda so_far: rank(setup, options, _blended(setup, options, so_far)))
                if options.streaming
                else None
            )
            yield from rerank(setup, options, states, emit=refined)
        for state in states:
            blend(setup, options, state)
        observed.stages(states)
        for name, adjuster in setup.config.adjusters.items():
            if options.streaming:
                yield Partial(rank(setup, options, states))
            yield from adjust(setup, options, states, name, adjuster)
            observed.stages(states)
        results = rank(setup, options, states)
        observed.results(queries, results)
        return results
    except GeneratorExit:  # the search was abandoned
        raise
    except BaseException as error:
        observed.error(queries, error)
        raise


def _blended(setup: Setup, options: SearchOptions, states: Sequence[QueryState]) -> Sequence[QueryState]:
    for state in states:
        blend(setup, options, state)
    return states


class _Observed:
    """The events of a search that observers have received; without observers it does nothing."""

    def __init__(self, setup: Setup) -> None:
        self._observers = setup.shared.observers
        self._told: list[int] = []

    def stages(self, states: Sequence[QueryState]) -> None:
        """Report the new stages."""
        if self._observers:
            for state, told in zip(states, self._told or [0] * len(states), strict=True):
                for stage in state.stages[told:]:
                    self._observers.on_stage(state.query, stage)
            self._told = [len(state.stages) for state in states]

    def results(self, queries: Sequence[Query], results: Sequence[SearchResult]) -> None:
        """Report every query's result."""
        if self._observers:
            for query, result in zip(queries, results, strict=True):
                self._observers.on_search(query, result)

    def error(self, queries: Sequence[Query], error: BaseException) -> None:
        """Report a search that raises."""
        if self._observers:
            self._observers.on_error(queries, error)
