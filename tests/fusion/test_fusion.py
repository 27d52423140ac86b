"""Fusions: hand-computed values, invariants, and references that are written independently of the code."""

import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridrank.component.protocols import Fusion
from hybridrank.component.registry import create
from hybridrank.errors import ConfigError
from hybridrank.fusion import RRF, ScoreFusion
from hybridrank.types import Query, Ranking

NORMALIZATIONS = ("min-max", "z-score", "dbsf")
COMBINATIONS = ("sum", "max", "mnz")
ALL = [RRF(), RRF(k=1, weights={"a": 0.3}), RRF(weights={"a": 0.0, "b": 7.0})] + [
    ScoreFusion(normalize=normalize, combine=combine, weights={"a": 2.5, "b": 0.0})
    for normalize, combine in itertools.product(NORMALIZATIONS, COMBINATIONS)
]

examples = settings(max_examples=50, deadline=None)
scores = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-9]))
rankings = st.dictionaries(st.sampled_from("pqrstuvwxyz"), scores, max_size=11).map(Ranking.of)
arms = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), rankings, max_size=4)


def as_dict(ranking):
    return dict(zip(ranking.ids, ranking.scores, strict=True))


def fused(fusion, **scored):
    return as_dict(fusion.fuse({arm: Ranking.of(found) for arm, found in scored.items()}, query=Query("soil")))


def test_rrf_by_hand():
    result = fused(RRF(), bm25={"x": 12.0, "y": 11.0, "z": 1.0}, dense={"z": 0.9, "w": 0.8})
    assert result == pytest.approx({"z": 1 / 63 + 1 / 61, "x": 1 / 61, "y": 1 / 62, "w": 1 / 62}, rel=1e-15)
    assert list(result) == ["z", "x", "w", "y"]  # w and y tie: by id


def test_rrf_weighs_arms_and_takes_its_constant():
    result = fused(RRF(k=1, weights={"dense": 3.0}), bm25={"x": 2.0, "y": 1.0}, dense={"y": 0.9})
    assert result == pytest.approx({"y": 1 / 3 + 3 / 2, "x": 1 / 2}, rel=1e-15)


def test_an_arm_of_weight_zero_brings_its_documents_last():
    result = fused(RRF(weights={"b": 0.0}), a={"x": 1.0}, b={"y": 9.0, "x": 8.0})
    assert result == {"x": 1 / 61, "y": 0.0}


def test_documents_that_swap_ranks_among_three_arms_tie_exactly():
    # In floating point (1/61 + 1/62) + 1/67 and (1/67 + 1/62) + 1/61 need not be equal: a plain sum would let
    # rounding decide what the ids should.
    orders = list(itertools.permutations(["z", "y", "x"]))
    result = RRF(k=7).fuse(
        {str(n): Ranking(order, (3.0, 2.0, 1.0)) for n, order in enumerate(orders)}, query=Query("soil")
    )
    assert result.ids == ("x", "y", "z")
    assert len(set(result.scores)) == 1


@pytest.mark.parametrize(
    ("normalize", "combine", "expected"),
    [
        # a: p 10, q 6, r 2; b: q 0.9, s 0.5. Min-max: p 1, q .5, r 0; q 1, s 0.
        ("min-max", "sum", {"q": 1.5, "p": 1.0, "r": 0.0, "s": 0.0}),
        ("min-max", "max", {"p": 1.0, "q": 1.0, "r": 0.0, "s": 0.0}),
        ("min-max", "mnz", {"q": 3.0, "p": 1.0, "r": 0.0, "s": 0.0}),
        # Deviations (population): a sqrt(32 / 3), b 0.2; above the lowest: p 8, q 4, r 0; q .4, s 0.
        ("z-score", "sum", {"q": 4 / math.sqrt(32 / 3) + 2, "p": 8 / math.sqrt(32 / 3), "r": 0.0, "s": 0.0}),
        ("z-score", "max", {"p": 8 / math.sqrt(32 / 3), "q": 2.0, "r": 0.0, "s": 0.0}),
        # Deviations (sample): a 4, b sqrt(.08). (10 - 6) / 24 + .5 = 2/3, q .5, r 1/3; q .5 + .2 / (6 sqrt .08).
        (
            "dbsf",
            "sum",
            {
                "q": 1.0 + 0.2 / (6 * math.sqrt(0.08)),
                "p": 2 / 3,
                "s": 0.5 - 0.2 / (6 * math.sqrt(0.08)),
                "r": 1 / 3,
            },
        ),
    ],
)
def test_score_fusion_by_hand(normalize, combine, expected):
    fusion = ScoreFusion(normalize=normalize, combine=combine)
    result = fused(fusion, a={"p": 10.0, "q": 6.0, "r": 2.0}, b={"q": 0.9, "s": 0.5})
    assert result == pytest.approx(expected, rel=1e-12)
    assert list(result) == sorted(result, key=lambda doc_id: (-result[doc_id], doc_id))


