"""BM25 compared with rank_bm25 and bm25s, on real text: the docstrings of this Python's standard library."""

import ast
import sysconfig
from itertools import islice, pairwise
from pathlib import Path

import bm25s
import numpy as np
import pytest
import rank_bm25

from hybridrank.component.validation import validate_rankings
from hybridrank.retrieval.analysis import analyzer
from hybridrank.retrieval.analysis.words import split
from hybridrank.retrieval.bm25.component import BM25
from hybridrank.retrieval.rank_bm25 import RankBM25
from hybridrank.types import Document, Query

K1, B = 1.4, 0.6
REFERENCES = {
    "okapi": (rank_bm25.BM25Okapi, {"epsilon": 0.3}),
    "bm25l": (rank_bm25.BM25L, {"delta": 0.4}),
    "bm25+": (rank_bm25.BM25Plus, {"delta": 0.9}),
}
RANK_BM25_NAMES = {"okapi": "okapi", "bm25l": "l", "bm25+": "plus"}


def docstrings():
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield text


@pytest.fixture(scope="module")
def documents():
    texts = ["", "   ", "the of and", *islice(docstrings(), 1500)]
    return [Document(f"d{n:04}", text) for n, text in enumerate(texts)]


@pytest.fixture(scope="module")
def plain(documents):
    """The same without compounds, which bm25s could not leave out of a document's length."""
    return [Document(each.id, " ".join(plain_words(each.text))) for each in documents]


def plain_words(text):
    return split(text, analyzer("english").alphabet)[0]


@pytest.fixture(scope="module")
def queries(documents):
    """First lines of docstrings: words that nearly all documents hold, rare ones, some of them twice."""
    lines = [document.text.splitlines()[0] for document in documents[3::60]]
    return [Query(line) for line in [*lines, "return return the value", "it returns", "zeugma", "zeugma file"]]


@pytest.fixture(scope="module")
def terms(documents):
    return {document.id: analyzer("english").terms(document.content) for document in documents}


def build(component, documents):
    index = component.create_index()
    index.add([document.id for document in documents], index.encode(documents))
    return index


def reference_of(cls, documents, terms, **options):
    """A model of rank_bm25 that has our lengths: of words, without compounds."""
    reference = cls([terms[document.id] for document in documents], **options)
    reference.doc_len = [analyzer("english").length(document.content) for document in documents]
    reference.avgdl = sum(reference.doc_len) / len(reference.doc_len)
    return reference


def scored(reference, query):
    """The scores of rank_bm25 for the weights of a query; it is linear in the terms."""
    weights = analyzer("english").query(query.text)[0]
    return sum(weight * reference.get_scores([term]) for term, weight in weights.items())


def matching(query, terms):
    wanted = set(analyzer("english").terms(query.text))
    return {doc_id for doc_id, held in terms.items() if wanted & set(held)}


def same(ranking, scores, *, tolerance, order):
    """`ranking` holds the best of `scores` (by id), at these scores and in this order."""
    assert set(ranking.ids) <= scores.keys()
    theirs = [scores[doc_id] for doc_id in ranking.ids]
    assert ranking.scores == pytest.approx(theirs, abs=tolerance)
    assert all(a >= b - order for a, b in pairwise(theirs))
    left_out = [score for doc_id, score in scores.items() if doc_id not in set(ranking.ids)]
    assert not (left_out and theirs) or max(left_out) <= min(theirs) + order


@pytest.mark.parametrize("k", [1, 10, 100, 5000])
@pytest.mark.parametrize("variant", REFERENCES)
def test_scores_and_order_are_those_of_rank_bm25(variant, k, documents, queries, terms):
    cls, extra = REFERENCES[variant]
    reference = reference_of(cls, documents, terms, k1=K1, b=B, **extra)
    index = build(BM25(variant=variant, k1=K1, b=B, **extra), documents)
    rankings = validate_rankings(index.retrieve(queries, k=k), queries=len(queries), k=k, source="bm25")
    for query, ranking in zip(queries, rankings, strict=True):
        found = matching(query, terms)
        scores = scored(reference, query)
        assert len(ranking) == min(k, len(found))
        held = {doc_id: s for doc_id, s in zip(terms, scores.tolist(), strict=True) if doc_id in found}
        same(ranking, held, tolerance=1e-9, order=1e-9)


@pytest.mark.parametrize("k", [1, 10, 100, 5000])
def test_scores_and_order_are_those_of_bm25s(k, plain, queries):
    terms = {document.id: analyzer("english").terms(document.text) for document in plain}
    reference = bm25s.BM25(method="lucene", k1=K1, b=B, backend="numpy")
    reference.index(list(terms.values()), show_progress=False)
    index = build(BM25(k1=K1, b=B), plain)
    queries = [Query(" ".join(plain_words(query.text))) for query in queries]
    for query, ranking in zip(queries, index.retrieve(queries, k=k), strict=True):
        found = matching(query, terms)
        known = [term for term in analyzer("english").terms(query.text) if term in reference.vocab_dict]
        scores = reference.get_scores(known).tolist() if known else [0.0] * len(terms)
        assert len(ranking) == min(k, len(found))
        held = {doc_id: s for doc_id, s in zip(terms, scores, strict=True) if doc_id in found}
        same(ranking, held, tolerance=1e-4, order=1e-5)


