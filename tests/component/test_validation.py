from __future__ import annotations

import json

import numpy as np
import pytest

from hybridrank import Candidates, Document, Query, Ranking, Scores, Span
from hybridrank.component.validation import validate_rankings, validate_scores, validate_vectors
from hybridrank.errors import BackendResponseError

BATCH = [Candidates(Query("q"), (Document("a", "x"), Document("b", "y"))), Candidates(Query("r"), ())]


def check(ranking, k=10):
    (checked,) = validate_rankings([ranking], queries=1, k=k, source="arm")
    return checked


def test_a_sound_ranking_passes_as_it_is():
    ranking = Ranking(("a", "b"), (2.0, 1.0))
    assert check(ranking) is ranking


def test_notes_are_copied_as_json():
    notes = {"best": np.float32(0.5), "raw": b"\xff", "cut": {3}, "lists": [[float("nan")]]}
    ranking = check(Ranking(("a", "b"), (2.0, 1.0), {}, notes))
    assert ranking.details == {"best": 0.5, "raw": "<bytes>", "cut": "<set>", "lists": [["NaN"]]}
    row, _ = validate_scores([Scores([1, 2], details=notes), []], BATCH, source="it")
    assert row.details == ranking.details
    notes["lists"].append("later")
    assert ranking.details["lists"] == row.details["lists"] == [["NaN"]]


@pytest.mark.parametrize("details", [None, 3, "quick", ["a"], np.arange(3), object()])
def test_notes_that_are_no_mapping_fail_nothing(details):
    row, _ = validate_scores([Scores([1, 2], details=details), []], BATCH, source="it")
    for found in (row.details, check(Ranking(("a",), (1.0,), {}, details)).details):
        assert json.loads(json.dumps(found)) == found


def test_what_can_only_mean_one_thing_is_put_right():
    assert check(Ranking(("b", "a", "c"), (1.0, 1.0, 1.0))).ids == ("a", "b", "c")
    assert check(Ranking(("a", "b", "a"), (3.0, 2.0, 1.0))).ids == ("a", "b")
    assert check(Ranking(("a", "b"), (3.0, 2.0)), k=1).ids == ("a",)
    assert check(Ranking(("a",), (np.float32(0.5),))).scores == (0.5,)
    assert type(check(Ranking((np.str_("a"),), (0.5,))).ids[0]) is str
    repaired = check(Ranking(("b", "a"), (1.0, 1.0), {"a": Document("a", "")}, {"note": 1}))
    assert repaired.details == {"note": 1}
    assert set(repaired.documents) == {"a"}


@pytest.mark.parametrize(
    ("ranking", "said"),
    [
        (Ranking(("a", "b"), (1.0, 2.0)), "'b' below 'a'"),
        (Ranking(("a",), (float("nan"),)), "'a' nan"),
        (Ranking(("a",), (float("inf"),)), "must be finite"),
        (Ranking(("a",), ("high",)), "not a number"),
        (Ranking(("a", "b"), (1.0,)), "one score per id"),
        (["a"], "one score per id"),
        (Ranking((1, 2), (2.0, 1.0)), "the id 1, which is a int; ids are text"),
        (Ranking((["a"],), (1.0,)), "is a list; ids are text"),
        (Ranking(("a", "\ud800"), (2.0, 1.0)), "holds a lone surrogate"),
    ],
)
def test_a_ranking_that_cannot_be_believed_is_refused(ranking, said):
    with pytest.raises(BackendResponseError, match=said):
        check(ranking)


def test_one_ranking_per_query():
    with pytest.raises(BackendResponseError, match="arm returned 0 rankings, expected 1"):
        validate_rankings([], queries=1, k=1, source="arm")
    with pytest.raises(BackendResponseError, match="arm returned NoneType, not rankings"):
        validate_rankings(None, queries=1, k=1, source="arm")


def test_sound_scores_become_floats_and_keep_their_notes():
    checked = validate_scores([Scores([1, 2], details={"n": 2}), []], BATCH, source="it")
    assert checked == [(1.0, 2.0), ()]
    assert checked[0].details == {"n": 2}
    assert validate_scores([np.array([1, 2], np.float32), []], BATCH, source="it")[0] == (1.0, 2.0)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([[1.0]], "1 lists of scores, expected 2"),
        ([[1.0], []], "1 scores, expected 2"),
        ([[1.0, 2.0], [3.0]], "1 scores, expected 0"),
        ([[1.0, float("nan")], []], "document 'b' nan"),
        ([[None, 1.0], []], "document 'a' None"),
        (None, "NoneType"),
        ([None, None], "NoneType"),
    ],
)
def test_scores_that_cannot_be_believed_are_refused(scores, said):
    with pytest.raises(BackendResponseError, match=said):
        validate_scores(scores, BATCH, source="it")


def test_vectors_are_a_float32_matrix_of_unit_rows():
    vectors = validate_vectors([[1.0, 0.0], [0.6, 0.8]], count=2, source="it")
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert validate_vectors(np.zeros((0, 3)), count=0, source="it").shape == (0, 3)


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ([1.0, 0.0], r"shape \(2,\)"),
        ([[1.0, 0.0]], r"shape \(1, 2\), expected \(2, dim\)"),
        ([[1.0, 0.0], [np.nan, 0.0]], "not finite, for text 1 of 2"),
        ([[1.0, 0.0], [2.0, 0.0]], "length 2 for text 1"),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "3 dimensions, but the index holds 2"),
    ],
)
def test_vectors_that_cannot_be_believed_are_refused(vectors, said):
    with pytest.raises(BackendResponseError, match=said):
        validate_vectors(vectors, count=2, dim=2, source="it")


DOCUMENT = Document("a", "soil", title="Earth")


def spans_checked(*spans):
    [row] = validate_scores([Scores([1.0], spans=[spans])], [Candidates(Query("q"), [DOCUMENT])], source="it")
    return row.spans


def test_spans_are_sorted_best_first_and_there_is_a_tuple_for_each_document():
    assert spans_checked(Span(0, 1, 0.5), Span(1, 4, 2), Span(2, 3, 0.5)) == (
        (Span(1, 4, 2.0), Span(0, 1, 0.5), Span(2, 3, 0.5)),
    )
    assert validate_scores([[1, 2], []], BATCH, source="it")[0].spans == ((), ())


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (Span(0, 5, 1.0), "whose text has 4 characters"),
        (Span(2, 2, 1.0), "0 <= start < end"),
        (Span(-1, 2, 1.0), "0 <= start < end"),
        (Span(0.5, 2, 1.0), "0 <= start < end"),
        (Span(0, 2, float("nan")), "nan"),
        ((0, 2, 1.0), "expected a Span"),
    ],
)
def test_a_span_that_is_not_within_its_text_is_refused(span, message):
    with pytest.raises(BackendResponseError, match=message):
        spans_checked(span)


def test_spans_of_another_number_of_documents_are_refused():
    row = Scores([1.0], spans=[[Span(0, 1, 1.0)], []])
    with pytest.raises(BackendResponseError, match="2 tuples of spans, expected 1"):
        validate_scores([row], [Candidates(Query("q"), [DOCUMENT])], source="it")