def test_score_fusion_weighs_arms():
    found = {"a": {"p": 3.0, "q": 1.0}, "b": {"q": 0.9, "p": 0.1}}
    assert fused(ScoreFusion(weights={"b": 2.0}), **found) == {"q": 2.0, "p": 1.0}
    assert fused(ScoreFusion(weights={"b": 2.0}, combine="max"), **found) == {"q": 2.0, "p": 1.0}


def test_mnz_counts_arms_that_found_a_document_and_have_a_say():
    found = {"a": {"p": 3.0, "q": 1.0}, "b": {"p": 0.9, "r": 0.1}, "c": {"p": 5.0, "s": 4.0}}
    assert fused(ScoreFusion(combine="mnz"), **found)["p"] == 9.0
    assert fused(ScoreFusion(combine="mnz", weights={"c": 0.0}), **found) == {
        "p": 4.0,
        "q": 0.0,
        "r": 0.0,
        "s": 0.0,
    }


@pytest.mark.parametrize(("normalize", "value"), [("min-max", 1.0), ("z-score", 1.0), ("dbsf", 0.5)])
@pytest.mark.parametrize("score", [0.0, 1.0, -7.5, 1e-300])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_single_or_tied_ranking_keeps_its_say(normalize, value, score, count):
    tied = {f"d{n:02}": score for n in range(count)}
    assert fused(ScoreFusion(normalize=normalize), a=tied, b={}) == dict.fromkeys(sorted(tied), value)


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("low", [0.0, 3e-310, 1.0, 1e300])
def test_scores_that_differ_by_one_bit_are_told_apart(normalize, low):
    result = fused(ScoreFusion(normalize=normalize), a={"p": low, "q": math.nextafter(low, math.inf)})
    assert result["q"] > result["p"] >= 0


def test_dbsf_raises_what_lies_below_its_scale_to_zero_and_leaves_what_lies_above():
    flat = {f"d{n:02}": 1.0 for n in range(49)}
    assert fused(ScoreFusion(normalize="dbsf"), a=flat | {"out": -40.0})["out"] == 0.0
    assert fused(ScoreFusion(normalize="dbsf"), a=flat | {"out": 40.0})["out"] > 1.0


@pytest.mark.parametrize("fusion", ALL, ids=repr)
def test_nothing_found_fuses_to_nothing(fusion):
    assert fusion.fuse({}, query=Query("soil")) == Ranking()
    assert fusion.fuse({"a": Ranking(), "b": Ranking()}, query=Query("soil")) == Ranking()


@pytest.mark.parametrize("fusion", ALL, ids=repr)
@examples
@given(found=arms)
def test_a_fused_ranking_is_the_sorted_union(fusion, found):
    result = fusion.fuse(found, query=Query("soil"))
    assert set(result.ids) == {doc_id for ranking in found.values() for doc_id in ranking.ids}
    assert len(set(result.ids)) == len(result.ids) == len(result.scores)
    assert all(type(score) is float and math.isfinite(score) and score >= 0 for score in result.scores)
    pairs = list(zip(result.ids, result.scores, strict=True))
    assert pairs == sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


