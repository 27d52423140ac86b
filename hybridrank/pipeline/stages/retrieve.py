"""Retrieve: ask all arms in parallel for their best candidates.

Local arms are searched, fused and fetched from one state of the collection. If other arms are remote, no state is
held while they respond: if the collection has changed by then, the local arms are searched again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hybridrank.collection.indexes.view import View
from hybridrank.collection.units import parent_id
from hybridrank.component.protocols import Retriever, VectorSource
from hybridrank.component.validation import validate_vectors
from hybridrank.errors import BackendTimeoutError, BackendUnavailableError, described
from hybridrank.pipeline.arm_calls import retrieve_from
from hybridrank.pipeline.local_arms import Rankings, Retrieve
from hybridrank.pipeline.remote_arms import absent, matching
from hybridrank.pipeline.setup import Setup
from hybridrank.pipeline.stages.fuse import Asked, ParentOf, Retrieved, fuse
from hybridrank.pipeline.state import QueryState, SearchOptions
from hybridrank.runtime.deadline import all_but, limited, remaining
from hybridrank.runtime.drivers import Call, Outcome, Plan, ask, ask_all
from hybridrank.types import Document, Query, Ranking

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["retrieve"]

_log = logging.getLogger(__name__)

_RESERVE = 0.05
"""The part of a deadline that is kept for the stages after remote arms."""


def retrieve(setup: Setup, options: SearchOptions, states: Sequence[QueryState]) -> Plan[list[QueryState]]:
    """The states with their stages up to the fusion, and the documents and vectors that later stages read."""
    search = _Retrieval(setup, options, states)
    if setup.remote:
        return (yield from search.with_remote_arms())
    return (yield from search.local_arms_only())


@dataclass(frozen=True, slots=True)
class _Local:
    """The results of the local arms, the searched state of the collection, and documents and vectors from it."""

    arms: Mapping[str, Outcome[Rankings]]
    found: frozenset[str] = frozenset()
    state: object = None
    documents: Mapping[str, Document] = field(default_factory=dict)
    vectors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    parent_of: ParentOf = str

    def is_past(self, view: View) -> bool:
        """Whether the collection has changed since."""
        return self.state is not None and view.state is not self.state


class _Retrieval:
    """One batch of queries in the arms and the fusion."""

    def __init__(self, setup: Setup, options: SearchOptions, states: Sequence[QueryState]) -> None:
        self.setup = setup
        self.options = options
        self.states = states
        self.asked = Asked.of(states)

    def local_arms_only(self) -> Plan[list[QueryState]]:
        """Retrieve, fuse and fetch in one call."""
        outcome = yield from ask(Call(self._search, backend=self.setup.config.fusion))
        refused = isinstance(outcome.error, BackendUnavailableError)
        if remaining() is not None and refused:  # others were late before
            outcome = outcome.without_value(BackendTimeoutError(str(outcome.error)))
        if not outcome.late:
            return outcome.get()
        return self._fuse(Retrieved(self._all_late(outcome)))

    def with_remote_arms(self) -> Plan[list[QueryState]]:
        """Ask the remote arms and, in parallel, the local ones; then fuse, and fetch what is missing."""
        setup = self.setup
        calls = setup.remote_arms.calls(self.asked.queries, self.options.fetch_k)
        with limited(all_but(_RESERVE)):
            if setup.local:
                both: list[Call[Any]] = [*calls, Call(self._retrieve_local)]
                outcomes: list[Outcome[Any]] = yield from ask_all(both)
                whole: Outcome[_Local] = outcomes.pop()
                local = _Local(self._all_late(whole)) if whole.late else whole.get()
            else:
                outcomes = yield from ask_all(calls)
                local = _Local({})
        remote = setup.remote_arms.by_arm(outcomes)
        joined = yield from ask(Call(partial(self._join, local, remote)))
        if joined.late:
            return self._fuse(Retrieved({**local.arms, **remote}, local.documents, complete=False))
        return joined.get()

    def _all_late(self, outcome: Outcome[Any]) -> dict[str, Outcome[Rankings]]:
        """The outcomes of the local arms, which are late together."""
        return dict.fromkeys(self.setup.local, outcome.without_value())

    def _fuse(self, retrieved: Retrieved) -> list[QueryState]:
        return fuse(self.setup, self.options, self.asked, self.states, retrieved)

    def _search(self) -> list[QueryState]:
        """Retrieve and fuse on one state of the collection, and fetch from it what later stages read."""
        with self._retrieving() as (view, arms):
            ids = _found_by(arms)
            vectors = self._vectors(view, ids)
            parent_of = _parents(self.options, view)
            view.retrieved(ids)  # the fusion is third-party code: it holds no index
            states = self._fuse(Retrieved(arms, parent_of=parent_of))
            found = view.found(self._shown(states))
            return [QueryState(state.query, state.stages, found, vectors) for state in states]

    def _retrieving(self) -> AbstractContextManager[tuple[View, dict[str, Outcome[Rankings]]]]:
        retrieve = partial(_retriever, self.options)
        return self.setup.arms.retrieving(self.asked.queries, self.options.fetch_k, retrieve=retrieve)

    def _most_shown(self) -> int | None:
        """How many of the fused candidates later stages and the result read; None for all of them."""
        config = self.setup.config
        if config.reranker is not None:
            return max(self.options.k, config.rerank_k)
        return None if config.adjust else self.options.k

    def _shown(self, states: Sequence[QueryState]) -> set[str]:
        most = self._most_shown()
        return {doc_id for state in states for doc_id in state.stages[-1].ids[:most]}

    def _retrieve_local(self) -> _Local:
        """The results of the local arms next to remote ones, and the documents at the top of each.

        These are most likely read later; the others are fetched after the fusion.
        """
        with self._retrieving() as (view, arms):
            rankings = [ranking for arm in arms.values() if arm.error is None for ranking in arm.get()]
            top = {doc_id for ranking in rankings for doc_id in ranking.ids[: self._most_shown()]}
            vectors = self._vectors(view, top)
            parent_of = _parents(self.options, view)
            return _Local(arms, _found_by(arms), view.state, dict(view.found(top)), vectors, parent_of)

    def _join(self, local: _Local, remote: Mapping[str, Outcome[Rankings]]) -> list[QueryState]:
        """Fuse what all arms found, and fetch from one state of the collection what later stages read."""
        states = self._joined(local, remote)
        if states is None:  # the collection has changed since the local arms were asked
            with self._retrieving() as (view, arms):
                ids = _found_by(arms) | absent(remote)
                vectors, parent_of = self._vectors(view, ids), _parents(self.options, view)
                view.retrieved(ids)
                local = _Local(arms, _found_by(arms), None, dict(view.units(ids)), vectors, parent_of)
            states = self._joined(local, remote)
        return states or []

    def _joined(self, local: _Local, remote: Mapping[str, Outcome[Rankings]]) -> list[QueryState] | None:
        """As `_join`; None where the collection has left the state that the local arms have searched.

        Nothing is held while the fusion works, which is third-party code.
        """
        held, vectors = dict(local.documents), dict(local.vectors)
        filtered = any(query.filters is not None for query in self.asked.queries)
        wanted = absent(remote) - held.keys() - (frozenset() if filtered else local.found)
        if wanted:
            with self.setup.collection.reading() as view:
                if local.is_past(view):
                    return None
                held.update(view.units(wanted))
        arms = {**local.arms, **matching(self.asked.queries, remote, held)}
        states = self._fuse(Retrieved(arms, held, local.found, complete=False, parent_of=local.parent_of))
        ids = self._shown(states)
        missing = {i for state in states for i in self._shown([state]) - state.found.keys()}
        unread = ids - vectors.keys() if self.setup.needs_vectors else set()
        if missing or unread:
            with self.setup.collection.reading() as view:
                if local.is_past(view):
                    return None
                held.update(view.found(missing))
                vectors.update(self._vectors(view, unread))
        return [QueryState(state.query, state.stages, {**held, **state.found}, vectors) for state in states]

    def _vectors(self, view: View, ids: Collection[str]) -> dict[str, NDArray[np.float32]]:
        """The vectors of these units in the first arm that has any, if an adjuster needs them."""
        if not self.setup.needs_vectors:
            return {}
        for name, index in view.indexes.items():
            if isinstance(index, VectorSource):
                order = list(ids)
                try:
                    rows = validate_vectors(index.vectors(order), count=len(order), source=name, unit=False)
                except Exception as error:
                    _log.warning("the vectors of retriever %r cannot be read: %s", name, described(error))
                    return {}
                return dict(zip(order, rows, strict=True))
        return {}


def _parents(options: SearchOptions, view: View) -> ParentOf:
    """The document of each unit, where passages count as their documents; else the unit itself."""
    if not (options.per_document and view.splits):
        return str
    return partial(parent_id, lookalikes=view.lookalikes())


def _retriever(options: SearchOptions, view: View) -> Retrieve:
    if not (options.per_document and view.splits):
        return retrieve_from
    return partial(_retrieve_parents, _parents(options, view))


def _retrieve_parents(
    parent_of: ParentOf, name: str, arm: Retriever, queries: Sequence[Query], k: int
) -> Rankings:
    """As many of the best passages as it takes for `k` documents to be among them."""
    depth = k
    while True:
        rankings = retrieve_from(name, arm, queries, depth)
        parents = [[parent_of(unit) for unit in ranking.ids] for ranking in rankings]
        if all(len(units) < depth or len(set(units)) >= k for units in parents):
            return [_down_to(ranking, units, k) for ranking, units in zip(rankings, parents, strict=True)]
        depth *= 4


def _down_to(ranking: Ranking, parents: Sequence[str], k: int) -> Ranking:
    """The ranking down to the first passage of its k-th document."""
    first = {parent: place for place, parent in reversed(list(enumerate(parents)))}
    places = sorted(first.values())
    end = places[k - 1] + 1 if len(places) >= k else len(parents)
    return replace(ranking, ids=ranking.ids[:end], scores=ranking.scores[:end])


def _found_by(arms: Mapping[str, Outcome[Rankings]]) -> frozenset[str]:
    """The ids that arms have found, for all queries."""
    rankings = [ranking for arm in arms.values() if arm.error is None for ranking in arm.get()]
    return frozenset().union(*(ranking.ids for ranking in rankings))
