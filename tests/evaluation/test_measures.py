"""Measures: what trec_eval gives, checked by hand and against implementations of others."""

from __future__ import annotations

import random
import subprocess
import sys
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.evaluation import Evaluator, default_measures
from hybridrank.evaluation.metrics.measures import measure_name


def test_by_hand():
    """The gains of Järvelin and Kekäläinen's example (TOIS 2002), with trec_eval's discount, log2(rank + 1)."""
    gains = [3, 2, 3, 0, 0, 1, 2, 2, 3, 0]
    ids = [f"d{n}" for n in range(10)]
    measuring = Evaluator(
        {"q": dict(zip(ids, gains, strict=True))}, ["nDCG@10", "RR@10", "AP", "P@5", "R@5", "Success@1"]
    )
    found = measuring.means({"q": ids})
    dcg = sum(gain / log2(rank + 1) for rank, gain in enumerate(gains, start=1))
    best = sum(gain / log2(rank + 1) for rank, gain in enumerate(sorted(gains, reverse=True), start=1))
    assert found["nDCG@10"] == pytest.approx(dcg / best, abs=1e-9)
    precisions = [1 / 1, 2 / 2, 3 / 3, 4 / 6, 5 / 7, 6 / 8, 7 / 9]
    assert found["AP"] == pytest.approx(sum(precisions) / 7, abs=1e-9)
    assert (found["RR@10"], found["P@5"], found["Success@1"]) == (1.0, 0.6, 1.0)
    assert found["R@5"] == pytest.approx(3 / 7)


@given(st.integers(0, 2**32 - 1))
def test_equal_to_scikit_learn(seed):
    chance = random.Random(seed)
    documents = [f"d{n}" for n in range(30)]
    qrels = {f"q{n}": {d: chance.choice([0, 0, 1, 2, 3]) for d in documents} for n in range(5)}
    for grades in qrels.values():
        grades["d0"] = 1  # scikit-learn has no value for a query without any
    rankings = {query_id: chance.sample(documents, 30) for query_id in qrels}
    found = Evaluator(qrels, ["nDCG@10", "nDCG", "AP"]).per_query(rankings)
    for query_id, order in rankings.items():
        truth = np.array([[qrels[query_id][d] for d in order]])
        scores = np.array([[-rank for rank in range(30)]])
        assert found["nDCG@10"][query_id] == pytest.approx(ndcg_score(truth, scores, k=10), abs=1e-9)
        assert found["nDCG"][query_id] == pytest.approx(ndcg_score(truth, scores), abs=1e-9)
        assert found["AP"][query_id] == pytest.approx(average_precision_score(truth[0] > 0, scores[0]), abs=1e-9)


def test_what_retrieval_missed_stays_missed():
    """A perfect order of what was found is not perfect: the ideal is of all that is relevant."""
    qrels = {"q": {"a": 1, "b": 1, "c": 1, "d": 1}}
    found = Evaluator(qrels, ["nDCG@10", "AP", "R@100"]).means({"q": ["a", "b"]})
    ideal = sum(1 / log2(rank + 1) for rank in range(1, 5))
    assert found["nDCG@10"] == pytest.approx((1 + 1 / log2(3)) / ideal)
    assert (found["AP"], found["R@100"]) == (0.5, 0.5)


def test_queries_without_hits_and_without_relevant_documents_count_as_nothing():
    qrels = {"found": {"a": 1}, "empty": {"a": 1}, "absent": {"a": 1}, "none": {"a": 0}}
    measuring = Evaluator(qrels, ["nDCG@10", "RR@10", "AP", "Success@10", "R@10"])
    values = measuring.per_query({"found": ["a"], "empty": [], "none": ["a"]})
    for of in values.values():
        assert of == {"found": 1.0, "empty": 0.0, "absent": 0.0, "none": 0.0}
    assert all(of == dict.fromkeys(qrels, 0.0) for of in measuring.per_query({}).values())


def test_only_the_order_counts_and_long_rankings_keep_it():
    ids = [f"d{n:05}" for n in reversed(range(20_000))]
    found = Evaluator({"q": {ids[19_999]: 1}}, ["RR", "AP"]).means({"q": ids})
    assert found == {"RR": pytest.approx(1 / 20_000), "AP": pytest.approx(1 / 20_000)}


def test_a_document_twice_is_refused():
    with pytest.raises(InputError, match="comes twice in the ranking of query 'q'"):
        Evaluator({"q": {"a": 1}}, ["AP"]).per_query({"q": ["a", "b", "a"]})


def test_negative_grades_are_not_relevant():
    """Grades below 0 mark spam in TREC's web tracks; trec_eval takes them for judged and not relevant."""
    junk = Evaluator({"q": {"a": -2, "b": 1}}, ["nDCG@10", "AP"]).means({"q": ["a", "b"]})
    plain = Evaluator({"q": {"a": 0, "b": 1}}, ["nDCG@10", "AP"]).means({"q": ["a", "b"]})
    assert junk == plain


def test_names():
    assert measure_name("Recall@50") == "R@50"
    assert Evaluator({"q": {"a": 1}}, ["Recall@5", "R@5", "AP(rel=2)"]).names == ("R@5", "AP(rel=2)")
    assert default_measures(50)[-1] == "R@50"


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        ("nDGC@10", "no measure 'nDGC@10'; did you mean 'nDCG@10'"),
        ("nDCG@x", "is no measure"),
        ("zzz", "no measure 'zzz'"),
    ],
)
def test_unknown_measures(measure, message):
    with pytest.raises(InputError, match=message):
        measure_name(measure)


def test_no_measures():
    with pytest.raises(InputError, match="give a list of measures"):
        Evaluator({"q": {"a": 1}}, [])
    with pytest.raises(InputError, match="give a list of measures"):
        Evaluator({"q": {"a": 1}}, "AP")


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "hybridrank\[evaluate\]"'):
        measure_name("AP")


def test_evaluation_is_light_to_import():
    code = (
        "import sys, hybridrank.evaluation, hybridrank.evaluation.report; "
        "heavy = ('scipy', 'ir_measures', 'matplotlib', 'ir_datasets', 'numpy', 'rich'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
