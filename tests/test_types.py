from __future__ import annotations

import numpy as np
import pytest

from hybridrank import Document, Query, Ranking, Scores
from hybridrank.errors import HybridrankError, InputError


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": 7, "text": "a"}, "id must be a str, not int"),
        ({"id": "", "text": "a"}, "id must not be empty"),
        ({"id": "d", "text": None}, "text of document 'd' must be a str, not NoneType"),
        ({"id": "d", "text": b"a"}, "not bytes"),
        ({"id": "d", "text": "a", "title": 3}, "title of document 'd' must be a str"),
        ({"id": "d", "text": "a", "metadata": [1]}, "metadata of document 'd' must be a mapping, not list"),
        ({"id": "d", "text": "ab\ud800"}, "lone surrogate at index 2"),
    ],
)
def test_an_unusable_document_says_what_is_wrong(fields, said):
    with pytest.raises(InputError, match=said):
        Document(**fields)


def test_the_advice_for_lone_surrogates_works():
    text = "ab\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert Document("d", text).text == "ab\ufffd"


def test_content_is_title_and_text():
    assert Document("d", "text", title="title").content == "title\ntext"
    assert Document("d", "text").content == "text"
    assert Document("d", "").content == ""


@pytest.mark.parametrize("text", ["", "  \n\t", "\u3000"])
def test_a_blank_query_is_refused(text):
    with pytest.raises(InputError, match="empty or blank"):
        Query(text)


@pytest.mark.parametrize(
    ("vector", "problem"),
    [
        ([[[1.0, 2.0]]], r"must have the shape \(dim,\).*, not \(1, 1, 2\)"),
        (2.0, r"must have the shape \(dim,\).*, not \(\)"),
        ([1.0, float("nan")], "must be finite in float32, and holds nan at index 1"),
        ([float("inf"), 1.0], "must be finite in float32, and holds inf at index 0"),
        ([0.0, 1e300], r"must be finite in float32, and holds 1e\+300 at index 1"),
        ([1.0, None], "must be finite in float32, and holds None at index 1"),
        (["1", "2"], "must hold real numbers"),
        ([1.0, "2"], "must hold real numbers"),
        (np.array([1, "2"], dtype=object), "must hold real numbers"),
        ([1j, 2.0], "must hold real numbers"),
        ([True, False], "must hold real numbers"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_query_vector_is_real_finite_and_flat(vector, problem):
    with pytest.raises(InputError, match=problem):
        Query("q", vector=vector)
    with pytest.raises(InputError, match=f"vector for 'dense' {problem}"):
        Query("q", vectors={"dense": vector})


def test_a_query_takes_any_numbers_and_any_ids():
    query = Query("q", vector=[1, 0], ids=["a", "b", "a"])
    assert query.vector is not None
    assert query.vector.dtype == np.float32
    assert query.ids == {"a", "b"}
    with pytest.raises(InputError, match="not one str"):
        Query("q", ids="abc")


def test_input_errors_are_value_errors_and_ours():
    assert issubclass(InputError, ValueError)
    assert issubclass(InputError, HybridrankError)


def test_a_ranking_is_sorted_by_score_then_id_and_holds_no_id_twice():
    ranking = Ranking.of([("b", 1.0), ("c", 2.0), ("a", 1.0), ("b", 3.0), ("b", 0.5)])
    assert ranking.ids == ("b", "c", "a")
    assert ranking.scores == (3.0, 2.0, 1.0)
    assert len(ranking) == 3
    assert Ranking.of({"a": 1.0, "b": 2.0}, k=1).ids == ("b",)


def test_scores_are_floats_with_notes():
    scores = Scores([1, np.float32(0.5)], details={"tokens": 3})
    assert scores == (1.0, 0.5)
    assert all(type(score) is float for score in scores)
    assert scores.details == {"tokens": 3}
    assert Scores([]).details == {}
