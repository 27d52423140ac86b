"""An inverted index for BM25 whose statistics are exact after every change."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridrank.errors import InputError, StorageError
from hybridrank.retrieval.analysis import analyzer
from hybridrank.retrieval.analysis.words import slices
from hybridrank.retrieval.bm25.component import BM25, MAX_K1
from hybridrank.retrieval.bm25.postings import Ints, InvertedIndex, Postings
from hybridrank.retrieval.bm25.saving import read_header, read_parts, write_index
from hybridrank.retrieval.bm25.scoring import Formula, Scorer
from hybridrank.retrieval.bm25.statistics import Corpus, StatisticsProvider, Term
from hybridrank.retrieval.bm25.vocabulary import Vocabulary
from hybridrank.retrieval.ids import IdTable
from hybridrank.runtime import fork
from hybridrank.types import Document, Progress, Query, Ranking

__all__ = ["BM25Index"]

_NO_INTS = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """Documents ready to be added: the number of terms of each, postings with rows from 0, and stop words.

    The numbers of terms are those of `vocabulary`.
    """

    vocabulary: Vocabulary
    lengths: Ints
    postings: Postings
    stop_words: NDArray[np.uint8]


class BM25Index:
    """Documents indexed for BM25; a document without terms is stored, and never found.

    Many threads may search concurrently, and encode meanwhile; `add`, `delete` and the final step of `improve`
    exclude searches and each other, which the caller ensures. Deleted documents take space until `improve`.
    """

    _CHUNK = 2**18  # characters whose words are in the processor's cache together
    _SCORERS = 4  # settings of k1 and b whose weights are kept

    def __init__(self, component: BM25) -> None:
        self.component = component
        self._analyzer = analyzer(component.language, component.fold_accents)
        self._vocabulary = Vocabulary(self._analyzer)
        width = -(-len(self._analyzer.stop_words) // 8)
        self._inverted = InvertedIndex(stop_words=np.zeros((0, width), dtype=np.uint8))
        self._ids = IdTable()
        self._scorers: dict[tuple[float, float], Scorer] = {}
        self._provider: StatisticsProvider | None = None
        self._lock = fork.new_lock()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, doc_id: object, /) -> bool:
        return doc_id in self._ids

    def encode(self, documents: Sequence[Document], *, progress: Progress | None = None) -> _Encoded:
        """Split the documents into terms and count them."""
        vocabulary = self._vocabulary  # `improve` may put another in its place meanwhile
        terms, rows = [_NO_INTS], [_NO_INTS]
        lengths = np.zeros(len(documents), dtype=np.int32)
        stop_words = np.zeros((len(documents), self._inverted.stop_words.shape[1]), dtype=np.uint8)
        texts: list[str] = []
        owners: list[int] = []
        size = 0

        def number() -> None:
            tokens = vocabulary.number(texts, owners)
            terms.append(tokens.terms)
            rows.append(tokens.rows)
            held = slice(owners[0], owners[-1] + 1)
            lengths[held] += np.bincount(tokens.lengths - held.start, minlength=held.stop - held.start)
            bits = np.zeros((held.stop - held.start, stop_words.shape[1] * 8), dtype=np.uint8)
            bits[tokens.stop_rows - held.start, tokens.stop_words] = 1
            stop_words[held] |= np.packbits(bits, axis=1, bitorder="little")

        for row, document in enumerate(documents):
            for text in slices(document.content):
                texts.append(text)
                owners.append(row)
                size += len(text)
                if size >= self._CHUNK:
                    number()
                    texts, owners, size = [], [], 0
                    if progress:
                        progress(row, len(documents))
        if texts:
            number()
        if progress and len(documents):
            progress(len(documents), len(documents))
        postings = Postings.of_tokens(np.concatenate(terms), np.concatenate(rows))
        return _Encoded(vocabulary, lengths, postings, stop_words)

    def add(self, ids: Sequence[str], encoded: _Encoded) -> None:
        """Add the encoded documents under `ids` (distinct), replacing documents with the same ids."""
        if len(ids) != len(encoded.lengths):
            raise InputError(f"{len(ids)} ids for {len(encoded.lengths)} encoded documents")
        postings = encoded.postings
        if encoded.vocabulary is not self._vocabulary:
            names = encoded.vocabulary.names()
            postings = postings.renumber(self._vocabulary.adopt([names[n] for n in postings.terms.tolist()]))
        self._drop(self._ids.append(ids))
        self._inverted.append(encoded.lengths, postings, encoded.stop_words)

    def delete(self, ids: Collection[str]) -> None:
        """Delete these documents; unknown ids are ignored."""
        self._drop(self._ids.bury(ids))

    def _drop(self, rows: Ints) -> None:
        if len(rows):
            self._inverted.drop(rows)

    def improve(self) -> Callable[[], None] | None:
        """Remove deleted documents, if they are a twentieth of all; otherwise merge segments if there are many.

        Terms without documents are removed too. Runs concurrently with searches, changing nothing, and returns
        the fast step that installs the result.
        """
        if len(self._inverted) > self._inverted.live * 20 // 19 or self._unused * 2 > len(self._vocabulary.terms):
            vocabulary, inverted, kept = self._compact()
            ids = self._ids.keep(kept)

            def compact() -> None:
                self._vocabulary, self._inverted, self._ids = vocabulary, inverted, ids
                self._scorers = {}

            return compact
        if merged := self._inverted.merge_segments():
            return partial(self._inverted.replace, *merged)
        return None

    @property
    def _unused(self) -> int:
        """A lower bound of the terms without rows: of encoded documents that were never added, or not yet."""
        return len(self._vocabulary.terms) - self._inverted.terms

    def _compact(self) -> tuple[Vocabulary, InvertedIndex, Ints]:
        """The index without dropped rows, with terms renumbered from 0; and the new number of each row."""
        names = self._vocabulary.names()
        inverted, kept = self._inverted.compact()
        vocabulary = Vocabulary(self._analyzer, [names[number] for number in inverted.whole.terms.tolist()])
        return vocabulary, inverted.number_terms(), kept

    def statistics(self) -> dict[str, int | float]:
        """Sizes: of `rows`, a share `dead` was deleted since the last compaction.

        `terms` counts all that came since then; `bytes` are those of the postings and of the stop words' bits.
        """
        inverted = self._inverted
        return {
            "documents": inverted.live,
            "terms": len(self._vocabulary.terms),
            "tokens": inverted.tokens,
            "rows": len(inverted),
            "dead": len(inverted.dropped) / max(len(inverted), 1),
            "segments": inverted.segments,
            "postings": inverted.postings,
            "bytes": inverted.nbytes,
        }

    def use_statistics(self, provider: StatisticsProvider | None) -> None:
        """Score by the statistics of a corpus of which this index holds a part; None: by the index's own.

        They are read again for each query. The provider's terms must have the same language and accents. It is
        not saved with the index.
        """
        with self._lock:
            self._provider, self._scorers = provider, {}

    def corpus_statistics(self) -> StatisticsProvider:
        """This index's own statistics, read on demand; changes of the index must be excluded meanwhile."""
        return _OwnStatistics(self)

    def retrieve(
        self, queries: Sequence[Query], *, k: int, k1: float | None = None, b: float | None = None
    ) -> list[Ranking]:
        """Rank the best `k` documents that contain any term of each query; `k1` and `b` apply to this search
        only.

        Raises:
            InputError: `k`, `k1` or `b` is out of its range.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        scorer = self._scorer(k1, b)
        return [self._rank(scorer, query, k) for query in queries]

    def explain(
        self, query: Query | str, doc_id: str, *, k1: float | None = None, b: float | None = None
    ) -> dict[str, float]:
        """The contribution of each query term to a document's score; their sum, in this order, is the score.

        Empty if the document contains none of the terms.

        Raises:
            InputError: no document is held under `doc_id`; `k1` or `b` is out of its range.
        """
        row = self._ids.rows([doc_id])
        if not len(row):
            raise InputError(f"no document is held under the id {doc_id!r}")
        text = Query.of(query).text
        found, corpus = self._found(text)
        names = {key: name for name, (key, _) in found.items()}
        keys, hits, weights = self._scorer(k1, b).weights(dict(found.values()), row, corpus=corpus)
        if not hits.any():
            return {}
        return {names[key]: weight for key, weight in zip(keys, weights[:, 0].tolist(), strict=True)}

    def _scorer(self, k1: float | None, b: float | None) -> Scorer:
        options = self.component
        k1 = options.k1 if k1 is None else k1
        b = options.b if b is None else b
        if not 0 <= k1 <= MAX_K1:
            raise InputError(f"k1 must be between 0 and {MAX_K1:g}, not {k1}")
        if not 0 <= b <= 1:
            raise InputError(f"b must be between 0 and 1, not {b}")
        with self._lock:
            scorer = self._scorers.get((k1, b))
            if scorer is None or scorer.outdated:
                self._scorers.pop((k1, b), None)
                if len(self._scorers) == self._SCORERS:
                    del self._scorers[next(iter(self._scorers))]
                delta = {"bm25l": 0.5, "bm25+": 1.0}.get(options.variant, 0.0)
                formula = Formula(
                    options.variant,
                    k1,
                    b,
                    delta=delta if options.delta is None else options.delta,
                    epsilon=0.25 if options.epsilon is None else options.epsilon,
                )
                scorer = self._scorers[k1, b] = Scorer(formula, self._inverted)
            return scorer

    def _found(self, text: str) -> tuple[Mapping[str, tuple[Term, float]], Corpus | None]:
        """The terms of a query, and the values from the statistics provider, if there is one."""
        provider = self._provider
        if provider is None:
            return self._vocabulary.query(text), None
        found = self._vocabulary.query(text, unknown=True)
        stop_words = [name for name, (key, _) in found.items() if isinstance(key, int) and key < 0]
        terms = [name for name in found if name not in stop_words]
        frequencies = dict(zip(terms, provider.document_frequencies(terms), strict=True))
        if stop_words:
            counted = provider.document_frequencies(stop_words, stop_words=True)
            frequencies.update(zip(stop_words, counted, strict=True))
        found = {name: each for name, each in found.items() if frequencies[name] or name in stop_words}
        documents = provider.documents
        average = provider.tokens / max(documents, 1) or 1.0
        by_key = {key: frequencies[name] for name, (key, _) in found.items()}
        return found, Corpus(provider, documents, average, by_key)

    def _holding_all(self, stop_words: Sequence[int], among: NDArray[np.int32] | None) -> NDArray[np.int32]:
        """The rows in `among` that contain all of these stop words."""
        held = self._inverted.holding_all(stop_words)
        if among is None:
            return held
        both: NDArray[np.int32] = np.intersect1d(among, held, assume_unique=True)
        return both

    def _rank(self, scorer: Scorer, query: Query, k: int) -> Ranking:
        found, corpus = self._found(query.text)
        counts = dict(found.values())
        among = None if query.ids is None else self._ids.select(query.ids)
        stop_words = {name: -1 - key for name, (key, _) in found.items() if isinstance(key, int) and key < 0}
        if stop_words:  # a query of these alone: one of them says almost nothing
            all_held = self._holding_all(list(stop_words.values()), among)
            if len(all_held) or (
                corpus is not None and corpus.provider.documents_with_all(list(stop_words), query.ids)
            ):
                among = all_held
        rows = scorer.best(counts, k, among=among, corpus=corpus)
        scores, matched = scorer.scores(counts, rows, corpus=corpus)
        rows, scores = rows[matched], scores[matched]
        tied: list[str] = []
        last = 0.0
        if len(rows) > k:
            last = float(np.partition(scores, len(scores) - k)[len(scores) - k])
            above = scores > last
            tied = heapq.nsmallest(k - int(above.sum()), self._ids.names(rows[scores == last]))
            rows, scores = rows[above], scores[above]
        order = np.argsort(-scores)
        pairs = sorted(zip((-scores[order]).tolist(), self._ids.names(rows[order]), strict=True))
        ids = [doc_id for _, doc_id in pairs] + tied
        return Ranking(tuple(ids), tuple([-score for score, _ in pairs] + [last] * len(tied)))

    def save(self, path: str | Path) -> None:
        """Write the index to `path`, a directory that must not exist yet, atomically.

        The files are JSON, and arrays in NumPy's format. Terms that no document holds any more are left out.
        Searches may go on meanwhile.

        Raises:
            InputError: there is something at `path` already.
            StorageError: the files cannot be written.
        """
        vocabulary, inverted, kept = self._compact()
        write_index(
            Path(path),
            analyzer=self._analyzer.identity,
            component=self.component.to_config(),
            ids=self._ids.keep(kept),
            terms=vocabulary.names(),
            inverted=inverted,
        )

    @classmethod
    def load(cls, path: str | Path, component: BM25 | None = None) -> BM25Index:
        """Load the index that `save` wrote; its postings stay memory-mapped, and are read on demand.

        `component` may have other options than those saved with the index, but not another language.

        Raises:
            StorageError: there is no index at `path`, it is damaged, a newer version wrote it, or its documents
                were split into terms by another analyzer than is at hand.
        """
        folder = Path(path)
        header = read_header(folder)
        try:
            index = cls(BM25.from_config(header.component) if component is None else component)
        except (TypeError, ValueError) as error:
            raise StorageError(
                f"the index at {folder} was saved with options that cannot be read: {error}"
            ) from error
        words = index._analyzer
        if words.identity != header.analyzer:
            raise StorageError(
                f"the index at {folder} was built with the analyzer {header.analyzer}, not {words.identity}: "
                "index the documents again, or use the language and accents that it was built with"
            )
        index._ids, terms, index._inverted = read_parts(folder, width=index._inverted.stop_words.shape[1])
        index._vocabulary = Vocabulary(words, terms)
        return index


@dataclass(frozen=True, slots=True)
class _OwnStatistics:
    """An index's own statistics as a `StatisticsProvider`."""

    index: BM25Index

    @property
    def documents(self) -> int:
        return self.index._inverted.live

    @property
    def tokens(self) -> int:
        return self.index._inverted.tokens

    def document_frequencies(self, terms: Sequence[str], *, stop_words: bool = False) -> list[int]:
        numbers = self.index._analyzer.stop_words
        keys = [-1 - numbers[term] if stop_words else self.index._vocabulary.key(term) for term in terms]
        return [0 if key is None else len(self.index._inverted.find(key)[0]) for key in keys]

    def documents_with_all(self, stop_words: Sequence[str], ids: Collection[str] | None) -> int:
        numbers = [self.index._analyzer.stop_words[word] for word in stop_words]
        among = None if ids is None else self.index._ids.select(frozenset(ids))
        return len(self.index._holding_all(numbers, among))

    def all_document_frequencies(self) -> dict[str, int]:
        by_term = self.index._inverted.document_frequencies_by_term().tolist()
        return {name: df for name, df in zip(self.index._vocabulary.names(), by_term, strict=False) if df}
