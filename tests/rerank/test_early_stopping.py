"""Reranking that ends when the top k is stable."""

from __future__ import annotations

import asyncio
import json
import threading
import tomllib
from collections.abc import Sequence

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from support import NgramEmbedder

from hybridrank import Candidates, Document, Pipeline, Scores, Trace
from hybridrank.errors import BackendUnavailableError, ConfigError
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank import Cascade, CrossEncoder
from hybridrank.rerank.early_stopping import EarlyStopping
from hybridrank.retrieval import BM25, Faiss
from hybridrank.runtime.deadline import limited

MANY = [Document(f"d{number:02}", f"waste number {number} " + "of soil " * 10) for number in range(40)]
SCORES = st.lists(st.floats(-50, 50), max_size=40)


class Told:
    """A pointwise reranker whose scores are given by place in fused order, counted from 0."""

    pointwise = True

    def __init__(self, *scores: float, fail_at: int | None = None) -> None:
        self.scores = scores  # the last one is that of all the others
        self.order: list[str] = []
        self.calls: list[list[int]] = []
        self.fail_at = fail_at

    def score(self, batch: Sequence[Candidates]) -> list[Scores]:
        if len(self.calls) == self.fail_at:
            raise BackendUnavailableError("gone")
        self.calls.append([len(candidates) for candidates in batch])
        return [
            Scores(
                [self.at(d.id) for d in c.documents],
                details={"pairs": len(c), "each": [d.id for d in c.documents]},
            )
            for c in batch
        ]

    def at(self, doc_id: str) -> float:
        return self.scores[min(self.order.index(doc_id), len(self.scores) - 1)]


class AsyncTold(Told):
    """The same, without a thread."""

    async def ascore(self, batch: Sequence[Candidates]) -> list[Scores]:
        await asyncio.sleep(0)
        return self.score(batch)


def build(reranker: Told, query: str = "waste", **options) -> Pipeline:
    arms = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder(dim=64))}
    settings = {"rerank_k": 40, "blend": 0, "stop": EarlyStopping(patience=4, step=3)}
    pipeline = Pipeline.build(MANY, retrievers=arms, reranker=reranker, **{**settings, **options})
    fused = pipeline.replace(reranker=None).search(query, k=40)
    reranker.order = [hit.document.id for hit in fused.hits]
    return pipeline


def falling(count: int) -> list[float]:
    return [float(-place) for place in range(count)]


# The rule


@given(SCORES, st.integers(1, 10), st.integers(1, 10))
def test_it_holds_where_the_best_are_those_without_the_last(scores, k, quiet):
    scores = list(dict.fromkeys(scores))  # no ties
    best = set(sorted(scores, reverse=True)[:k])
    without = set(sorted(scores[: len(scores) - quiet], reverse=True)[:k]) if len(scores) > quiet else set()
    assert EarlyStopping(patience=quiet).should_stop(scores, k=k) == (best == without and len(without) == k)


@given(SCORES, st.integers(1, 10), st.integers(1, 10))
def test_it_reads_only_the_order_of_scores(scores, k, quiet):
    ranks = [float(sorted(set(scores)).index(score)) for score in scores]
    assert EarlyStopping(patience=quiet).should_stop(scores, k=k) == EarlyStopping(patience=quiet).should_stop(
        ranks, k=k
    )


def test_equal_scores_have_settled_as_soon_as_there_are_enough():
    rule = EarlyStopping(patience=2)
    assert [rule.should_stop([1.0] * count, k=3) for count in range(8)] == [False] * 5 + [True] * 3


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
def test_the_first_step_is_long_enough_to_tell_and_the_others_as_long_as_was_said(k, quiet, step):
    rule = EarlyStopping(patience=quiet, step=step)
    first = rule.next(0, k=k)
    assert first == max(step, k + quiet)
    assert rule.should_stop(falling(first), k=k)
    assert rule.next(first, k=k) == step


# In a pipeline


def test_reranking_ends_when_the_best_have_settled():
    reranker = Told(*falling(40))
    pipeline = build(reranker)
    result = pipeline.search("waste", k=5)
    stage = result.trace.stage("rerank")
    assert reranker.calls == [[9]]
    assert (stage.received, len(stage.ids), stage.error) == (40, 9, None)
    assert stage.details == {
        "pairs": 9,
        "each": reranker.order[:9],
        "stopped": "settled: reranked 9 of 40",
    }
    assert not result.degraded
    assert "40 in, 9 out" in result.explain()
    assert "settled: reranked 9 of 40" in " ".join(result.explain(width=300).split())
    assert Trace.from_json(result.trace.to_json()) == result.trace
    assert pipeline.usage()["documents"] == 9