@pytest.mark.parametrize("variant", REFERENCES)
def test_the_library_as_a_retriever_agrees_with_ours(variant, documents, queries):
    extra = REFERENCES[variant][1]
    ours = build(BM25(variant=variant, k1=K1, b=B, **extra), documents)
    library = build(RankBM25(variant=RANK_BM25_NAMES[variant], k1=K1, b=B, **extra), documents)
    restricted = [Query(query.text, ids=frozenset(f"d{n:04}" for n in range(0, 1500, 3))) for query in queries]
    for mine, theirs in zip(
        ours.retrieve([*queries, *restricted], k=50), library.retrieve([*queries, *restricted], k=50), strict=True
    ):
        assert mine.scores == pytest.approx(theirs.scores, abs=1e-9)
        assert len(set(mine.ids) ^ set(theirs.ids)) <= 2  # scores that are equal but for rounding, at the cut


@pytest.mark.parametrize("variant", ["lucene", *REFERENCES])
@pytest.mark.parametrize("share", [3, 250])
def test_a_search_among_ids_is_the_whole_search_filtered(variant, share, documents, queries):
    index = build(BM25(variant=variant), documents)
    allowed = frozenset(document.id for document in documents[::share]) | {"not held"}
    whole = index.retrieve(queries, k=len(documents))
    within = index.retrieve([Query(query.text, ids=allowed) for query in queries], k=20)
    for ranking, filtered in zip(whole, within, strict=True):
        best = [pair for pair in zip(ranking.ids, ranking.scores, strict=True) if pair[0] in allowed][:20]
        assert list(zip(filtered.ids, filtered.scores, strict=True)) == best


@pytest.mark.parametrize("variant", ["lucene", *REFERENCES])
def test_the_best_k_are_the_first_of_all(variant, documents, queries):
    index = build(BM25(variant=variant), documents)
    whole = index.retrieve(queries, k=len(documents))
    for k in (1, 2, 7, 40, 300):
        for ranking, best in zip(whole, index.retrieve(queries, k=k), strict=True):
            assert (best.ids, best.scores) == (ranking.ids[:k], ranking.scores[:k])


def test_k1_and_b_of_one_search_are_those_of_an_index_made_with_them(documents, queries):
    index = build(BM25(), documents)
    before = index.retrieve(queries, k=30)
    for k1, b in [(0.0, 0.0), (0.4, 0.2), (2.5, 1.0), (1000.0, 0.9), (0.9, 0.75), (1.2, 0.1)]:
        other = build(BM25(k1=k1, b=b), documents)
        assert index.retrieve(queries, k=30, k1=k1, b=b) == other.retrieve(queries, k=30)
        assert index.explain("open file", "d0100", k1=k1, b=b) == other.explain("open file", "d0100")
    assert index.retrieve(queries, k=30) == before


@pytest.mark.parametrize("variant", ["lucene", *REFERENCES])
def test_an_explanation_sums_to_the_score(variant, documents, queries):
    index = build(BM25(variant=variant), documents)
    for query, ranking in zip(queries, index.retrieve(queries, k=5), strict=True):
        for doc_id, score in zip(ranking.ids, ranking.scores, strict=True):
            parts = index.explain(query, doc_id)
            assert sum(parts.values()) == pytest.approx(score, rel=1e-12)
            assert set(parts) <= set(analyzer("english").terms(query.text))


def test_a_batch_is_its_queries_one_by_one(documents, queries):
    index = build(BM25(), documents)
    assert index.retrieve(queries, k=10) == [index.retrieve([query], k=10)[0] for query in queries]


def test_many_small_batches_make_the_index_of_one_large_batch(documents, queries):
    whole, index = build(BM25(), documents), BM25().create_index()
    for start in range(0, len(documents), 7):
        some = documents[start : start + 7]
        index.add([document.id for document in some], index.encode(some))
    assert index.retrieve(queries, k=100) == whole.retrieve(queries, k=100)


def test_counts_beyond_a_byte_are_exact():
    texts = {"often": "wind " * 300, "most": "wind " * 70_000, "once": "wind and snow", "other": "snow"}
    index = build(BM25(language=None), [Document(doc_id, text) for doc_id, text in texts.items()])
    reference = bm25s.BM25(method="lucene", k1=1.2, b=0.75, backend="numpy")
    reference.index([text.split() for text in texts.values()], show_progress=False)
    scores = dict(zip(texts, np.asarray(reference.get_scores(["wind"])).tolist(), strict=True))
    del scores["other"]
    same(index.retrieve([Query("wind")], k=9)[0], scores, tolerance=1e-6, order=0)
