"""Reranking in one call: any texts, any registered reranker, no index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from hybridrank.component.protocols import Reranker
from hybridrank.component.registry import component_class, create
from hybridrank.errors import ConfigError, InputError
from hybridrank.relevance.scale import Scale
from hybridrank.rerank.members import ascore_member, known_identity, names_of, score_member
from hybridrank.types import Candidates, Document, Query, Scores, Span
from hybridrank.values.arguments import whole_number
from hybridrank.values.printable import shown

__all__ = ["Reranked", "arerank", "rerank"]

_DEFAULT = "cross-encoder"


@dataclass(frozen=True, slots=True)
class Reranked:
    """One of the texts given to `rerank`: its `index` there (from 0), and its `score` (higher is better).

    `score` is on the reranker's own scale, and comparable only within one query. `relevance` is the probability
    that the text is relevant, if the reranker is calibrated; otherwise None. `spans` are the parts that the
    reranker found relevant, best first, if it reports any.
    """

    index: int
    score: float
    document: Document
    relevance: float | None = None
    spans: tuple[Span, ...] = ()

    @property
    def text(self) -> str:
        """The document's text."""
        return self.document.text


def rerank(
    query: str | Query,
    texts: Iterable[str | Document],
    *,
    top_n: int | None = None,
    reranker: str | Mapping[str, Any] | Reranker = _DEFAULT,
) -> list[Reranked]:
    """Score texts or documents for a query: the best `top_n` first, or all of them; ties keep the order given.

    `reranker` is a registered name, a table with ``use`` and its options, or a reranker. A named one is cached
    with its model, so that later calls load nothing.

    >>> from hybridrank import Candidates, Component, rerank
    >>> class Longest(Component):
    ...     use = "longest"
    ...
    ...     def score(self, batch):
    ...         return [[float(len(document.text)) for document in each.documents] for each in batch]
    >>> [(best.index, best.text) for best in rerank("question", ["a", "ccc", "bb"], top_n=2, reranker=Longest())]
    [(1, 'ccc'), (2, 'bb')]

    Raises:
        InputError: the query, a text or `top_n` is unusable.
        ConfigError: there is no such reranker, or an option is wrong.
        HybridrankError: the reranker failed, with what it raised.
    """
    candidates, least = _candidates(query, texts), _top_n(top_n)
    chosen = _reranker(reranker)
    if not candidates.documents:
        return []
    return _best(candidates, score_member(chosen, [candidates], name=names_of([chosen])[0])[0], least, chosen)


async def arerank(
    query: str | Query,
    texts: Iterable[str | Document],
    *,
    top_n: int | None = None,
    reranker: str | Mapping[str, Any] | Reranker = _DEFAULT,
) -> list[Reranked]:
    """Like `rerank`, without blocking the event loop."""
    candidates, least = _candidates(query, texts), _top_n(top_n)
    chosen = _reranker(reranker)
    if not candidates.documents:
        return []
    scores = await ascore_member(chosen, [candidates], name=names_of([chosen])[0])
    return _best(candidates, scores[0], least, chosen)


def _best(candidates: Candidates, scores: Scores, top_n: int | None, reranker: Reranker) -> list[Reranked]:
    curve = Scale.of(None, reranker, identity=known_identity(reranker)).curve
    order = sorted(range(len(scores)), key=lambda index: -scores[index])  # stable: ties keep their order
    return [
        Reranked(
            index,
            scores[index],
            candidates.documents[index],
            None if curve is None else curve(scores[index]),
            scores.spans[index],
        )
        for index in order[:top_n]
    ]


def _candidates(query: str | Query, texts: Iterable[str | Document]) -> Candidates:
    if isinstance(texts, (str, Document)):
        raise InputError(f"texts must be a collection of texts or documents, not one: write [{shown(texts)}]")
    try:
        given = list(texts)
    except TypeError:
        raise InputError(f"texts must be a collection of texts or documents, not {type(texts).__name__}") from None
    return Candidates(Query.of(query), [_document(index, text) for index, text in enumerate(given)])


def _document(index: int, text: object) -> Document:
    if isinstance(text, Document):
        return text
    if not isinstance(text, str):
        raise InputError(f"texts[{index}] must be a str or a Document, not {type(text).__name__}")
    return Document(str(index), text)


def _top_n(top_n: int | None) -> int | None:
    return None if top_n is None else whole_number(top_n, "top_n", least=1)


def _reranker(reranker: str | Mapping[str, Any] | Reranker) -> Reranker:
    if isinstance(reranker, str):
        return _kept(component_class("reranker", reranker), "{}")
    if isinstance(reranker, Mapping):
        options = dict(reranker)
        if not isinstance(use := options.pop("use", None), str):
            return _create(reranker)
        try:
            written = json.dumps(options, sort_keys=True)
        except (TypeError, ValueError):  # an option is an object: no later call could be known to mean the same
            return _create(reranker)
        return _kept(component_class("reranker", use), written)
    if isinstance(reranker, type) or not isinstance(reranker, Reranker):
        raise ConfigError(f"{shown(reranker)} is no reranker: give a name, a table, or an object with score()")
    return reranker


def _create(table: Mapping[str, Any]) -> Reranker:
    made: Reranker = create("reranker", table)
    return made


if TYPE_CHECKING:

    class RerankModule(Protocol):
        """``hybridrank.rerank`` as type checkers see it: the function, and the package that holds the classes."""

        def __call__(
            self,
            query: str | Query,
            texts: Iterable[str | Document],
            *,
            top_n: int | None = None,
            reranker: str | Mapping[str, Any] | Reranker = _DEFAULT,
        ) -> list[Reranked]: ...

        def __getattr__(self, name: str) -> Any: ...


@lru_cache(maxsize=8)
def _kept(cls: Any, options: str) -> Reranker:
    made: Reranker = cls(**json.loads(options))
    return made