def test_the_others_keep_their_fused_order_behind():
    reranker = Told(*falling(40))
    result = build(reranker).search("waste", k=40)
    assert [hit.document.id for hit in result.hits] == reranker.order
    result = build(reranker).search("waste", k=30)
    assert result.trace.stage("rerank").details["stopped"] == "settled: reranked 34 of 40"
    assert {hit.scored_by for hit in result.hits} == {"rerank"}
    five = build(reranker, adjust=["mmr"]).search("waste", k=5).trace
    assert five.stage("mmr").received == 9  # and adjusters are shown what was scored


def test_it_goes_on_while_the_best_change():
    reranker = Told(*[float(place) for place in range(14)], -1.0)  # the better the later, up to the 14th
    result = build(reranker).search("waste", k=5)
    assert reranker.calls == [[9], [3], [3], [3]]
    assert result.trace.stage("rerank").details["stopped"] == "settled: reranked 18 of 40"
    assert result.trace.stage("rerank").details["each"] == reranker.order[:18]
    assert [hit.document.id for hit in result.hits] == reranker.order[13:8:-1]


def test_all_are_scored_where_the_best_never_settle():
    reranker = Told(*[float(place) for place in range(40)])
    result = build(reranker).search("waste", k=5)
    stage = result.trace.stage("rerank")
    assert sum(map(sum, reranker.calls)) == len(stage.ids) == 40
    assert "stopped" not in stage.details
    assert not result.degraded
    whole = build(reranker, stop=None).search("waste", k=5)
    assert [(h.document.id, h.score) for h in whole.hits] == [(h.document.id, h.score) for h in result.hits]
    assert reranker.calls[-1] == [40]


def test_fewer_candidates_than_it_takes_to_tell_are_scored_in_one_call():
    reranker = Told(*falling(40))
    result = build(reranker, rerank_k=8).search("waste", k=5)
    assert reranker.calls == [[8]]
    assert "stopped" not in result.trace.stage("rerank").details


def test_what_settles_is_the_blended_order():
    reranker = Told(*falling(5), -3.5, *falling(40)[6:])  # the sixth enters the reranker's best five
    alone = build(reranker).search("waste", k=5)
    assert alone.trace.stage("rerank").details["stopped"] == "settled: reranked 12 of 40"
    mixed = build(reranker, blend=0.9).search("waste", k=5)
    assert mixed.trace.stage("rerank").details["stopped"] == "settled: reranked 9 of 40"
    assert len(mixed.trace.stage("blend").ids) == 9


def test_queries_of_a_batch_share_their_calls_and_settle_each_for_itself():
    reranker = Told(*[float(place) for place in range(14)], -1.0)
    pipeline = build(reranker)

    class Mixed(Told):
        def at(self, doc_id):
            return reranker.at(doc_id)

        def score(self, batch):
            rows = super().score(batch)
            return [
                Scores(range(0, -len(row), -1)) if c.query.text == "soil" else row
                for c, row in zip(batch, rows, strict=True)
            ]

    mixed = Mixed()
    results = pipeline.replace(reranker=mixed).search_many(["waste", "soil", "waste"], k=5)
    counts = [len(result.trace.stage("rerank").ids) for result in results]
    assert counts == [18, 9, 18]
    assert mixed.calls == [[9, 9, 9], [3, 3], [3, 3], [3, 3]]
    assert [result.trace.stage("rerank").batch for result in results] == [3, 3, 3]
    assert [hit.document.id for hit in results[0].hits] == [
        hit.document.id for hit in pipeline.search("waste", k=5).hits
    ]


@pytest.mark.parametrize("deadline", [None, 60])
@pytest.mark.parametrize("make", [Told, AsyncTold])
def test_the_drivers_agree_with_a_deadline_and_without(make, deadline):
    scores = [*[float(place) for place in range(14)], -1.0]
    pipeline = build(make(*scores))
    pipeline.warm_up()
    expected = build(Told(*scores)).search("waste", k=5)
    found = pipeline.search("waste", k=5, deadline=deadline)
    awaited = asyncio.run(pipeline.asearch("waste", k=5, deadline=deadline))
    for result in (found, awaited):
        assert [(h.document.id, h.score) for h in result.hits] == [(h.document.id, h.score) for h in expected.hits]
        assert not result.degraded
        assert result.trace.stage("rerank").details["stopped"].startswith("settled: reranked ")


def test_a_deadline_that_comes_first_is_a_degradation():
    result = build(Told(*falling(40))).search("waste", k=5, deadline=1e-9)
    assert result.degraded
    assert all("stopped" not in stage.details for stage in result.trace.stages)


