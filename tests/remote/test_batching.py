from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridrank.errors import BackendResponseError
from hybridrank.remote.batching import Request, Response, by_index, is_finite, merge, split
from hybridrank.types import Candidates, Document, Query


def candidates(query, *texts):
    return Candidates(Query(query), [Document(f"d{number}", text) for number, text in enumerate(texts)])


def test_a_batch_is_split_by_query_and_size_and_blanks_are_left_out():
    batch = [candidates("a", "one", " ", "two", "three"), candidates("b"), candidates("c", "four")]
    assert split(batch, size=2) == [
        Request(0, "a", (0, 2), ("one", "two")),
        Request(0, "a", (3,), ("three",)),
        Request(2, "c", (0,), ("four",)),
    ]


@given(
    texts=st.lists(st.lists(st.sampled_from(["", "  ", "x", "long text", "ü"]), max_size=7), max_size=5),
    size=st.integers(1, 8),
)
def test_every_document_gets_its_own_score_however_it_is_split(texts, size):
    batch = [candidates(str(member), *each) for member, each in enumerate(texts)]
    parts = split(batch, size=size)
    answers = [Response(tuple(part.member * 100.0 + position for position in part.positions)) for part in parts]
    merged = merge(batch, parts, answers, blank=-5.0)
    assert [list(scores) for scores in merged] == [
        [member * 100.0 + position if text.strip() else -5.0 for position, text in enumerate(each)]
        for member, each in enumerate(texts)
    ]
    for scores, each in zip(merged, texts, strict=True):
        worded = sum(bool(text.strip()) for text in each)
        assert scores.details["requests"] == -(-worded // size)
        assert scores.details.get("blank_documents", 0) == len(each) - worded


def test_without_a_score_for_blanks_they_come_below_the_others():
    batch = [candidates("a", "", "one"), candidates("b", "", "two"), candidates("c", " ")]
    answers = [Response((3.0,)), Response((-7.0,))]
    merged = merge(batch, split(batch, size=9), answers, blank=None)
    assert [list(scores) for scores in merged] == [[-1.0, 3.0], [-8.0, -7.0], [-1.0]]


def test_what_the_calls_of_a_query_used_is_summed():
    batch = [candidates("a", "one", "two", "three")]
    notes = {"warnings": ["slow"], "ids": []}
    answers = [
        Response((1.0, 2.0), 1, {"tokens": 5}, notes),
        Response((3.0,), 2, {"tokens": 2, "units": 1}, notes),
    ]
    [scores] = merge(batch, split(batch, size=2), answers, blank=None)
    assert scores.details == {
        "tokens": 7,
        "units": 1,
        "warnings": ["slow", "slow"],
        "ids": [],
        "requests": 2,
        "retries": 3,
    }


def test_scores_are_put_in_order():
    assert by_index([(2, 1), (0, -0.5), (1, 7.0)], 3, who="it") == (-0.5, 7.0, 1.0)
    assert by_index([], 0, who="it") == ()


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([(0, 1.0)], "it scored 1 documents, expected 2"),
        ([(0, 1.0), (1, 1.0), (1, 1.0)], "it scored 3 documents, expected 2"),
        ([(0, 1.0), (0, 1.0)], "document 0 of 2 twice"),
        ([(0, 1.0), (2, 1.0)], "document 2 of 2: no such index"),
        ([(0, 1.0), (-1, 1.0)], "document -1 of 2: no such index"),
        ([(0, 1.0), (True, 1.0)], "document True of 2: no such index"),
        ([(0, 1.0), (1.0, 1.0)], "document 1.0 of 2: no such index"),
        ([(0, 1.0), ("s3cret", 1.0)], "document str of 2: no such index"),
        ([(0, 1.0), (1, None)], "document 1 of 2 None, not a finite number"),
        ([(0, 1.0), (1, "s3cret")], "document 1 of 2 str, not a finite number"),
        ([(0, 1.0), (1, float("nan"))], "document 1 of 2 nan, not a finite number"),
        ([(0, 1.0), (1, 10**400)], "not a finite number"),
    ],
)
def test_what_is_not_one_finite_score_for_each_is_refused(results, message):
    with pytest.raises(BackendResponseError, match=message):
        by_index(results, 2, who="it")


def test_what_is_a_number():
    assert all(is_finite(value) for value in (0, -1.5, 10**300))
    assert not any(is_finite(value) for value in (True, None, "1", float("inf"), 10**400, [1]))
