"""The bound on refused questions: against the binomial distribution of scipy, and in simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from hybridrank.relevance.refusals import questions_needed, refusal_rank, refusal_threshold

bounds = st.floats(0.01, 0.5)
confidences = st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99])


@given(st.integers(0, 800), bounds, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_rank_is_the_largest_within_the_bound(questions, bound, confidence):
    rank = refusal_rank(questions, max_refused=bound, confidence=confidence)
    assert 0 <= rank <= questions
    if rank:
        assert binom.sf(rank - 1, questions, bound) >= confidence - 1e-9
        assert beta.cdf(bound, rank, questions + 1 - rank) >= confidence - 1e-9  # the same, of the share refused
    if rank < questions:
        assert binom.sf(rank, questions, bound) <= confidence + 1e-9


@given(st.integers(0, 800), bounds)
def test_without_a_confidence_the_expected_share_is_bounded(questions, bound):
    rank = refusal_rank(questions, max_refused=bound, confidence=0.0)
    assert rank / (questions + 1) <= bound + 1e-9
    assert (rank + 1) / (questions + 1) > bound - 1e-9


@given(bounds, confidences)
def test_so_many_questions_are_needed_and_no_fewer(bound, confidence):
    needed = questions_needed(max_refused=bound, confidence=confidence)
    assert refusal_rank(needed, max_refused=bound, confidence=confidence) >= 1
    assert needed == 0 or refusal_rank(needed - 1, max_refused=bound, confidence=confidence) == 0


@given(st.lists(st.floats(-10, 10), max_size=300), bounds, confidences)
def test_of_the_questions_themselves_no_more_are_refused(scores, bound, confidence):
    ordered = sorted(scores)
    threshold = refusal_threshold(ordered, max_refused=bound, confidence=confidence)
    if threshold is not None:
        assert sum(score < threshold for score in scores) <= bound * (len(scores) + 1)


@pytest.mark.parametrize("questions", [60, 150, 400])
def test_the_bound_holds_in_as_many_samples_as_it_says(questions):
    rng = np.random.default_rng(7)
    refused, expected = [], []
    for _ in range(2000):
        sample = tuple(np.sort(rng.standard_normal(questions)))
        for confidence, shares in ((0.95, refused), (0.0, expected)):
            threshold = refusal_threshold(sample, max_refused=0.05, confidence=confidence)
            shares.append(_below(threshold))
    assert np.mean(np.array(refused) <= 0.05) >= 0.94
    assert np.mean(expected) <= 0.051


def _below(threshold):
    from scipy.stats import norm

    return float(norm.cdf(threshold))
