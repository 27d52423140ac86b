"""The reranker's scores mixed with the fused order: the pure functions, and what a pipeline makes of them."""

from __future__ import annotations

import asyncio
import json
import tomllib
from math import isfinite

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from support import TOPICS, Broken, SharedWords

from hybridrank import Candidates, Document, Pipeline, Ranking, Trace
from hybridrank.blend import ConfidenceBlend, blend, blend_scores, confidence_range_of
from hybridrank.errors import BackendUnavailableError, ConfigError, InputError
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank import Cached, Calibrated, Cascade, CrossEncoder, Fallback

QUESTION = "How to process organic waste?"
SCORES = st.lists(st.floats(-50, 50), min_size=1, max_size=30)
WEIGHTS = st.floats(0, 1)


def ids_of(scores):
    return [f"d{number:02}" for number in range(len(scores))]


def ranking(scores):
    return Ranking.of(zip(ids_of(scores), scores, strict=True))


def in_fused_order(scores):
    """A fused ranking of the same documents, in the order of `scores`."""
    return Ranking(tuple(ids_of(scores)), tuple(1 / (60 + rank) for rank in range(1, len(scores) + 1)))


@given(SCORES, WEIGHTS)
def test_a_blend_is_a_weighted_sum_of_z_scores(scores, weight):
    def z(values):
        return (values - values.mean()) / values.std() if np.ptp(values) else values * 0

    given = np.round(scores, 3)
    expected = (1 - weight) * z(given) + weight * z(-np.log(1 + np.arange(1, len(scores) + 1)))
    assert blend_scores(given.tolist(), weight=weight) == pytest.approx(expected.tolist(), abs=1e-6)


@given(st.lists(st.integers(-50_000, 50_000), min_size=1, max_size=30))
def test_the_ends_are_the_two_orders(thousandths):
    scores = [number / 1000 for number in thousandths]
    fused, reranked = in_fused_order(scores), ranking(scores)
    assert blend(fused, reranked, weight=0).ids == reranked.ids  # with its ties broken by id, too
    assert blend(fused, reranked, weight=1).ids == fused.ids


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=30), WEIGHTS, st.floats(0.01, 100), st.floats(-100, 100)
)
def test_a_factor_and_an_offset_change_nothing(scores, weight, factor, offset):
    moved = [factor * score + offset for score in scores]
    assert blend_scores(moved, weight=weight) == pytest.approx(blend_scores(scores, weight=weight), abs=1e-6)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=30), WEIGHTS)
def test_every_finite_score_has_a_finite_blend(scores, weight):
    mixed = blend_scores(scores, weight=weight)
    assert len(mixed) == len(scores)
    assert all(map(isfinite, mixed))


@given(SCORES, WEIGHTS, st.randoms())
def test_the_order_in_which_the_scores_arrive_changes_nothing(scores, weight, random):
    pairs = list(zip(ids_of(scores), scores, strict=True))
    random.shuffle(pairs)
    fused = in_fused_order(scores)
    assert blend(fused, Ranking.of(pairs), weight=weight) == blend(fused, ranking(scores), weight=weight)


@given(SCORES, WEIGHTS)
def test_better_in_both_orders_is_better_in_the_blend(scores, weight):
    mixed = blend_scores(scores, weight=weight)
    for above in range(len(scores)):
        for below in range(above + 1, len(scores)):
            if scores[above] >= scores[below]:
                assert mixed[above] >= mixed[below] - 1e-9


@given(st.integers(1, 30), st.floats(-50, 50), st.floats(0.01, 1))
def test_scores_that_are_all_equal_leave_the_fused_order(count, score, weight):
    fused = in_fused_order([score] * count)
    assert blend(fused, ranking([score] * count), weight=weight).ids == fused.ids


def test_fused_ranks_count_among_what_was_scored():
    fused = Ranking(("x", "b", "y", "a"), (0.4, 0.3, 0.2, 0.1))
    reranked = Ranking(("a", "b"), (2.0, 1.0))
    assert blend(fused, reranked, weight=0.25).ids == ("a", "b")
    assert blend(fused, reranked, weight=0.75).ids == ("b", "a")
    assert blend(fused, reranked, weight=0.5) == Ranking(("a", "b"), (0.0, 0.0))  # a tie, broken by id
    assert blend(fused, Ranking(), weight=0.5) == Ranking()
    with pytest.raises(InputError, match="lacks document 'new'"):
        blend(fused, Ranking(("new",), (1.0,)), weight=0.5)