def test_what_was_scored_before_the_deadline_is_kept():
    go = threading.Event()

    class Hangs(Told):
        def score(self, batch):
            if len(self.calls) == 3:
                go.wait()
            return super().score(batch)

    reranker = Hangs(*[float(place) for place in range(40)])
    try:
        result = build(reranker, blend=0.4).search("waste", k=5, deadline=1.0)
    finally:
        go.set()
    scored = len(result.trace.stage("rerank").ids)
    assert 0 < scored < 40
    assert result.degraded == {"rerank": f"deadline: reranked {scored} of 40"}
    assert set(result.trace.stage("blend").ids) == set(reranker.order[:scored])


def test_queries_that_share_a_deadline_share_its_calls():
    reranker = Told(*[float(place) for place in range(14)], -1.0)
    pipeline = build(reranker)
    pipeline.warm_up()
    expected = [hit.document.id for hit in pipeline.search("waste", k=5).hits]
    with limited(60):
        results = pipeline.search_many(["waste", "waste", "waste"], k=5)
    assert [[hit.document.id for hit in result.hits] for result in results] == [expected] * 3
    assert not any(result.degraded for result in results)
    assert any(len(call) == 3 for call in reranker.calls)


def test_what_was_scored_before_a_failure_is_kept():
    reranker = Told(*[float(place) for place in range(40)], fail_at=2)
    result = build(reranker).search("waste", k=5)
    assert result.degraded == {"rerank": "BackendUnavailableError: gone"}
    assert len(result.trace.stage("rerank").ids) == 12
    assert [hit.document.id for hit in result.hits] == reranker.order[11:6:-1]
    failing = Told(*[float(place) for place in range(40)], fail_at=2)
    with pytest.raises(BackendUnavailableError, match="gone"):
        build(failing, on_rerank_error="raise").search("waste", k=5)


def test_what_had_settled_before_a_failure_is_sound():
    class Other(Told):
        def score(self, batch):
            rows = super().score(batch)
            return [
                Scores(range(0, -len(row), -1)) if c.query.text == "soil" else row
                for c, row in zip(batch, rows, strict=True)
            ]

    reranker = Other(*[float(place) for place in range(40)], fail_at=1)
    pipeline = build(reranker)
    failed, sound = pipeline.search_many(["waste", "soil"], k=5)
    assert failed.degraded == {"rerank": "BackendUnavailableError: gone"}
    assert not sound.degraded
    assert sound.trace.stage("rerank").details["stopped"] == "settled: reranked 9 of 40"


# Configuration


@pytest.mark.parametrize(
    "given", [EarlyStopping(patience=7), {"patience": 7}, {"use": "early-stopping", "patience": 7}]
)
def test_it_is_given_as_an_object_or_a_table(given):
    config = PipelineConfig(stop=given)
    assert config.stop == EarlyStopping(patience=7)
    written = config.to_config()
    assert PipelineConfig.load(json.loads(json.dumps(written))) == config
    assert PipelineConfig.load(tomllib.loads(tomli_w.dumps(written))) == config


def test_it_is_given_by_name_and_left_out_by_default():
    assert PipelineConfig.load({"stop": "early-stopping"}).stop == EarlyStopping()
    assert PipelineConfig().stop is None


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"stop": {"patienc": 3}}, "$.stop.patienc", 'did you mean "patience"?'),
        ({"stop": {"patience": 0}}, "$.stop.patience", "greater than or equal to 1"),
        ({"stop": "soon"}, "$.stop", '"early-stopping"'),
        ({"stop": 3}, "$.stop", '"early-stopping"'),
        (
            {"stop": "early-stopping", "reranker": Cascade(stages=[CrossEncoder(), CrossEncoder()], keep=[5])},
            "$.stop",
            "scores each document for itself",
        ),
    ],
)  # fmt: skip
def test_a_wrong_one_is_refused(options, path, said):
    with pytest.raises(ConfigError) as caught:
        PipelineConfig(**options)
    assert caught.value.path == path
    assert said in str(caught.value)


def test_a_reranker_that_does_not_say_so_is_not_pointwise():
    class Silent:
        def score(self, batch):
            return [[0.0] * len(candidates) for candidates in batch]

    pipeline = build(Told(0.0))
    with pytest.raises(ConfigError, match=r"\$\.stop.*pointwise"):
        pipeline.replace(reranker=Silent())
    assert pipeline.replace(reranker=Silent(), stop=None).search("waste").hits
    assert pipeline.replace(reranker=None).search("waste").hits  # there is nothing to stop
