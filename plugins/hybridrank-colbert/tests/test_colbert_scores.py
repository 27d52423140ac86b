"""Scores against a MaxSim of our own, on the token vectors that the library itself gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hybridrank_colbert.testing import DIM, QUERY, WINDOW
from hybridrank_colbert.vectors import Kept, maxsim, pack, unpack

from hybridrank import Candidates, Document, Query
from hybridrank.errors import ConfigError, InputError

TEXTS = ["Organic waste, compost and soil!", "plastic recycling", "nuclear safety.", "", "zebra 123"]
DOCUMENTS = [Document(f"d{number}", text) for number, text in enumerate(TEXTS)]
QUERIES = ["how to process organic waste", "nuclear?"]


def reference(query, document):
    """MaxSim in loops: for each vector of the query, the best of its inner products with the document's."""
    return math.fsum(max(math.fsum(a * b for a, b in zip(q, d, strict=True)) for d in document) for q in query)


def score(colbert, query, documents):
    [row] = colbert.score([Candidates(Query(query), documents)])
    return row


@pytest.mark.parametrize(("precision", "error"), [("float16", 1e-3), ("int8", 0.02)])
def test_scores_are_maxsim_of_the_librarys_own_vectors(colbert, vectors_of, precision, error):
    batch = [Candidates(Query(text), DOCUMENTS) for text in QUERIES]
    rows = colbert(precision=precision).score(batch)
    documents = vectors_of(TEXTS, query=False)
    queries = vectors_of(QUERIES, query=True)
    for query, row in zip(queries, rows, strict=True):
        expected = [reference(query.tolist(), document.tolist()) for document in documents]
        assert max(expected) - min(expected) > 1  # they tell documents apart
        assert np.abs(np.array(row) - expected).max() < error * QUERY


def test_a_score_lies_within_the_number_of_query_vectors(colbert, vectors_of):
    [query] = vectors_of(QUERIES[:1], query=True)
    assert query.shape == (QUERY, DIM)
    assert all(-QUERY * 1.001 <= each <= QUERY * 1.001 for each in score(colbert(), QUERIES[0], DOCUMENTS))


def test_maxsim_of_a_document_without_vectors_is_the_least_there_is():
    query = np.eye(3, 4, dtype=np.float32)
    assert maxsim(query, np.zeros((0, 4), np.float32)) == -3.0
    assert maxsim(query, query) == 3.0


@pytest.mark.parametrize(("precision", "most"), [("float16", 2**-11), ("int8", 1 / 254)])
def test_kept_vectors_differ_by_no_more_than_their_precision(precision, most):
    vectors = np.random.default_rng(0).normal(size=(200, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = 0.0
    value = pack(Kept(vectors, 150, 160), precision=precision, key=b"key")
    kept = unpack(value, key=b"key")
    assert (kept.read, kept.total) == (150, 160)
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    assert (np.abs(kept.vectors - vectors) <= largest * most * 1.001).all()
    assert len(value) < 200 * 128 * (2 if precision == "float16" else 1) + 200 * 4 + 64


def test_what_was_not_kept_under_this_key_is_not_believed():
    value = pack(Kept(np.ones((2, 3), np.float32), 2, 2), precision="float16", key=b"a")
    assert unpack(value, key=b"a") is not None
    damaged = bytearray(value)
    damaged[-1] ^= 1
    for wrong in (bytes(damaged), value[:-1], b"", "text", None):
        assert unpack(wrong, key=b"a") is None
    assert unpack(value, key=b"b") is None


# ── long documents ───────────────────────────────────────────────────────────────────────────────────────────

LONG = Document("long", " ".join(["organic waste compost"] * 15 + ["zebra nuclear"] + ["soil water pump"] * 5))


def test_a_long_document_is_read_to_its_end_in_windows(colbert, vectors_of):
    row = score(colbert(), "nuclear zebra", [LONG, DOCUMENTS[1]])
    assert row.details["tokens_read"] == row.details["tokens_total"] > WINDOW
    assert row.details["truncated"] == 0
    # every word in some window: what the library reads of the last words alone, it reads there too
    cut = score(colbert(on_long="truncate"), "nuclear zebra", [LONG, DOCUMENTS[1]])
    assert cut.details["truncated"] == 1
    assert cut.details["tokens_read"] < cut.details["tokens_total"] == row.details["tokens_total"]
    assert row[0] > cut[0]
    assert row[1] == cut[1]


def test_truncating_reads_what_the_library_reads(colbert, vectors_of):
    [query] = vectors_of(["soil"], query=True)
    [vectors] = vectors_of([LONG.content], query=False)
    [got] = score(colbert(on_long="truncate"), "soil", [LONG])
    assert got == pytest.approx(reference(query.tolist(), vectors.tolist()), abs=0.02)


def test_a_long_document_or_query_can_be_refused(colbert):
    strict = colbert(on_long="raise")
    with pytest.raises(InputError, match="document 'long' has"):
        score(strict, "soil", [LONG])
    with pytest.raises(InputError, match="the query has"):
        score(strict, "soil " * QUERY, DOCUMENTS)


def test_the_tokens_that_a_long_query_loses_are_counted(colbert):
    assert score(colbert(), "soil " * (QUERY - 3), DOCUMENTS).details["query_tokens_cut"] == 0
    assert score(colbert(), "soil " * QUERY, DOCUMENTS).details["query_tokens_cut"] == 3


def test_the_window_is_the_models_unless_it_is_given(colbert):
    narrow = score(colbert(max_tokens=16, on_long="truncate"), "soil", [LONG])
    assert narrow.details["tokens_read"] == 16 - 3
    with pytest.raises(ConfigError, match=r"\$\.max_tokens.*at most 64 tokens"):
        score(colbert(max_tokens=65), "soil", [LONG])
