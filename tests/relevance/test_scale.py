"""Relevance and the decision whether a search is answered, in pipelines with real rerankers in small."""

from __future__ import annotations

import asyncio
import json
from math import exp

import pytest
from support import TOPICS, Broken, NgramEmbedder, SharedWords

from hybridrank import Pipeline, PipelineConfig, Trace
from hybridrank.errors import BackendUnavailableError, ConfigError
from hybridrank.relevance.curves import Platt
from hybridrank.relevance.shipped import shipped_calibrations
from hybridrank.rerank import Cached, Calibrated, Cascade, CrossEncoder, Fallback, Relevance

QUESTION = "How to process organic waste?"
FOREIGN = "zebra migration in winter"


class Words(SharedWords):
    """With an identity, which a calibration is fitted for."""

    identity = "words"
    pointwise = True


def fitted(**options):
    return Relevance(
        **{
            "curve": Platt(slope=8.0, intercept=-2.0),
            "weights": {"best": 1.0},
            "questions": tuple(0.1 + number / 1000 for number in range(100)),
            "fitted_for": {"reranker": "words"},
            **options,
        }
    )


@pytest.fixture
def words(arms):
    return Pipeline.build(TOPICS, retrievers=arms, reranker=Words(), blend=0.5, relevance=fitted())


def probability(score):
    return 1 / (1 + exp(-(8.0 * score - 2.0)))


def test_relevance_is_of_the_rerankers_score_and_changes_nothing_else(words):
    with_it, without = words.search(QUESTION), words.replace(relevance=None).search(QUESTION)
    assert [(hit.id, hit.score) for hit in with_it] == [(hit.id, hit.score) for hit in without]
    scores = with_it.trace.stage("rerank").ranking
    for hit in with_it:
        score = scores.scores[scores.ids.index(hit.id)]
        assert hit.relevance == pytest.approx(probability(score))
    assert {hit.relevance for hit in without} == {None}
    assert without.answered is None
    assert without.trace.decision is None


def test_a_document_that_was_not_reranked_has_no_relevance(words):
    hits = words.search(QUESTION, rerank_k=2)
    assert [hit.relevance is None for hit in hits] == [False] * 2 + [True] * (len(hits) - 2)


def test_a_question_is_answered_from_the_threshold_on(words):
    result, foreign = words.search(QUESTION), words.search(FOREIGN)
    assert (result.answered, foreign.answered) == (True, False)
    decision = foreign.trace.decision
    assert decision.features == {"best": 0.0}
    assert (decision.threshold, decision.questions) == (0.101, 100)  # the second lowest, of a hundred
    assert "answered: no, evidence 0 < 0.101 (best 0)" in foreign.explain()
    assert "answered: yes" in result.explain()
    assert Trace.from_json(foreign.trace.to_json()) == foreign.trace
    found = json.loads(json.dumps(foreign.to_dict()))
    assert found["answered"] is False
    assert found["hits"][0]["relevance"] == pytest.approx(probability(0.0))
    assert foreign[:1].answered is False


def test_every_way_to_search_decides_alike(words):
    asked = [QUESTION, FOREIGN]

    async def last(query):
        return [result async for result in words.astream(query)]

    assert [result.answered for result in words.search_many(asked)] == [True, False]
    assert [asyncio.run(words.asearch(query)).answered for query in asked] == [True, False]
    for query, answered in zip(asked, (True, False), strict=True):
        for partial in (list(words.stream(query)), asyncio.run(last(query))):
            assert partial[0].answered is None  # nothing is reranked yet
            assert {hit.relevance for hit in partial[0]} == {None}
            assert partial[-1].answered is answered


def test_an_outage_is_no_answer_to_the_question(words):
    broken = Broken(BackendUnavailableError("gone"))
    broken.identity = "words"
    result = words.replace(reranker=broken).search(FOREIGN)
    assert (result.answered, result.trace.decision) == (None, None)
    assert {hit.relevance for hit in result} == {None}
    assert len(result) == len(words.search(FOREIGN))


class TwoCalls(Words):
    """Fails from its second call on."""

    def score(self, batch):
        if self.seen:
            raise BackendUnavailableError("gone")
        return super().score(batch)