# How much the fused order weighs


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_the_surer_the_reranker_the_less_the_fused_order_weighs(one, other):
    rule = ConfidenceBlend(weight_if_confident=0.2, weight_if_unsure=0.7, score_range=(-1.0, 4.0))
    low, high = ([best, best - 5] for best in sorted((one, other)))
    assert 0.7 >= rule.weight(low) >= rule.weight(high) >= 0.2 - 1e-12
    assert [rule.weight([best, -9.0]) for best in (-1.0, 4.0)] == pytest.approx([0.7, 0.2])


@given(st.floats(0, 20), st.floats(0, 20))
def test_the_less_it_tells_apart_the_more_the_fused_order_weighs(one, other):
    rule = ConfidenceBlend(
        weight_if_confident=0.2, weight_if_unsure=0.7, score_range=(0.0, 10.0), spread_range=(0.1, 0.2)
    )
    narrow, wide = ([10.0, 10.0 - apart] for apart in sorted((one, other)))  # a deviation of half of that
    assert 0.7 >= rule.weight(narrow) >= rule.weight(wide) - 1e-12 >= 0.2 - 1e-9
    found = [rule.weight([10.0, 10.0 - apart]) for apart in (0.0, 2.0, 3.0, 4.0)]
    assert found == pytest.approx([0.7, 0.7, 0.45, 0.2])


@given(st.floats(-50, 50), st.floats(0.01, 100), st.floats(-100, 100))
def test_confidence_moves_with_the_scale_that_is_told(best, factor, offset):
    rule = ConfidenceBlend()
    told = (5 * factor + offset, 9 * factor + offset)
    scores = [best, best - 1.0, best - 2.0]
    moved = [score * factor + offset for score in scores]
    assert rule.weight(moved, declared=told) == pytest.approx(rule.weight(scores, declared=(5, 9)), abs=1e-6)


def test_what_is_configured_goes_before_what_is_told_and_nothing_told_is_unknown():
    rule = ConfidenceBlend(
        weight_if_confident=0.1, weight_if_unsure=0.9, weight_if_unknown=0.25, score_range=(0, 1)
    )
    assert rule.weight([0.0, -5.0], declared=(-1, 0)) == 0.9
    assert ConfidenceBlend(weight_if_unknown=0.25).weight([100.0]) == 0.25


def test_rerankers_tell_what_was_measured_for_them():
    default = CrossEncoder()
    low, high = confidence_range_of(default)
    assert low < high
    assert confidence_range_of(CrossEncoder(activation="sigmoid")) is None
    assert confidence_range_of(CrossEncoder(model="cross-encoder/ms-marco-MiniLM-L6-v2")) is None
    assert confidence_range_of(SharedWords()) is None
    assert confidence_range_of(Cached(reranker=default)) == (low, high)
    assert confidence_range_of(Cascade(stages=[CrossEncoder(activation="sigmoid"), default], keep=[5])) == (
        low,
        high,
    )
    assert confidence_range_of(Calibrated(reranker=default)) is None
    assert confidence_range_of(Fallback(rerankers=[default, default])) is None


# In a pipeline


class Sure(SharedWords):
    """Is in doubt where no document holds half of the words, and sure where one holds them all."""

    confidence_range = (0.5, 1.0)


def test_the_weight_follows_each_querys_best_score(blending):
    pipeline = blending.replace(
        blend=ConfidenceBlend(weight_if_confident=0.2, weight_if_unsure=0.8, weight_if_unknown=0.4),
        reranker=Sure(),
    )
    results = pipeline.search_many(["soil", "xylophones", "soil xylophones feed humus"])
    assert [r.trace.stage("rerank").scores[0] for r in results] == [1.0, 0.0, 0.75]
    assert [r.trace.stage("blend").details["fused"] for r in results] == pytest.approx([0.2, 0.8, 0.5])
    assert [h.document.id for h in results[2].hits] == [
        h.document.id for h in pipeline.replace(blend=0.5).search("soil xylophones feed humus").hits
    ]
    unknown = pipeline.replace(reranker=SharedWords()).search("soil")
    assert unknown.trace.stage("blend").details == {"fused": 0.4}


class Backwards(SharedWords):
    """Scores against the fused order, on a scale of its own, and says nothing of its confidence."""

    def score(self, batch):
        return [[1e-9 * place for place in range(len(candidates))] for candidates in batch]


