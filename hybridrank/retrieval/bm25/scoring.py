"""BM25's formulas, and the exact top k."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridrank.retrieval.bm25.postings import Ints, InvertedIndex
from hybridrank.retrieval.bm25.statistics import Corpus, Term
from hybridrank.runtime import fork

__all__ = ["Formula", "Scorer"]

_GROUP = 64  # at most so many sums have one peak
_DENSE = 8  # a term that more than one row in 8 holds is summed as an array of all rows
_FEW = 64  # postings fewer than one row in 64 are not worth summing over all rows
_NO_ROWS = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Formula:
    """A variant's formula: a term's weight is its idf times (`saturate` + `floor`)."""

    variant: str
    k1: float
    b: float
    delta: float = 0.0
    epsilon: float = 0.0

    @property
    def floor(self) -> float:
        """The score that a query term gives to every document, in units of its idf."""
        return self.delta if self.variant == "bm25+" else 0.0

    def idf(self, total: int, df: int) -> float:
        """Inverse document frequency of a term in `df` of `total` documents; only okapi's can be negative."""
        if self.variant == "lucene":
            return math.log1p((total - df + 0.5) / (df + 0.5))
        if self.variant == "okapi":
            return math.log(total - df + 0.5) - math.log(df + 0.5)
        if self.variant == "bm25l":
            return math.log(total + 1) - math.log(df + 0.5)
        return math.log((total + 1) / df)

    def norm(self, lengths: NDArray[Any], average: float) -> NDArray[Any]:
        """Length normalization: document lengths in units of the average, interpolated by b."""
        return 1.0 - self.b + self.b * (lengths / average)

    def saturate(self, tf: NDArray[Any], norm: NDArray[Any]) -> NDArray[Any]:
        """Term-frequency saturation: the weight of `tf` >= 1 occurrences, in units of the idf."""
        if self.variant == "lucene":
            weight = tf / (tf + self.k1 * norm)
        elif self.variant == "bm25l":
            shifted = tf / norm + self.delta
            weight = tf * (self.k1 + 1.0) * shifted / (self.k1 + shifted)
        else:
            weight = tf * (self.k1 + 1.0) / (tf + self.k1 * norm)
        return weight


@dataclass(frozen=True, slots=True)
class _Term:
    """A term's postings and its impacts, float32 weights; the impacts and counts of a `dense` one are by row.

    It was up to date when the index had `covered` rows and had dropped `dropped`: `df` rows held the term then.
    Rows dropped since it was made are still there. `idf` is the one that the impacts have.
    """

    rows: Ints
    counts: Ints
    impacts: NDArray[np.float32]
    idf: float
    dense: bool
    df: int
    covered: int
    dropped: int

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.counts.nbytes + self.impacts.nbytes

    def count(self, rows: Ints, *, out: NDArray[np.float64]) -> None:
        """How often the term comes in each of `rows` (ascending)."""
        if self.dense:
            out[:] = self.counts[rows]
        elif len(rows) <= len(self.rows):
            at = self.rows.searchsorted(rows)
            at[at == len(self.rows)] = 0
            np.multiply(self.counts[at], self.rows[at] == rows, out=out)
        else:
            at = rows.searchsorted(self.rows)
            at[at == len(rows)] = 0
            held = rows[at] == self.rows
            out[:] = 0
            out[at[held]] = self.counts[held]