def test_what_was_cut_short_may_say_yes_and_never_no(words):
    no = words.replace(reranker=TwoCalls()).search(FOREIGN, deadline=60)
    yes = words.replace(reranker=TwoCalls()).search(QUESTION, deadline=60)
    assert no.degraded
    assert yes.degraded
    assert 0 < len(no.trace.stage("rerank").ids) < len(TOPICS)
    assert (yes.answered, no.answered) == (True, None)
    assert "answered: unknown" in no.explain()


def test_a_failed_arm_leaves_it_open(arms):
    arms["far"] = Broken(BackendUnavailableError("gone"))
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=Words(), relevance=fitted())
    assert pipeline.search(FOREIGN).answered is None
    assert pipeline.search(QUESTION).answered is True


def test_nothing_found_is_not_answered(words, arms):
    assert words.search(QUESTION, filters={"year": 1800}).answered is False
    assert Pipeline.build([], retrievers=arms, reranker=None).search(QUESTION).answered is False
    assert words.replace(reranker=None).search(QUESTION).answered is None


def test_another_reranker_is_not_what_was_fitted(words):
    other = words.replace(reranker=SharedWords())
    assert other.search(QUESTION).answered is None
    assert other.search(QUESTION)[0].relevance is None


def test_similarity_counts_where_the_embedder_is_the_one_it_was_fitted_for(arms):
    class Named(NgramEmbedder):
        use = "named"

        @property
        def identity(self):
            return f"named {self.dim}"

    from hybridrank.retrieval import Faiss

    dense = Faiss(embedder=Named())
    relevance = fitted(
        weights={"best": 1.0, "dense.best": 2.0},
        fitted_for={"reranker": "words", "dense": f"{dense.use} named 64"},
    )
    pipeline = Pipeline.build(TOPICS, retrievers={"dense": dense}, reranker=Words(), relevance=relevance)
    result = pipeline.search(QUESTION)
    best, near = max(result.trace.stage("rerank").scores), max(result.trace.stage("dense").scores)
    assert result.trace.decision.evidence == pytest.approx(best + 2.0 * near)
    other = Pipeline.build(
        TOPICS, retrievers={"dense": Faiss(embedder=Named(dim=32))}, reranker=Words(), relevance=relevance
    )
    assert other.search(QUESTION).trace.decision is None


# min_relevance


def test_min_relevance_leaves_out_what_is_less_probable(words):
    everything = words.search(QUESTION, k=7)
    least = sorted(hit.relevance for hit in everything)[-2]
    kept = words.search(QUESTION, k=7, min_relevance=least)
    assert [hit.id for hit in kept] == [hit.id for hit in everything if hit.relevance >= least]
    assert kept.answered is True
    always = words.replace(min_relevance=least)
    assert [hit.id for hit in always.search(QUESTION, k=7)] == [hit.id for hit in kept]
    assert len(always.search(QUESTION, k=7, min_relevance=None)) == len(everything)
    assert len(words.search(QUESTION, rerank_k=2, min_relevance=0.0)) == 2  # the others have no relevance


def test_min_relevance_is_not_applied_where_nothing_was_scored(words):
    broken = Broken(BackendUnavailableError("gone"))
    broken.identity = "words"
    result = words.replace(reranker=broken).search(QUESTION, min_relevance=0.9)
    assert len(result) == len(words.search(QUESTION))
    assert result.degraded["rerank"].endswith("gone; min_relevance was not applied")


def test_min_relevance_needs_a_calibrated_reranker(words, arms):
    with pytest.raises(ConfigError, match=r"\$\.min_relevance: .*hybridrank calibrate"):
        Pipeline.build(TOPICS, retrievers=arms, reranker=SharedWords(), min_relevance=0.5)
    with pytest.raises(ConfigError, match=r"\$\.min_relevance"):
        words.search(QUESTION, reranker=None, min_relevance=0.5)
    with pytest.raises(ConfigError, match=r"\$\.min_relevance"):
        words.search(QUESTION, min_relevance=1.5)


# What rerankers bring