@pytest.mark.parametrize("reranker", [Backwards(), Fallback(rerankers=[Backwards(), CrossEncoder()])])
def test_a_reranker_that_declares_no_range_keeps_its_own_order_and_scores(arms, reranker):
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=reranker)
    result = pipeline.search(QUESTION, k=7)
    assert [hit.document.id for hit in result.hits] == list(reversed(result.trace.stage("fusion").ids))
    assert [hit.score for hit in result.hits] == [1e-9 * place for place in reversed(range(7))]
    assert {hit.scored_by for hit in result.hits} == {"rerank"}
    assert "blend" not in [stage.name for stage in result.trace.stages]
    for asked in (0.4, ConfidenceBlend(weight_if_unknown=0.4)):
        assert pipeline.replace(blend=asked).search(QUESTION).trace.stage("blend").details == {"fused": 0.4}
    assert pipeline.replace(blend=ConfidenceBlend(score_range=(0, 1))).search(QUESTION).trace.stage("blend").ids


def test_a_weight_that_was_stored_stays(arms):
    """Configurations name every option, so one that was written under another default keeps its meaning."""
    weights = {"weight_if_confident": 0.1, "weight_if_unsure": 0.9, "weight_if_unknown": 0.3}
    stored = {"use": "confidence", **weights, "spread_range": [0.05, 0.1]}
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=SharedWords(), blend=stored)
    assert pipeline.search(QUESTION).trace.stage("blend").details == {"fused": 0.3}


@pytest.fixture
def blending(arms) -> Pipeline:
    return Pipeline.build(TOPICS, retrievers=arms, reranker=SharedWords(), blend=0.4)


def test_a_search_blends_what_the_reranker_has_scored(blending):
    result = blending.search(QUESTION, k=4)
    fused, reranked = result.trace.stage("fusion").ranking, result.trace.stage("rerank").ranking
    expected = blend(fused, reranked, weight=0.4)
    stage = result.trace.stage("blend")
    assert (stage.kind, stage.received, stage.error, stage.details) == ("blend", 7, None, {"fused": 0.4})
    assert (stage.ids, stage.scores) == (expected.ids, expected.scores)
    assert [(hit.document.id, hit.score, hit.scored_by) for hit in result.hits] == [
        (doc_id, score, "blend") for doc_id, score in zip(expected.ids[:4], expected.scores[:4], strict=True)
    ]
    assert not result.degraded
    alone = blending.replace(blend=0).search(QUESTION, k=4)
    assert alone.trace.stage("rerank").ranking == reranked  # the reranker's own scores stay where they were
    assert [stage.name for stage in alone.trace.stages] == ["bm25", "dense", "fusion", "rerank"]
    assert {hit.scored_by for hit in alone.hits} == {"rerank"}


def test_a_trace_replays_every_blend(blending):
    trace = Trace.from_json(blending.replace(rerank_k=5).search(QUESTION).trace.to_json())
    for weight in (0.2, 0.4, 0.9):
        found = blending.replace(rerank_k=5, blend=weight).search(QUESTION)
        replayed = blend(trace.stage("fusion").ranking, trace.stage("rerank").ranking, weight=weight)
        assert [hit.document.id for hit in found.hits[:5]] == list(replayed.ids)


def test_the_whole_weight_is_the_fused_order(blending):
    fused = blending.replace(reranker=None).search(QUESTION)
    whole = blending.replace(blend=1).search(QUESTION)
    assert [hit.document.id for hit in whole.hits] == [hit.document.id for hit in fused.hits]


def test_what_was_not_reranked_keeps_its_place_behind(blending):
    result = blending.replace(rerank_k=3).search(QUESTION)
    fused = result.trace.stage("fusion").ids
    assert {hit.document.id for hit in result.hits[:3]} == set(fused[:3])
    assert [hit.document.id for hit in result.hits[3:]] == list(fused[3:])
    assert [hit.scored_by for hit in result.hits] == ["blend"] * 3 + ["fusion"] * 4


def test_adjusters_go_on_from_the_blend(blending):
    result = blending.replace(adjust=["mmr"], rerank_k=4).search(QUESTION)
    assert [stage.name for stage in result.trace.stages][-3:] == ["rerank", "blend", "mmr"]
    assert set(result.trace.stage("mmr").ids) == set(result.trace.stage("blend").ids)

    class Same:
        def adjust(self, candidates: Candidates, scores):
            assert list(scores) == list(result.trace.stage("blend").scores)
            return scores

    same = blending.replace(adjust=[Same()], rerank_k=4).search(QUESTION)
    assert [hit.document.id for hit in same.hits[:4]] == list(result.trace.stage("blend").ids)


