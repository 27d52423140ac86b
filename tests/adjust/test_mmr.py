from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridrank import Candidates, Document, Query, Ranking
from hybridrank.adjust import MMR
from hybridrank.errors import BackendTimeoutError, ConfigError, InputError
from hybridrank.fusion.normalization import min_max
from hybridrank.runtime.deadline import limited

QUERY = Query("q")


def candidates(vectors, ids=None):
    names = [f"d{number}" for number in range(len(vectors))] if ids is None else ids
    return Candidates(QUERY, [Document(name, "") for name in names], np.array(vectors, np.float32))


def relevance(scores):
    low, high = min(scores), max(scores)
    return [1.0 if high == low else (score - low) / (high - low) for score in scores]


def worth(weight, relevant, vectors, taken, number):
    near = [math.fsum(a * b for a, b in zip(vectors[number], vectors[other], strict=True)) for other in taken]
    return weight * relevant[number] - (1 - weight) * max([0.0, *near])


@st.composite
def cases(draw, elements, weights, scores):
    count, dim = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(elements, min_size=dim, max_size=dim), min_size=count, max_size=count))
    names = draw(st.permutations([f"d{number:02}" for number in range(count)]))
    return draw(weights), draw(st.lists(scores, min_size=count, max_size=count)), rows, names


@given(cases(st.floats(-1, 1, width=32), st.floats(0, 1), st.floats(-50, 50)))
def test_each_value_is_the_best_there_was_when_it_was_taken(case):
    weight, scores, rows, names = case
    values = MMR(weight=weight).adjust(candidates(rows, names), scores)
    place = {name: number for number, name in enumerate(names)}
    order = [place[name] for name in Ranking.of(zip(names, values, strict=True)).ids]
    relevant, taken = relevance(scores), []
    for number in order:
        assert values[number] == pytest.approx(worth(weight, relevant, rows, taken, number), abs=1e-9)
        for other in set(order) - {*taken, number}:
            assert worth(weight, relevant, rows, taken, other) <= values[number] + 1e-9
        taken.append(number)
    assert all(values[a] >= values[b] for a, b in pairwise(order))


@given(
    cases(
        st.sampled_from([-1.0, 0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0, 2.0])
    )
)
def test_ties_too_are_taken_as_a_plain_loop_takes_them(case):
    """With numbers of which every product and sum is exact, so that ties are ties."""
    weight, scores, rows, names = case
    relevant, left, taken, expected = relevance(scores), set(range(len(names))), [], {}
    while left:
        best = min(left, key=lambda number: (-worth(weight, relevant, rows, taken, number), names[number]))
        expected[names[best]] = worth(weight, relevant, rows, taken, best)
        left.remove(best)
        taken.append(best)
    values = MMR(weight=weight).adjust(candidates(rows, names), scores)
    assert dict(zip(names, values, strict=True)) == expected
    assert Ranking.of(zip(names, values, strict=True)).ids == tuple(names[number] for number in taken)


def test_a_copy_goes_behind_what_is_new():
    values = MMR(weight=0.5).adjust(candidates([[1, 0], [1, 0], [0, 1]]), [3.0, 2.0, 1.0])
    assert values == (0.5, -0.25, 0.0)
    assert MMR(weight=1.0).adjust(candidates([[1, 0], [1, 0], [0, 1]]), [3.0, 2.0, 1.0]) == (1.0, 0.5, 0.0)


def test_equal_scores_do_not_become_zero():
    assert MMR(weight=0.5).adjust(candidates([[1, 0]]), [-4.0]) == (0.5,)
    assert MMR(weight=0.5).adjust(candidates([[1, 0], [1, 0], [0, 1]]), [-4.0] * 3) == (0.5, 0.0, 0.5)


def test_opposite_vectors_earn_no_more_than_unrelated_ones():
    assert MMR(weight=0.5).adjust(candidates([[1, 0], [-1, 0]]), [1.0, 1.0]) == (0.5, 0.5)


def test_documents_without_vectors_are_counted():
    values = MMR(weight=0.5).adjust(candidates([[1, 0], [0, 0], [1, 0]]), [1.0, 1.0, 1.0])
    assert values == (0.5, 0.5, 0.0)
    assert values.details == {"without_vector": 1}


def test_without_any_vectors_it_says_what_is_missing():
    with pytest.raises(InputError, match="vectors"):
        MMR().adjust(Candidates(QUERY, [Document("d", "")]), [1.0])


def test_it_stops_when_the_time_is_up():
    with limited(1e-9), pytest.raises(BackendTimeoutError, match="mmr"):
        MMR().adjust(candidates([[1, 0]]), [1.0])


@pytest.mark.parametrize("weight", [-0.1, 1.1, "much"])
def test_the_weight_is_a_share(weight):
    with pytest.raises(ConfigError) as caught:
        MMR(weight=weight)
    assert caught.value.path == "$.weight"


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8))
def test_scaling_keeps_the_order_whatever_the_scale(scores):
    found = min_max(scores)
    assert all(0 <= value <= 1 for value in found)
    if scores:
        assert found[scores.index(max(scores))] == 1.0
    assert all(
        found[a] <= found[b] for a in range(len(scores)) for b in range(len(scores)) if scores[a] <= scores[b]
    )