def test_probabilities_are_relevance_as_they_are(arms):
    calibrated = Calibrated(
        reranker=CrossEncoder(), calibration=Platt(slope=1.0, intercept=0.0), fitted_for=CrossEncoder().identity
    )
    for reranker in (calibrated, Cached(reranker=calibrated), Fallback(rerankers=[calibrated, calibrated])):
        assert reranker.calibrated
        pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=reranker, relevance=Relevance())
        assert pipeline._setup.scale.curve(0.25) == 0.25
        assert pipeline._setup.scale.refusals is None
    assert not Cached(reranker=CrossEncoder()).calibrated
    assert not Fallback(rerankers=[calibrated, CrossEncoder()]).calibrated


def test_the_default_model_brings_its_calibration(arms):
    plain = Pipeline.build(TOPICS, retrievers=arms)._setup.scale
    assert plain.curve(-10.0) < 0.1 < 0.4 < plain.curve(8.0) < 1.0
    assert len(plain.refusals.questions) >= 300
    for same in (Cached(reranker=CrossEncoder()), CrossEncoder(threads=1)):
        scale = Pipeline.build(TOPICS, retrievers=arms, reranker=same)._setup.scale
        assert (scale.curve, scale.refusals.questions) == (plain.curve, plain.refusals.questions)
    fallback, cascade = (
        Fallback(rerankers=[CrossEncoder()]),
        Cascade(stages=[CrossEncoder(), CrossEncoder()], keep=[2]),
    )
    for other in (CrossEncoder(activation="sigmoid"), CrossEncoder(metadata_fields=("year",)), fallback, cascade):
        scale = Pipeline.build(TOPICS, retrievers=arms, reranker=other)._setup.scale
        assert (scale.curve, scale.refusals) == (None, None)
    assert not shipped_calibrations("some/other-model", identity="x")


def test_the_bound_applies_to_the_calibration_that_the_reranker_brings(arms):
    strict = Pipeline.build(TOPICS, retrievers=arms, relevance={"max_refused": 0.02})._setup.scale.refusals
    loose = Pipeline.build(TOPICS, retrievers=arms, relevance={"max_refused": 0.2})._setup.scale.refusals
    assert (strict.max_refused, loose.max_refused) == (0.02, 0.2)
    with pytest.raises(ConfigError, match=r"\$\.relevance\.max_refused: .*2995"):
        Pipeline.build(TOPICS, retrievers=arms, relevance={"max_refused": 0.001})


# Configuration


def test_it_is_a_table_of_a_pipelines_file(tmp_path):
    config = PipelineConfig(relevance=fitted(), min_relevance=0.2)
    assert PipelineConfig.load(config.to_config()) == config
    assert PipelineConfig.load_stored(json.loads(json.dumps(config.nameable())), source="it") == config
    assert "relevance" not in PipelineConfig().to_config()
    (tmp_path / "a.toml").write_text("[relevance]\nmax_refused = 0.1\nconfidence = 0.0\n")
    assert PipelineConfig.load(tmp_path / "a.toml").relevance == Relevance(max_refused=0.1, confidence=0.0)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_refused": 0.0}, r"\$\.max_refused"),
        ({"confidence": 1.0}, r"\$\.confidence"),
        ({"fitted_for": {}}, r"\$\.fitted_for: say which reranker"),
        ({"weights": {}}, r"\$\.weights: weights and questions belong together"),
        ({"weights": {"best": 1.0, "dense.best": 1.0}}, r"\$\.weights\.dense\.best: .*<arm>\.best"),
        ({"weights": {"gap": 1.0}}, r"\$\.weights\.gap"),
        ({"questions": (2.0, 1.0)}, r"\$\.questions: .*ascending"),
        ({"questions": tuple(map(float, range(58)))}, r"\$\.max_refused: .*0\.05 .*58 questions: it takes 59"),
        ({"curve": {"method": "magic"}}, r"\$\.curve"),
        ({"max_refusals": 0.1}, r"no such option.*max_refused"),
    ],
)
def test_wrong_options_are_refused_with_their_place(options, problem):
    with pytest.raises(ConfigError, match=problem):
        fitted(**options)
    with pytest.raises(ConfigError, match=problem.replace(r"\$", r"\$\.relevance", 1)):
        PipelineConfig(relevance={**fitted().to_config(), **options})