def test_where_the_reranker_failed_there_is_nothing_to_blend(blending):
    result = blending.replace(reranker=Broken(BackendUnavailableError("gone"))).search(QUESTION)
    assert [stage.name for stage in result.trace.stages] == ["bm25", "dense", "fusion", "rerank"]
    assert {hit.scored_by for hit in result.hits} == {"fusion"}
    plain = blending.replace(reranker=None).search(QUESTION)
    assert [stage.name for stage in plain.trace.stages] == ["bm25", "dense", "fusion"]


def test_under_a_deadline_what_was_scored_is_blended(blending):
    class OneCall(SharedWords):
        """Pointwise, and gone after its first call."""

        pointwise = True

        def score(self, batch):
            if self.seen:
                raise BackendUnavailableError("gone")
            return super().score(batch)

    result = blending.replace(reranker=OneCall()).search(QUESTION, deadline=60)
    scored = result.trace.stage("rerank").ids
    assert result.degraded == {"rerank": "BackendUnavailableError: gone"}
    assert 0 < len(scored) < len(TOPICS)
    assert set(result.trace.stage("blend").ids) == set(scored)
    assert [hit.scored_by for hit in result.hits] == ["blend"] * len(scored) + ["fusion"] * (
        len(TOPICS) - len(scored)
    )


def test_one_document_alone_is_blended_too(arms):
    pipeline = Pipeline.build([Document("a", "organic waste")], retrievers=arms, reranker=SharedWords(), blend=0.4)
    assert [hit.document.id for hit in pipeline.search(QUESTION).hits] == ["a"]


def test_the_drivers_agree(blending):
    expected = blending.search(QUESTION)
    (many,) = blending.search_many([QUESTION])
    awaited = asyncio.run(blending.asearch(QUESTION))
    for result in (many, awaited):
        assert [(h.document.id, h.score) for h in result.hits] == [(h.document.id, h.score) for h in expected.hits]


def test_explain_tells_the_rerankers_moves_and_the_blends(blending):
    result = blending.replace(blend=0.5).search(QUESTION, k=7)
    said = " ".join(result.explain(width=250).split())
    assert "rerank raised it by" in said
    assert "blend lowered it by" in said
    assert ", fused 0.5" in said


@pytest.mark.parametrize(
    "given", [0, 0.3, 1, ConfidenceBlend(weight_if_confident=0.2), ConfidenceBlend(score_range=(0.2, 0.7))]
)
def test_a_configuration_round_trips(given):
    config = PipelineConfig(blend=given)
    written = config.to_config()
    assert config.blend == given
    assert PipelineConfig.load(json.loads(json.dumps(written))) == config
    assert PipelineConfig.load(tomllib.loads(tomli_w.dumps(written))) == config


def test_a_file_gives_a_share_a_name_or_a_table():
    assert PipelineConfig.load(tomllib.loads("blend = 0.3")).blend == 0.3
    assert PipelineConfig.load(tomllib.loads('blend = "confidence"')).blend == ConfidenceBlend()
    table = PipelineConfig.load(tomllib.loads("[blend]\nweight_if_confident = 0.2\nscore_range = [0.1, 0.9]"))
    assert table.blend == ConfidenceBlend(weight_if_confident=0.2, score_range=(0.1, 0.9))
    assert PipelineConfig().blend == ConfidenceBlend()


def test_a_wrong_blend_is_refused(blending):
    shares = (-0.1, 1.1, float("nan"), "half", True, None)
    ranges = ({"score_range": [2, 1]}, {"spread_range": [1, 1]})
    for wrong in (*shares, *ranges, {"weight_if_confident": 2}, {"weight_if_sure": 1}):
        with pytest.raises(ConfigError, match=r"\$\.blend"):
            blending.replace(blend=wrong)
    with pytest.raises(ConfigError, match="cannot be called 'blend'"):
        Pipeline.build(TOPICS, retrievers={"blend": "bm25"})


def test_what_a_reranker_tells_has_to_rise(blending):
    class Wrong(SharedWords):
        confidence_range = (1.0, 1.0)

    with pytest.raises(ConfigError, match=r"\$\.reranker.*the lower first"):
        blending.replace(reranker=Wrong())
