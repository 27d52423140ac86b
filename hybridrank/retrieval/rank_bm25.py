"""The package rank_bm25 as a retriever: pure Python, built anew after every change; for comparison."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from hybridrank import forking
from hybridrank.component import Component
from hybridrank.errors import InputError
from hybridrank.text import Language, analyzer
from hybridrank.types import Document, Progress, Query, Ranking

if TYPE_CHECKING:
    from rank_bm25 import BM25 as Model

__all__ = ["RankBM25", "RankBM25Index"]


class RankBM25(Component):
    """The scores of rank_bm25's BM25Okapi, BM25L or BM25Plus, on hybridrank's terms.

    `epsilon` is read by ``okapi``, `delta` by the other two; where they are left out, rank_bm25's own defaults
    count. `retrieval.bm25.BM25` gives the same scores from an inverted index, and is faster by far.

    Raises:
        ConfigError: an option is unknown, out of its range, or one that the variant does not read.
    """

    use = "rank-bm25"

    variant: Literal["okapi", "l", "plus"] = "okapi"
    k1: float = Field(default=1.5, gt=0, le=1000)
    b: float = Field(default=0.75, ge=0, le=1)
    delta: float | None = Field(default=None, ge=0, le=1000)
    epsilon: float | None = Field(default=None, ge=0, le=1000)
    language: Language = "english"

    @model_validator(mode="after")
    def _read_every_option(self) -> RankBM25:
        unread = "delta" if self.variant == "okapi" else "epsilon"
        if getattr(self, unread) is not None:
            raise ValueError(f'variant "{self.variant}" has no {unread}; leave it out')
        return self

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it computes on what it is given."""
        return {}

    def create_index(self) -> RankBM25Index:
        """Make an empty index of this configuration."""
        return RankBM25Index(self)


class RankBM25Index:
    """The terms of each document, and rank_bm25's model of them, made at the first search after a change."""

    def __init__(self, component: RankBM25) -> None:
        self.component = component
        self._analyzer = analyzer(component.language)
        self._terms: dict[str, list[str]] = {}
        self._model: Model | None = None
        self._ids: list[str] = []
        self._lock = forking.new_lock()

    def __len__(self) -> int:
        return len(self._terms)

    def __contains__(self, doc_id: object, /) -> bool:
        return doc_id in self._terms

    def encode(self, documents: Sequence[Document], *, progress: Progress | None = None) -> list[list[str]]:
        """Split the documents into terms."""
        encoded = []
        for document in documents:
            encoded.append(self._analyzer.terms(document.content))
            if progress:
                progress(len(encoded), len(documents))
        return encoded

    def add(self, ids: Sequence[str], encoded: list[list[str]]) -> None:
        """Hold the encoded documents under `ids` (distinct), in place of any already held under them."""
        self._terms.update(zip(ids, encoded, strict=True))
        self._model = None

    def delete(self, ids: Collection[str]) -> None:
        """Drop these documents; ids that are not held are passed over."""
        for doc_id in ids:
            self._terms.pop(doc_id, None)
        self._model = None

    def retrieve(self, queries: Sequence[Query], *, k: int) -> list[Ranking]:
        """Rank the best `k` documents that hold any term of each query.

        Raises:
            InputError: `k` is less than 1.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        if not any(self._terms.values()):  # rank_bm25 divides by the number of terms
            return [Ranking() for _ in queries]
        with self._lock:
            if self._model is None:
                self._ids = list(self._terms)
                self._model = self._build()
            model, ids = self._model, self._ids
        rankings = []
        for query in queries:
            terms = self._analyzer.terms(query.text)
            known = set(terms)
            rows = [
                row
                for row, counts in enumerate(model.doc_freqs)
                if not known.isdisjoint(counts) and (query.ids is None or ids[row] in query.ids)
            ]
            scores = model.get_batch_scores(terms, rows) if rows else []
            rankings.append(Ranking.of(zip((ids[row] for row in rows), scores, strict=True), k=k))
        return rankings

    def _build(self) -> Model:
        from rank_bm25 import BM25L, BM25Okapi, BM25Plus

        options = self.component
        model = {"okapi": BM25Okapi, "l": BM25L, "plus": BM25Plus}[options.variant]
        extra = {"delta": options.delta, "epsilon": options.epsilon}
        given = {name: value for name, value in extra.items() if value is not None}
        return model(list(self._terms.values()), k1=options.k1, b=options.b, **given)
