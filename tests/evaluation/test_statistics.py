"""Statistics: scipy's numbers, exact ones where they can be counted, and silence where there is nothing to say."""

from __future__ import annotations

import random
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.evaluation import holm, mean_interval, overlap, paired_test, rank_biased_overlap


def cases():
    chance = random.Random(5)
    for size in (2, 7, 40, 300):
        before = [round(chance.random(), 3) for _ in range(size)]
        yield before, [min(1.0, max(0.0, value + chance.gauss(0.03, 0.1))) for value in before]


@pytest.mark.parametrize(("before", "after"), list(cases()), ids=lambda values: str(len(values)))
def test_equal_to_scipy(before, after):
    theirs = stats.permutation_test(
        (after, before),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        permutation_type="samples",
        alternative="two-sided",
        n_resamples=9999,
        rng=np.random.default_rng(0),
    )
    assert paired_test(after, before) == pytest.approx(theirs.pvalue, abs=1e-12)
    gains = np.subtract(after, before)
    interval = stats.bootstrap(
        (gains,), np.mean, method="BCa", confidence_level=0.95, n_resamples=9999, rng=np.random.default_rng(0)
    ).confidence_interval
    assert mean_interval(list(gains)) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_few_pairs_are_counted_exactly():
    before, after = [0.2, 0.5, 0.1, 0.9, 0.3], [0.4, 0.4, 0.6, 0.9, 0.8]
    gains = [b - a for a, b in zip(before, after, strict=True)]
    ways = [abs(sum(s * g for s, g in zip(signs, gains, strict=True))) for signs in product((1, -1), repeat=5)]
    assert paired_test(after, before) == pytest.approx(np.mean(np.array(ways) >= abs(sum(gains)) - 1e-12))


def test_ties_everywhere():
    assert paired_test([0.5] * 30, [0.5] * 30) == 1.0
    assert mean_interval([0.5] * 30) == (0.5, 0.5)
    low, high = mean_interval([0.0] * 200 + [1.0])  # almost all equal
    assert 0 <= low < 1 / 201 < high < 0.1


def test_one_query_has_no_statistics():
    assert paired_test([0.5], [0.1]) is None
    assert mean_interval([0.5]) is None
    assert paired_test([], []) is None


def test_seeds_decide():
    values = [random.Random(n).random() for n in range(30)]
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1) != mean_interval(values, seed=2)
    others = list(reversed(values))
    assert paired_test(values, others, seed=1) == paired_test(values, others, seed=1)


def test_holm():
    """The values of R's ``p.adjust(p, "holm")``."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.9, 0.001, 0.5]) == pytest.approx([1.0, 0.003, 1.0])
    assert holm([]) == []


def test_what_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="needs pairs, not 2 values and 1"):
        paired_test([0.1, 0.2], [0.1])
    with pytest.raises(InputError, match="a confidence lies between 0 and 1"):
        mean_interval([0.1, 0.2], confidence=95)
    with pytest.raises(InputError, match="at least 99 resamples"):
        paired_test([0.1, 0.2], [0.1, 0.3], resamples=9)


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "hybridrank\[evaluate\]"'):
        paired_test([0.1, 0.2], [0.1, 0.3])


def extrapolated(ranking, other, p):
    """Equation 32 of Webber, Moffat and Zobel, with every overlap counted again."""
    short, long = sorted((ranking, other), key=len)
    s, n = len(short), len(long)
    x = [len(set(short[:d]) & set(long[:d])) for d in range(n + 1)]
    seen = sum(x[d] / d * p**d for d in range(1, n + 1))
    beyond = sum(x[s] * (d - s) / (s * d) * p**d for d in range(s + 1, n + 1))
    return (1 - p) / p * (seen + beyond) + ((x[n] - x[s]) / n + x[s] / s) * p**n


RANKINGS = st.permutations("abcdefghij").flatmap(lambda order: st.integers(1, 10).map(lambda n: order[:n]))


@given(RANKINGS, RANKINGS, st.sampled_from([0.5, 0.9, 0.98]))
def test_rank_biased_overlap(ranking, other, p):
    found = rank_biased_overlap(ranking, other, p=p)
    assert found == pytest.approx(extrapolated(ranking, other, p))
    assert found == pytest.approx(rank_biased_overlap(other, ranking, p=p))
    assert -1e-9 <= found <= 1 + 1e-9
    assert rank_biased_overlap(ranking, ranking, p=p) == pytest.approx(1)
    assert rank_biased_overlap(ranking, [each.upper() for each in other], p=p) == 0


def test_similarity_of_what_is_empty():
    assert rank_biased_overlap([], []) == overlap([], [], k=5) == 1
    assert rank_biased_overlap(["a"], []) == overlap(["a"], [], k=5) == 0
    assert overlap(["a", "b"], ["b"], k=5) == 0.5
    with pytest.raises(InputError, match="p lies between 0 and 1"):
        rank_biased_overlap([], [], p=1.0)
    with pytest.raises(InputError, match="at least the first document"):
        overlap([], [], k=0)