@pytest.mark.parametrize("fusion", ALL, ids=repr)
@examples
@given(found=arms, data=st.data())
def test_the_order_of_the_mapping_and_empty_arms_change_nothing(fusion, found, data):
    shuffled = dict(data.draw(st.permutations(list(found.items()))))
    assert fusion.fuse(shuffled, query=Query("soil")) == fusion.fuse(found, query=Query("soil"))
    assert fusion.fuse(found | {"empty": Ranking()}, query=Query("soil")) == fusion.fuse(
        found, query=Query("soil")
    )


@pytest.mark.parametrize("fusion", [RRF(), *(ScoreFusion(normalize=n) for n in NORMALIZATIONS)], ids=repr)
@examples
@given(found=st.lists(rankings, min_size=2, max_size=4), data=st.data())
def test_unweighted_arms_can_swap_names(fusion, found, data):
    swapped = data.draw(st.permutations(found))
    assert fusion.fuse(dict(zip("abcd", swapped, strict=False)), query=Query("soil")) == fusion.fuse(
        dict(zip("abcd", found, strict=False)), query=Query("soil")
    )


@examples
@given(found=arms, scale=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3))
def test_rrf_reads_ranks_alone(found, scale, shift):
    rescored = {
        arm: Ranking(ranking.ids, tuple(score * scale + shift for score in ranking.scores))
        for arm, ranking in found.items()
    }
    assert RRF().fuse(rescored, query=Query("soil")) == RRF().fuse(found, query=Query("soil"))


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@examples
@given(
    found=st.dictionaries(st.sampled_from("pqrst"), st.integers(-50, 50), min_size=1),
    scale=st.sampled_from([0.25, 2.0, 1024.0]),
    shift=st.integers(-64, 64),
)
def test_score_fusion_does_not_see_an_arms_unit_or_origin(normalize, found, scale, shift):
    rescored = {doc_id: score * scale + shift for doc_id, score in found.items()}
    fusion = ScoreFusion(normalize=normalize)
    other = {"q": 2.0, "x": 1.0}
    assert fused(fusion, a=rescored, b=other) == pytest.approx(fused(fusion, a=found, b=other), abs=1e-12)


@examples
@given(found=arms, data=st.data())
def test_rrf_a_better_rank_never_lowers_a_document(found, data):
    arm = data.draw(st.sampled_from([arm for arm in found if found[arm].ids] or [None]))
    if arm is None:
        return
    ids = list(found[arm].ids)
    at = data.draw(st.integers(0, len(ids) - 1))
    to = data.draw(st.integers(0, at))
    doc_id = ids.pop(at)
    ids.insert(to, doc_id)
    promoted = found | {arm: Ranking(tuple(ids), found[arm].scores)}
    before, after = RRF().fuse(found, query=Query("soil")), RRF().fuse(promoted, query=Query("soil"))
    assert as_dict(after)[doc_id] >= as_dict(before)[doc_id]
    assert after.ids.index(doc_id) <= before.ids.index(doc_id)


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("combine", COMBINATIONS)
@examples
@given(found=st.lists(rankings, min_size=2, max_size=4))
def test_being_found_never_counts_for_less_than_being_missed(normalize, combine, found):
    fusion = ScoreFusion(normalize=normalize, combine=combine)
    without = as_dict(fusion.fuse({str(n): ranking for n, ranking in enumerate(found[1:])}, query=Query("soil")))
    with_it = as_dict(
        fusion.fuse({str(n): ranking for n, ranking in enumerate(found, start=-1)}, query=Query("soil"))
    )
    assert all(with_it[doc_id] >= score for doc_id, score in without.items())


