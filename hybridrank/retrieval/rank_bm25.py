"""The package rank_bm25 as a retriever: pure Python, rebuilt after every change; for comparison."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field, model_validator

from hybridrank.component.base import Component
from hybridrank.errors import InputError
from hybridrank.retrieval.analysis import Language, analyzer
from hybridrank.retrieval.analysis.words import units
from hybridrank.runtime import fork
from hybridrank.types import Document, Progress, Query, Ranking

if TYPE_CHECKING:
    from rank_bm25 import BM25 as Model

__all__ = ["RankBM25", "RankBM25Index"]


class RankBM25(Component):
    """The scores of rank_bm25's BM25Okapi, BM25L or BM25Plus, on hybridrank's terms.

    `epsilon` applies to ``okapi``, `delta` to the other two; the defaults are rank_bm25's. `retrieval.bm25.BM25`
    gives the same scores from an inverted index, and is much faster.

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
    fold_accents: bool | None = None

    @model_validator(mode="after")
    def _read_every_option(self) -> RankBM25:
        unread = "delta" if self.variant == "okapi" else "epsilon"
        if getattr(self, unread) is not None:
            raise ValueError(f'variant "{self.variant}" has no {unread}; leave it out')
        return self

    def trust_needed(self) -> Mapping[str, str]:
        """Nothing: it only computes."""
        return {}

    def create_index(self) -> RankBM25Index:
        """Create an empty index of this configuration."""
        return RankBM25Index(self)


class _Encoded(NamedTuple):
    """A document's terms, its stop words, and its length in words."""

    terms: list[str]
    stop_words: list[str]
    length: int


class RankBM25Index:
    """The terms of each document, and rank_bm25's models of them, built at the first search after a change."""

    def __init__(self, component: RankBM25) -> None:
        self.component = component
        self._analyzer = analyzer(component.language, component.fold_accents)
        self._documents: dict[str, _Encoded] = {}
        self._models: tuple[list[str], list[Model | None]] | None = None
        self._lock = fork.new_lock()

    def __len__(self) -> int:
        return len(self._documents)

    def __contains__(self, doc_id: object, /) -> bool:
        return doc_id in self._documents

    def encode(self, documents: Sequence[Document], *, progress: Progress | None = None) -> list[_Encoded]:
        """Split the documents into terms."""
        encoded = []
        for document in documents:
            text = document.content
            terms = self._analyzer.terms(text)
            stop_words = sorted(self._analyzer.stop_words.keys() & self._analyzer.words(text))
            encoded.append(_Encoded(terms, stop_words, self._analyzer.length(text)))
            if progress:
                progress(len(encoded), len(documents))
        return encoded

    def add(self, ids: Sequence[str], encoded: list[_Encoded]) -> None:
        """Add the encoded documents under `ids` (distinct), replacing documents with the same ids."""
        self._documents.update(zip(ids, encoded, strict=True))
        self._models = None

    def delete(self, ids: Collection[str]) -> None:
        """Delete these documents; unknown ids are ignored."""
        for doc_id in ids:
            self._documents.pop(doc_id, None)
        self._models = None

    def retrieve(self, queries: Sequence[Query], *, k: int) -> list[Ranking]:
        """Rank the best `k` documents that contain any term of each query.

        Raises:
            InputError: `k` is less than 1.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        with self._lock:
            if self._models is None:
                held = self._documents.values()
                terms, stop_words = ([each.terms for each in held], [each.stop_words for each in held])
                self._models = list(self._documents), [self._build(terms), self._build(stop_words)]
            ids, models = self._models
        return [self._rank(ids, models, query, k) for query in queries]

    def _rank(self, ids: list[str], models: Sequence[Model | None], query: Query, k: int) -> Ranking:
        scores: dict[str, float] = {}
        terms, stop_words = self._analyzer.query(query.text)
        for model, asked in zip(models, (terms, stop_words), strict=True):
            if model is None or not asked:
                continue
            weights = {each: weight for term, weight in asked.items() for each in _spelled_out(term, model.idf)}
            rows = [
                row
                for row, counts in enumerate(model.doc_freqs)
                if not weights.keys().isdisjoint(counts) and (query.ids is None or ids[row] in query.ids)
            ]
            if asked is stop_words:
                rows = [row for row in rows if weights.keys() <= model.doc_freqs[row].keys()] or rows
            for term, weight in weights.items() if rows else ():
                for row, score in zip(rows, model.get_batch_scores([term], rows), strict=True):
                    scores[ids[row]] = scores.get(ids[row], 0.0) + weight * score
        return Ranking.of(scores.items(), k=k)

    def _build(self, terms: list[list[str]]) -> Model | None:
        from rank_bm25 import BM25L, BM25Okapi, BM25Plus

        if not any(terms):  # rank_bm25 divides by their number
            return None
        options = self.component
        model = {"okapi": BM25Okapi, "l": BM25L, "plus": BM25Plus}[options.variant]
        extra = {"delta": options.delta, "epsilon": options.epsilon}
        given = {name: value for name, value in extra.items() if value is not None}
        made: Model = model(terms, k1=options.k1, b=options.b, **given)
        made.doc_len = [each.length for each in self._documents.values()]
        made.avgdl = sum(made.doc_len) / len(made.doc_len) or 1.0
        return made


def _spelled_out(term: str, known: Iterable[str]) -> Iterable[str]:
    """Give the terms that hold a single character of a spaceless script; any other term itself."""
    return [each for each in known if term in units(each)] if len(units(term)) == 1 else [term]
