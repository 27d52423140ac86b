"""BM25's parts compared with plain Python: the numbers of words, merged postings, the rows of a query's ids."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridrank.retrieval.analysis import analyzer
from hybridrank.retrieval.analysis.words import slices
from hybridrank.retrieval.bm25.postings import InvertedIndex, Postings
from hybridrank.retrieval.bm25.vocabulary import Vocabulary
from hybridrank.retrieval.selection import Selections

PIECES = [
    "'",
    "''",
    "-",
    " ",
    "\0",
    "\n",
    "\x1f",
    "I",
    "I'm",
    "o'reilly",
    "the",
    "ＤＩＮＮＥＲ",
    "手机壳",
    "é",
    "e\u0301",
]
PIECES += [
    "abcdefgh",
    "abcdefghi",
    "abcdefghijklmnop",
    "abcdefghijklmnopq",
    "электроэнергия",
    "น้ำ",
    "a\u200cb",
    "’",
]
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=20).map("".join)
texts = hostile.filter(lambda text: not any("\ud800" <= char <= "\udfff" for char in text))


def numbered(vocabulary, batch):
    """The terms of each text, sorted, and the stop words."""
    cut = [(row, piece) for row, text in enumerate(batch) for piece in slices(text)]
    found = vocabulary.number([piece for _, piece in cut], [row for row, _ in cut])
    names = np.array([*vocabulary.terms, ""], dtype=object)
    rows = range(len(batch))
    lengths = np.bincount(found.lengths, minlength=len(batch)).tolist()
    terms = [sorted(names[found.terms[found.rows == row]].tolist()) for row in rows]
    return terms, [sorted(found.stop_words[found.stop_rows == row].tolist()) for row in rows], lengths


@given(
    batches=st.lists(st.lists(texts, max_size=6), max_size=4),
    language=st.sampled_from(["english", "turkish", "catalan", "french", None]),
)
def test_numbers_are_those_of_the_terms_word_by_word(batches, language):
    words = analyzer(language)
    vocabulary = Vocabulary(words)
    for batch in batches:
        terms, stop_words, lengths = numbered(vocabulary, batch)
        assert terms == [sorted(words.terms(text)) for text in batch]
        numbers = words.stop_words
        assert stop_words == [sorted(numbers[w] for w in words.words(text) if w in numbers) for text in batch]
        assert lengths == [words.length(text) for text in batch]
    assert sorted(vocabulary.terms.values()) == list(range(len(vocabulary.terms)))


def test_many_words_keep_their_numbers_while_the_table_grows():
    vocabulary = Vocabulary(analyzer(None), terms=["w7", "known"])
    everything = [f"w{n}" for n in range(30_000)]
    first = vocabulary.number([" ".join(everything[n : n + 700]) for n in range(0, 30_000, 700)], range(43))
    again = vocabulary.number([" ".join(reversed(everything)), "", "known w7"], [0, 1, 2])
    assert np.bincount(again.rows).tolist() == [30_000, 0, 2]
    assert again.terms[:30_000].tolist() == first.terms.tolist()[::-1]
    assert again.terms[30_000:].tolist() == [1, 0]
    assert [vocabulary.terms[word] for word in everything] == first.terms.tolist()


def test_threads_give_a_word_one_number():
    vocabulary = Vocabulary(analyzer(None))
    documents = [" ".join(f"w{(n * 31 + turn) % 5000}" for n in range(5000)) for turn in range(8)]
    start = threading.Barrier(8)

    def number(text):
        start.wait()
        return [*zip(text.split(), vocabulary.number([text], [0]).terms.tolist(), strict=True)]

    with ThreadPoolExecutor(8) as threads:
        pairs = {pair for found in threads.map(number, documents) for pair in found}
    assert pairs == set(vocabulary.terms.items())


def random_index(rng, sizes):
    """An index of segments of so many tokens; the term and the row of every token."""
    index, all_terms, all_rows = InvertedIndex(), [], []
    for size in sizes:
        first, more = len(index), size // 50 + 1
        terms = rng.geometric(0.002, size).astype(np.int32)
        rows = rng.integers(0, more, size).astype(np.int32)
        stop_words = np.zeros((more, 0), np.uint8)
        index.append(
            np.bincount(rows, minlength=more).astype(np.int32), Postings.of_tokens(terms, rows), stop_words
        )
        all_terms.append(terms)
        all_rows.append(rows + first)
    return index, np.concatenate(all_terms), np.concatenate(all_rows)


def same_postings(index, terms, rows, *, since=0):
    for term in [*range(1, 3000, 97), 10**6]:
        expected = np.unique(rows[(terms == term) & (rows >= since)], return_counts=True)
        for found, wanted in zip(index.find(term, since=since), expected, strict=True):
            assert np.array_equal(found, wanted)


@pytest.mark.parametrize(
    "sizes",
    [
        [5] * 70,
        [3000, 5, 5, 3000, 5, 3000, 1, 1, 3000, 40],
        [600_000] * 9 + [200_000, 7],
        [0, 30, 0],
        [600_000, 1],
    ],
)
def test_postings_stay_the_same_however_segments_are_merged(sizes):
    index, terms, rows = random_index(np.random.default_rng(0), sizes)
    same_postings(index, terms, rows)
    same_postings(index, terms, rows, since=len(index) - 3)
    gone = np.arange(0, len(index), 7)
    index.drop(gone)
    left = ~np.isin(rows, gone)
    terms, rows = terms[left], rows[left]
    same_postings(index, terms, rows)
    if improved := index.merge_segments():
        index.replace(*improved)
    same_postings(index, terms, rows)
    same_postings(index, terms, rows, since=len(index) // 2)
    compacted, kept = index.compact()
    assert compacted.segments <= 1
    assert np.array_equal(kept, np.setdiff1d(np.arange(len(index)), gone))
    same_postings(compacted, terms, np.searchsorted(kept, rows))
    assert compacted.tokens == index.tokens == len(rows)


def test_segments_stay_few_and_large_ones_wait_for_the_improvement():
    rng = np.random.default_rng(0)
    index, *_ = random_index(rng, [35] * 3000)
    assert index.segments <= 15
    index, *_ = random_index(rng, [600_000] * 9)
    assert index.segments == 9
    first, merged = index.merge_segments()
    assert index.segments == 9
    index.replace(first, merged)
    assert index.segments == 1
    assert index.merge_segments() is None


def test_the_rows_of_ids_are_remembered_by_identity_until_they_are_cleared():
    selections, row_of = Selections(), {f"d{n}": n for n in range(100)}

    def find(ids):
        return np.array(sorted(row_of[doc_id] for doc_id in ids if doc_id in row_of), np.int32)

    ids = frozenset(["d7", "d3", "not held", "d50"])
    rows = selections.rows(ids, find)
    assert rows.tolist() == [3, 7, 50]
    assert selections.rows(ids, find) is rows
    for n in range(50):  # each dies at once, were it not held: others would take its address
        assert selections.rows(frozenset([f"d{n}"]), find).tolist() == [n]
    assert selections.rows(ids, find).tolist() == [3, 7, 50]
    selections.clear()
    row_of = {"d50": 1}
    assert selections.rows(ids, find).tolist() == [1]
    assert selections.rows(frozenset(), find).tolist() == []