@examples
@given(found=arms, weights=st.dictionaries(st.sampled_from("abcd"), st.floats(0, 10)), k=st.integers(1, 1000))
def test_rrf_equals_its_formula(found, weights, k):
    documents = {doc_id for ranking in found.values() for doc_id in ranking.ids}
    expected = {
        doc_id: sum(
            weights.get(arm, 1.0) / (k + 1 + ranking.ids.index(doc_id))
            for arm, ranking in found.items()
            if doc_id in ranking.ids
        )
        for doc_id in documents
    }
    assert as_dict(RRF(k=k, weights=weights).fuse(found, query=Query("soil"))) == pytest.approx(
        expected, rel=1e-12
    )


def reference_normalized(normalize, values):
    """As the literature has it, with the standard library's statistics."""
    if len(set(values)) < 2:
        return [{"min-max": 1.0, "z-score": 1.0, "dbsf": 0.5}[normalize]] * len(values)
    if normalize == "min-max":
        return [(value - min(values)) / (max(values) - min(values)) for value in values]
    mean = statistics.fmean(values)
    if normalize == "z-score":
        standard = [(value - mean) / statistics.pstdev(values) for value in values]
        return [value - min(standard) for value in standard]
    low, high = mean - 3 * statistics.stdev(values), mean + 3 * statistics.stdev(values)
    return [max(0.0, (value - low) / (high - low)) for value in values]


small = st.dictionaries(st.sampled_from("pqrstuvw"), st.integers(-100, 100).map(float)).map(Ranking.of)


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("combine", COMBINATIONS)
@examples
@given(
    found=st.dictionaries(st.sampled_from("abc"), small),
    weights=st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.0, 0.5, 1.0, 3.0])),
)
def test_score_fusion_equals_its_reference(normalize, combine, found, weights):
    parts = {}
    for arm, ranking in found.items():
        for doc_id, value in zip(ranking.ids, reference_normalized(normalize, ranking.scores), strict=True):
            weight = weights.get(arm, 1.0)
            parts.setdefault(doc_id, []).append((weight, weight * value))
    expected = {
        doc_id: {
            "sum": sum(value for _, value in values),
            "max": max(value for _, value in values),
            "mnz": sum(value for _, value in values) * sum(weight > 0 for weight, _ in values),
        }[combine]
        for doc_id, values in parts.items()
    }
    result = ScoreFusion(normalize=normalize, combine=combine, weights=weights).fuse(found, query=Query("soil"))
    assert as_dict(result) == pytest.approx(expected, abs=1e-9)


@examples
@given(left=small, right=small)
def test_z_scores_order_as_plain_ones_that_give_the_missed_the_lowest(left, right):
    def plain(ranking):
        if len(set(ranking.scores)) < 2:
            return None
        mean, deviation = statistics.fmean(ranking.scores), statistics.pstdev(ranking.scores)
        return {doc_id: (score - mean) / deviation for doc_id, score in as_dict(ranking).items()}

    if (a := plain(left)) is None or (b := plain(right)) is None:
        return
    result = ScoreFusion(normalize="z-score").fuse({"a": left, "b": right}, query=Query("soil"))
    sums = [a.get(doc_id, min(a.values())) + b.get(doc_id, min(b.values())) for doc_id in result.ids]
    assert all(better >= worse - 1e-9 for better, worse in itertools.pairwise(sums))


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: RRF(k=0), "$.k"),
        (lambda: RRF(k=1.5), "$.k"),
        (lambda: RRF(weights={"bm25": -1.0}), "$.weights.bm25"),
        (lambda: RRF(weights={"bm25": math.nan}), "$.weights.bm25"),
        (lambda: ScoreFusion(weights={"bm25": math.inf}), "$.weights.bm25"),
        (lambda: ScoreFusion(normalize="minmax"), "$.normalize"),
        (lambda: ScoreFusion(combine="mean"), "$.combine"),
        (lambda: ScoreFusion(k=60), "$.k"),
    ],
)
def test_wrong_options_are_refused_where_they_stand(make, where):
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.path == where


@pytest.mark.parametrize("fusion", ALL, ids=repr)
def test_a_fusion_is_a_registered_component(fusion):
    assert isinstance(fusion, Fusion)
    assert create("fusion", fusion.to_config()) == fusion
