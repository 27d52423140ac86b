"""Asking the local arms: on one state of the collection, with queries that are embedded while none is held.

An embedder is somebody else's code and may hang, and whoever holds a state keeps writers waiting. So queries are
embedded while the arms that need no vectors run, and a state is held by calls that read an index alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from hybridrank.collection import Collection, MemoryCollection
from hybridrank.collection.indexes.view import View
from hybridrank.component.protocols import Embedder, Index, IndexedRetriever, Retriever, VectorIndex
from hybridrank.component.validation import checked_vectors
from hybridrank.errors import InputError
from hybridrank.runtime.deadline import all_but, limited, remaining
from hybridrank.runtime.drivers import Call, Outcome, begin, come, run_all
from hybridrank.runtime.threads import Work
from hybridrank.types import Query, Ranking

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LocalArms"]

_LOOKS = 0.5  # seconds
_RESERVE = 0.05  # the part of a deadline that is kept for what comes after

Retrieve: TypeAlias = Callable[[str, Retriever, Sequence[Query], int], Sequence[Ranking]]
"""Asks an arm of this name, and checks its answer."""


class LocalArms:
    """The arms of a pipeline whose indexes are in its collection."""

    def __init__(
        self, indexers: Mapping[str, IndexedRetriever], collection: Collection | MemoryCollection
    ) -> None:
        self._indexers = indexers
        self._collection = collection
        indexes = {name: indexer.create_index() for name, indexer in indexers.items()}
        self._embedders = {
            name: index.embedder for name, index in indexes.items() if isinstance(index, VectorIndex)
        }

    @contextmanager
    def retrieving(
        self, queries: Sequence[Query], k: int, *, retrieve: Callable[[View], Retrieve]
    ) -> Iterator[tuple[View, dict[str, Outcome]]]:
        """What each arm finds, and the state that it is found in, which is held until the block ends.

        Raises:
            InputError: a query has a vector for no arm, or of other dimensions than its arm's.
        """
        with limited(all_but(_RESERVE)):
            embedding = _Embedding(self._embedders, queries)
        plain = [name for name in self._indexers if name not in embedding.arms]
        found: dict[str, Outcome] = {}
        state: object = None
        if embedding.works and plain:
            with self._collection.reading() as view:
                state = view.state
                with limited(all_but(_RESERVE)):
                    calls = self._calls(view, plain, embedding, queries, k, retrieve(view))
                    works = begin(calls)
                    _wait_for_either(embedding.works, works)
                    done = embedding.over
                    if done:
                        found = self._run(view, list(embedding.arms), embedding, queries, k, retrieve(view))
                    outcomes, late = come(calls, works)
                found |= zip(plain, outcomes, strict=True)
                if late:
                    view.abandon(late)
                if done:
                    yield view, {name: found[name] for name in self._indexers}
                    return
        with limited(all_but(_RESERVE)):
            embedding.wait()
        with self._collection.reading() as view:
            if view.state is not state:
                found = {}  # something has changed meanwhile: the arms must agree
            missing = [name for name in self._indexers if name not in found]
            with limited(all_but(_RESERVE)):
                found |= self._run(view, missing, embedding, queries, k, retrieve(view))
            yield view, {name: found[name] for name in self._indexers}

    def _run(
        self,
        view: View,
        names: Sequence[str],
        embedding: _Embedding,
        queries: Sequence[Query],
        k: int,
        retrieve: Retrieve,
    ) -> dict[str, Outcome]:
        """What these arms find; those whose queries could not be embedded have failed with that."""
        found = {name: failure for name in names if (failure := embedding.failure(name)) is not None}
        asked = [name for name in names if name not in found]
        calls = self._calls(view, asked, embedding, queries, k, retrieve)
        outcomes, late = run_all(calls) if calls else ([], [])
        if late:
            view.abandon(late)
        for name, outcome in zip(asked, outcomes, strict=True):
            found[name] = replace(outcome, seconds=outcome.seconds + embedding.seconds(name))
        return found

    def _calls(
        self,
        view: View,
        names: Sequence[str],
        embedding: _Embedding,
        queries: Sequence[Query],
        k: int,
        retrieve: Retrieve,
    ) -> list[Call]:
        resolved = [view.resolve(query) for query in queries]
        return [
            Call(
                partial(_ask, retrieve, name, view.indexes[name], partial(embedding.queries, name, resolved), k),
                backend=self._indexers[name],
            )
            for name in names
        ]


def _ask(
    retrieve: Retrieve, name: str, index: Index, queries: Callable[[Index], Sequence[Query]], k: int
) -> Sequence[Ranking]:
    return retrieve(name, index, queries(index), k)


class _Embedding:
    """The embedding of queries for the arms that hold vectors: a call for each embedder, begun at once."""

    def __init__(self, embedders: Mapping[str, Embedder], queries: Sequence[Query]) -> None:
        for query in queries:
            if unknown := [arm for arm in query.vectors if arm not in embedders]:
                raise InputError(
                    f"the query {query.text!r:.80} has a vector for {unknown[0]!r}, which is no arm that holds "
                    f"vectors (there are: {', '.join(embedders) or 'none'})"
                )
        self._embedders = embedders
        groups: list[tuple[Embedder, list[str], set[int]]] = []
        for arm, embedder in embedders.items():
            if places := {n for n, query in enumerate(queries) if _given(query, arm) is None}:
                for known, arms, wanted in groups:
                    if known is embedder or known == embedder:
                        arms.append(arm)
                        wanted |= places
                        break
                else:
                    groups.append((embedder, [arm], places))
        self.arms = {arm: number for number, (_, arms, _) in enumerate(groups) for arm in arms}
        self._places = [sorted(places) for *_, places in groups]
        self._calls = [
            Call(partial(_embed, embedder, [queries[n].text for n in places]), backend=embedder)
            for (embedder, *_), places in zip(groups, self._places, strict=True)
        ]
        self._outcomes: list[Outcome] = []
        self.works = begin(self._calls, purpose="embedder")

    @property
    def over(self) -> bool:
        """Whether all is embedded, or has failed."""
        return all(work.finished for work in self.works)

    def wait(self) -> None:
        """Wait until it is over, until the deadline if there is one: what is late then has failed."""
        if not self._outcomes:
            self._outcomes, _ = come(self._calls, self.works)

    def _outcome(self, arm: str) -> Outcome | None:
        self.wait()
        return self._outcomes[self.arms[arm]] if arm in self.arms else None

    def failure(self, arm: str) -> Outcome | None:
        """What came of the arm's queries, if that is no vectors."""
        outcome = self._outcome(arm)
        return None if outcome is None or outcome.error is None else outcome

    def seconds(self, arm: str) -> float:
        """What embedding them took."""
        outcome = self._outcome(arm)
        return 0.0 if outcome is None else outcome.seconds

    def queries(self, arm: str, queries: Sequence[Query], index: Any) -> Sequence[Query]:
        """The queries with the vectors that are for this arm."""
        if arm not in self._embedders:
            return queries
        rows: dict[int, NDArray[np.float32]] = {}
        outcome = self._outcome(arm)
        if outcome is not None:
            source = _source(self._embedders[arm])
            matrix = checked_vectors(outcome.value, count=len(outcome.value), source=source, dim=index.dim)
            rows = dict(zip(self._places[self.arms[arm]], matrix, strict=True))
        asked = []
        for place, query in enumerate(queries):
            vector = _given(query, arm)
            if vector is None:
                vector = rows[place]
            elif index.dim not in (None, len(vector)):
                raise InputError(
                    f"the vector of query {query.text!r:.80} has {len(vector)} dimensions, not {index.dim} as "
                    f"those of {arm!r}; Query(vectors={{...}}) gives each arm its own"
                )
            asked.append(query if vector is query.vector else replace(query, vector=vector, vectors={}))
        return asked


def _given(query: Query, arm: str) -> NDArray[np.float32] | None:
    return query.vectors.get(arm, query.vector)


def _source(embedder: Embedder) -> str:
    return f'the embedder "{getattr(embedder, "use", type(embedder).__name__)}"'


def _embed(embedder: Embedder, texts: list[str]) -> NDArray[np.float32]:
    return checked_vectors(embedder.embed(texts, role="query"), count=len(texts), source=_source(embedder))


def _wait_for_either(one: Sequence[Work[Any]], other: Sequence[Work[Any]]) -> None:
    """Wait until all of either are over, or the time is up."""
    over = threading.Lock()
    over.acquire()

    def look() -> None:
        if all(work.finished for work in one) or all(work.finished for work in other):
            with suppress(RuntimeError):  # told already
                over.release()

    for work in (*one, *other):
        work.when_done(look)
    seconds = remaining()
    until = float("inf") if seconds is None else monotonic() + seconds
    while (left := until - monotonic()) > 0 and not over.acquire(timeout=min(left, _LOOKS)):
        for work in (*one, *other):
            work.hurry()