class Scorer:
    """Scores by one formula, also while an index changes, as long as it is not `outdated`; thread-safe.

    A search sums float32 impacts over all rows to find the candidates for the top k, then scores only those, in
    float64 and in the order of the query, so that a score never depends on the layout of the index. It caches the
    impacts of terms that were searched for, within twice the size of the postings, and four bytes per row and
    thread.

    Every change of the index shifts the average length and all idf a little. Cached impacts are kept, and the
    margin for candidates of the top k grows by their possible error.
    """

    _DRIFT = 2.0**-7  # of the average length, and of a term's idf, until impacts are recomputed

    def __init__(self, formula: Formula, inverted: InvertedIndex) -> None:
        self._formula = formula
        self._inverted = inverted
        self._average = self._average_now()
        self._first_rows = len(inverted)
        self._first_dropped = len(inverted.dropped)
        self._terms: dict[Term, _Term] = {}
        self._room = self._budget = 2 * inverted.nbytes
        self._mean_idf: tuple[tuple[int, int], float] | None = None
        self._lock = fork.new_lock()
        self._buffers = threading.local()

    @property
    def outdated(self) -> bool:
        """Whether the index has changed so much that a new scorer is faster."""
        rows = self._first_rows
        return (
            len(self._inverted.dropped) - self._first_dropped > rows // 16
            or len(self._inverted) - rows > rows // 4
            or self._off() > self._DRIFT
        )

    def _average_now(self, corpus: Corpus | None = None) -> float:
        if corpus is not None:
            return corpus.average
        return self._inverted.tokens / max(self._inverted.live, 1) or 1.0

    def _off(self, corpus: Corpus | None = None) -> float:
        """The largest relative error of impacts, because of the average length that they were computed with."""
        return abs(self._average_now(corpus) / self._average - 1.0)

    def best(
        self,
        query: Mapping[Term, float],
        k: int,
        *,
        among: Ints | None = None,
        corpus: Corpus | None = None,
    ) -> Ints:
        """Rows among which are the best `k` and all that tie with the last of them; ascending, int32.

        `query` maps each term to its weight, here and below. `among` (ascending, int32) are the only rows that
        count, where it is given. `corpus` has the statistics to use in place of the index's own.
        """
        rows = len(self._inverted)
        if among is not None and len(among) * _FEW <= rows:
            return among
        found = []
        idfs = []
        for key, times in query.items():
            if df := self._df(key, (term := self._term(key, corpus)), corpus):
                found.append((term, times))
                idfs.append(self._idf(df, corpus))
        few = sum(len(term.rows) for term, _ in found) * _FEW <= rows
        if few or any(idf <= 0 for idf in idfs):
            return self._holding([term for term, _ in found], among)
        sums = self._sums(found)
        if among is not None:
            sums = np.append(sums[among], np.zeros(_GROUP, dtype=np.float32))
            rows = len(among)
        # Each column of the sums is a group of rows. The k-th highest of their peaks is at most the k-th best sum,
        # and a sum is off by a few units in the last place for each term, and by what the impacts are off.
        lines = max(1, min(_GROUP, rows // (16 * k)))
        columns = -(-rows // lines)
        sums = sums[: lines * columns].reshape(lines, columns)
        peaks = sums.max(axis=0)
        kth = float(np.partition(peaks, columns - k)[columns - k]) if k < columns else 0.0
        query_length = sum(times for _, times in found)
        floor = self._formula.floor * sum(idf * times for idf, (_, times) in zip(idfs, found, strict=True))
        off = max(abs(idf / term.idf - 1.0) for idf, (term, _) in zip(idfs, found, strict=True))
        off = (1.0 + off) * (1.0 + self._off(corpus)) - 1.0
        least = max(0.0, kth * (1.0 - 2.0 * off) - (kth + floor) * (query_length + 8) * 2.0**-21)
        reach = np.flatnonzero(peaks > least)
        line, column = np.divmod(np.flatnonzero(sums[:, reach] > least), len(reach))
        best = np.sort(line * columns + reach[column])
        return best.astype(np.int32) if among is None else among[best]

    def _holding(self, terms: list[_Term], among: Ints | None) -> Ints:
        """The rows that contain any of the terms, without dropped ones."""
        rows = np.sort(np.concatenate([_NO_ROWS, *(term.rows for term in terms)]))
        rows = rows[np.diff(rows, prepend=-1) > 0]
        if len(self._inverted.dropped) > self._first_dropped:
            rows = rows[self._inverted.lengths[rows] >= 0]
        return rows if among is None else rows[np.isin(rows, among, assume_unique=True)]

    def _sums(self, found: list[tuple[_Term, float]]) -> NDArray[np.float32]:
        """The impacts of all terms, summed for each row; zeros follow, to make up the last group."""
        rows = len(self._inverted)
        padded: NDArray[np.float32] | None = getattr(self._buffers, "sums", None)
        if padded is None or len(padded) < rows + _GROUP:
            padded = self._buffers.sums = np.zeros(rows + rows // 16 + _GROUP, dtype=np.float32)
        sums = padded[:rows]
        impacts = [term.impacts if times == 1 else term.impacts * np.float32(times) for term, times in found]
        dense = [values for (term, _), values in zip(found, impacts, strict=True) if term.dense]
        if dense:
            np.add(dense[0], dense[1] if len(dense) > 1 else np.float32(0), out=sums)
        else:
            sums.fill(0)
        for values in dense[2:]:
            sums += values
        for (term, _), values in zip(found, impacts, strict=True):
            if not term.dense:
                np.add.at(sums, term.rows, values)
        sums[self._inverted.dropped[self._first_dropped :]] = 0
        return padded

    def scores(
        self, query: Mapping[Term, float], rows: Ints, *, corpus: Corpus | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The score of each of `rows` (ascending, int32), and whether it contains any of the terms."""
        scores = np.zeros(len(rows))
        _, hits, weights = self.weights(query, rows, corpus=corpus)
        for weight in weights:  # one by one: a sum over an axis may take any order
            scores += weight
        return scores, np.any(hits, axis=0)

    def weights(
        self, query: Mapping[Term, float], rows: Ints, *, corpus: Corpus | None = None
    ) -> tuple[list[Term], NDArray[np.bool_], NDArray[np.float64]]:
        """The query's terms that any document holds; which of `rows` hold each; what each adds to their scores."""
        found = []
        idfs = []
        for key, times in query.items():
            if df := self._df(key, (term := self._term(key, corpus)), corpus):
                found.append((key, term, times))
                idfs.append(self._idf(df, corpus))
        counts = np.empty((len(found), len(rows)))
        for line, (_, term, _) in zip(counts, found, strict=True):
            term.count(rows, out=line)
        hits = counts > 0
        norm = self._formula.norm(self._inverted.lengths[rows], self._average_now(corpus))
        weights = self._formula.saturate(np.maximum(counts, 1.0), norm)
        weights *= hits
        weights += self._formula.floor
        weights *= np.array([idf * times for idf, (_, _, times) in zip(idfs, found, strict=True)])[:, np.newaxis]
        return [key for key, _, _ in found], hits, weights

    @staticmethod
    def _df(key: Term, term: _Term, corpus: Corpus | None) -> int:
        """The document frequency of a term: in the corpus, if one is given, else in the index."""
        return term.df if corpus is None else corpus.frequencies[key]

    def _term(self, key: Term, corpus: Corpus | None) -> _Term:
        """The postings of a term, as the index is now."""
        terms = self._terms  # another thread may put an empty one in its place
        old = terms.get(key)
        if old and old.covered == len(self._inverted) and old.dropped == len(self._inverted.dropped):
            if corpus is None or not self._has_drifted(old, key, corpus):
                return old
            made = self._make(key, corpus)
        else:
            made = self._followed(key, old, corpus) if old else self._make(key, corpus)
        with self._lock:
            if made.nbytes > self._room:
                self._terms, self._room = {}, self._budget
            replaced = self._terms.get(key)
            self._room -= made.nbytes - (replaced.nbytes if replaced else 0)
            self._terms[key] = made
        return made

    def _has_drifted(self, term: _Term, key: Term, corpus: Corpus) -> bool:
        """Whether the idf of a term's impacts is too far from the corpus's."""
        df = corpus.frequencies[key]
        return bool(df) and (term.idf <= 0 or abs(self._idf(df, corpus) / term.idf - 1.0) > self._DRIFT)

    def _make(self, key: Term, corpus: Corpus | None) -> _Term:
        rows, counts = (_NO_ROWS, _NO_ROWS) if isinstance(key, str) else self._inverted.find(key)
        total = len(self._inverted)
        df = len(rows) if corpus is None else corpus.frequencies[key]
        idf = self._idf(df, corpus) if df else 0.0
        impacts = self._impacts(rows, counts, idf)
        if dense := len(rows) * _DENSE > total:
            impacts, counts = _spread(total, rows, impacts), _spread(total, rows, counts)
        return _Term(rows, counts, impacts, idf, dense, len(rows), total, len(self._inverted.dropped))

    def _followed(self, key: Term, term: _Term, corpus: Corpus | None) -> _Term:
        """Bring a term up to date: with the rows that came, without counting those that were dropped."""
        inverted, total = self._inverted, len(self._inverted)
        gone = np.sort(inverted.dropped[term.dropped :])
        gone = gone[: gone.searchsorted(term.covered)]
        held = np.empty(len(gone))
        term.count(gone, out=held)
        rows, counts = (_NO_ROWS, _NO_ROWS) if isinstance(key, str) else inverted.find(key, since=term.covered)
        df = term.df - int(np.count_nonzero(held)) + len(rows)
        now = df if corpus is None else corpus.frequencies[key]
        if now and (not term.idf or abs(self._idf(now, corpus) / term.idf - 1.0) > self._DRIFT):
            return self._make(key, corpus)
        impacts = self._impacts(rows, counts, term.idf)
        if term.dense:
            more, places = total - term.covered, rows - np.int32(term.covered)
            impacts, counts = _spread(more, places, impacts), _spread(more, places, counts)
        return _Term(
            _joined(term.rows, rows),
            _joined(term.counts, counts),
            _joined(term.impacts, impacts),
            term.idf,
            term.dense,
            df,
            total,
            len(inverted.dropped),
        )

    def _impacts(self, rows: Ints, counts: Ints, idf: float) -> NDArray[np.float32]:
        norm = self._formula.norm(self._inverted.lengths[rows].astype(np.float32), self._average)
        return self._formula.saturate(counts.astype(np.float32), norm) * np.float32(idf)

    def _idf(self, df: int, corpus: Corpus | None) -> float:
        """The idf of a term that `df` documents hold, as the index or the corpus is now."""
        idf = self._formula.idf(self._inverted.live if corpus is None else corpus.documents, df)
        if idf >= 0:
            return idf
        return self._formula.epsilon * (self._mean() if corpus is None else self._corpus_mean(corpus))

    def _corpus_mean(self, corpus: Corpus) -> float:
        """The mean idf of all terms of a corpus."""
        counts = Counter(corpus.all_frequencies.values())
        return math.fsum(self._formula.idf(corpus.documents, df) * n for df, n in counts.items()) / counts.total()

    def _mean(self) -> float:
        """The mean idf of all terms."""
        now = len(self._inverted), len(self._inverted.dropped)
        if self._mean_idf is None or self._mean_idf[0] != now:
            dfs, terms = np.unique(self._inverted.document_frequencies(), return_counts=True)
            idfs = (self._formula.idf(self._inverted.live, df) for df in dfs.tolist())
            mean = math.fsum(idf * n for idf, n in zip(idfs, terms.tolist(), strict=True)) / int(terms.sum())
            self._mean_idf = now, mean
        return self._mean_idf[1]


def _spread(total: int, rows: Ints, values: NDArray[Any]) -> NDArray[Any]:
    """The values by row, zero where there is none."""
    spread = np.zeros(total, dtype=values.dtype)
    spread[rows] = values
    return spread


def _joined(old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([old, new]) if len(new) else old
