"""Searches of the local arms on one state of the collection, and embedding of queries without holding a state.

An embedder is third-party code and may hang, and a call that holds a state keeps writers waiting. So queries are
embedded while the arms that need no vectors run, and only calls that read an index hold a state.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from hybridrank.collection.indexes.view import View
from hybridrank.collection.protocol import SearchableCollection
from hybridrank.component.protocols import Embedder, Index, IndexedRetriever, Retriever, VectorRetriever
from hybridrank.component.validation import validate_vectors
from hybridrank.errors import InputError, StorageError
from hybridrank.runtime.deadline import all_but, limited, remaining
from hybridrank.runtime.drivers import Call, Outcome, begin, run_all, wait_for
from hybridrank.runtime.threads import Work
from hybridrank.types import Query, Ranking

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix: TypeAlias = NDArray[np.float32]

__all__ = ["LocalArms", "Rankings", "ReindexedError", "Retrieve"]

_LOOKS = 0.5  # seconds
_RESERVE = 0.05  # the part of a deadline that is kept for later stages

Rankings: TypeAlias = Sequence[Ranking]

Retrieve: TypeAlias = Callable[[str, Retriever, Sequence[Query], int], Rankings]
"""Asks the arm of this name, and validates its answer."""


class ReindexedError(StorageError):
    """The collection has other arms now: the search is to be made again, with them."""


class LocalArms:
    """The arms of a pipeline whose indexes are in its collection."""

    def __init__(
        self,
        arms: Mapping[str, IndexedRetriever],
        collection: SearchableCollection,
        *,
        remote: Iterable[str] = (),
        layout: object = None,
    ) -> None:
        """`layout` is the one of the collection that the arms are of."""
        self._arms = arms
        self._layout = layout
        self._collection = collection
        self._remote = frozenset(remote)
        self._embedders = {name: arm.embedder for name, arm in arms.items() if isinstance(arm, VectorRetriever)}

    @contextmanager
    def retrieving(
        self, queries: Sequence[Query], k: int, *, retrieve: Callable[[View], Retrieve]
    ) -> Iterator[tuple[View, dict[str, Outcome[Rankings]]]]:
        """Search each arm; yields the searched state, which is held until the block ends, and the outcomes.

        Raises:
            InputError: a query has a vector for no arm, or of other dimensions than its arm's.
            ReindexedError: the collection has another layout now.
        """
        with limited(all_but(_RESERVE)):
            embedding = _Embedding(self._embedders, queries, others=self._remote)
        plain = [name for name in self._arms if name not in embedding.arms]
        found: dict[str, Outcome[Rankings]] = {}
        state: object = None
        if embedding.works and plain:
            with self._reading() as view:
                state = view.state
                with limited(all_but(_RESERVE)):
                    calls = self._calls(view, plain, embedding, queries, k, retrieve(view))
                    works = begin(calls)
                    _wait_for_either(embedding.works, works)
                    done = embedding.over
                    if done:
                        found = self._run(view, list(embedding.arms), embedding, queries, k, retrieve(view))
                    outcomes, late = wait_for(calls, works)
                found |= zip(plain, outcomes, strict=True)
                if late:
                    view.abandon(late)
                if done:
                    yield view, {name: found[name] for name in self._arms}
                    return
        with limited(all_but(_RESERVE)):
            embedding.wait()
        with self._reading() as view:
            if view.state is not state:
                found = {}  # something has changed meanwhile: the arms must agree
            missing = [name for name in self._arms if name not in found]
            with limited(all_but(_RESERVE)):
                found |= self._run(view, missing, embedding, queries, k, retrieve(view))
            yield view, {name: found[name] for name in self._arms}

    @contextmanager
    def _reading(self) -> Iterator[View]:
        with self._collection.reading() as view:
            if view.layout is not self._layout:
                raise ReindexedError("the collection was reindexed during this search: search again")
            yield view

    def _run(
        self,
        view: View,
        names: Sequence[str],
        embedding: _Embedding,
        queries: Sequence[Query],
        k: int,
        retrieve: Retrieve,
    ) -> dict[str, Outcome[Rankings]]:
        """Search these arms; an arm whose queries could not be embedded has failed for that reason."""
        found: dict[str, Outcome[Rankings]] = {}
        for name in names:
            if (failure := embedding.failure(name)) is not None:
                found[name] = failure
        asked = [name for name in names if name not in found]
        calls = self._calls(view, asked, embedding, queries, k, retrieve)
        outcomes, late = run_all(calls) if calls else ([], [])
        if late:
            view.abandon(late)
        for name, outcome in zip(asked, outcomes, strict=True):
            found[name] = embedding.counted(name, outcome)
        return found

    def _calls(
        self,
        view: View,
        names: Sequence[str],
        embedding: _Embedding,
        queries: Sequence[Query],
        k: int,
        retrieve: Retrieve,
    ) -> list[Call[Rankings]]:
        resolved = [view.resolve(query) for query in queries]
        return [
            Call(
                partial(_ask, retrieve, name, view.indexes[name], partial(embedding.queries, name, resolved), k),
                backend=self._arms[name],
            )
            for name in names
        ]


def _ask(
    retrieve: Retrieve, name: str, index: Index, queries: Callable[[Index], Sequence[Query]], k: int
) -> Rankings:
    return retrieve(name, index, queries(index), k)


class _Embedding:
    """The embedding of queries for the arms that hold vectors: one call per embedder, started at once.

    A blank text is not embedded: an arm has nothing to search for then, unless the query has a vector for it.
    """

    def __init__(self, embedders: Mapping[str, Embedder], queries: Sequence[Query], *, others: Set[str]) -> None:
        for query in queries:
            if unknown := [arm for arm in query.vectors if arm not in embedders and arm not in others]:
                raise InputError(
                    f"the query {query.text!r:.80} has a vector for {unknown[0]!r}, which is no arm that takes "
                    f"vectors (there are: {', '.join([*embedders, *sorted(others)]) or 'none'})"
                )
        self._embedders = embedders
        groups: list[tuple[Embedder, list[str], set[int]]] = []
        for arm, embedder in embedders.items():
            texts = (n for n, query in enumerate(queries) if not query.is_blank and _given(query, arm) is None)
            if places := set(texts):
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
        self._outcomes: list[Outcome[Matrix]] = []
        self.works = begin(self._calls, purpose="embedder")

    @property
    def over(self) -> bool:
        """Whether every call has finished."""
        return all(work.finished for work in self.works)

    def wait(self) -> None:
        """Wait until every call has finished, or until the deadline: late calls have then failed."""
        if not self._outcomes:
            self._outcomes, _ = wait_for(self._calls, self.works)

    def _outcome(self, arm: str) -> Outcome[Matrix] | None:
        self.wait()
        return self._outcomes[self.arms[arm]] if arm in self.arms else None

    def failure(self, arm: str) -> Outcome[Any] | None:
        """The outcome of embedding an arm's queries, if it failed."""
        outcome = self._outcome(arm)
        return None if outcome is None or outcome.error is None else outcome

    def counted(self, arm: str, outcome: Outcome[Rankings]) -> Outcome[Rankings]:
        """The outcome of an arm, with the time of embedding its queries."""
        embedded = self._outcome(arm)
        if embedded is None:
            return outcome
        return replace(outcome, seconds=outcome.seconds + embedded.seconds, started=embedded.started)

    def queries(self, arm: str, queries: Sequence[Query], index: Any) -> Sequence[Query]:
        """The queries with the vectors for this arm."""
        if arm not in self._embedders:
            return queries
        rows: dict[int, NDArray[np.float32]] = {}
        outcome = self._outcome(arm)
        if outcome is not None:
            source = _source(self._embedders[arm])
            matrix = validate_vectors(outcome.get(), count=len(outcome.get()), source=source, dim=index.dim)
            rows = dict(zip(self._places[self.arms[arm]], matrix, strict=True))
        asked = []
        for place, query in enumerate(queries):
            vector = _given(query, arm)
            if vector is None:
                vector = rows.get(place)
            elif vector.ndim != 1:
                raise InputError(
                    f"the query {query.text!r:.80} has vectors of the shape {vector.shape} for {arm!r}, "
                    "which takes one of the shape (dim,)"
                )
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
    return validate_vectors(embedder.embed(texts, role="query"), count=len(texts), source=_source(embedder))


def _wait_for_either(one: Sequence[Work[Any]], other: Sequence[Work[Any]]) -> None:
    """Wait until all calls of either group have finished, or the time has expired."""
    over = threading.Lock()
    over.acquire()

    def look() -> None:
        if all(work.finished for work in one) or all(work.finished for work in other):
            with suppress(RuntimeError):  # released already
                over.release()

    for work in (*one, *other):
        work.when_done(look)
    seconds = remaining()
    until = float("inf") if seconds is None else monotonic() + seconds
    while (left := until - monotonic()) > 0 and not over.acquire(timeout=min(left, _LOOKS)):
        for work in (*one, *other):
            work.hurry()
