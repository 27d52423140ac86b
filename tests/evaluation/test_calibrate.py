"""Calibration on recorded searches: against scikit-learn, and what it refuses."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from judged import QRELS, QUERIES, dataset
from recorded import recording, search
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from support import TOPICS, SharedWords

from hybridrank import Pipeline, PipelineConfig, Stage
from hybridrank.errors import ConfigError, InputError
from hybridrank.evaluation import Recording, calibrate, record
from hybridrank.evaluation.calibration.reliability import brier_score, calibration_error, reliability
from hybridrank.relevance.refusals import refusal_threshold
from hybridrank.rerank import CrossEncoder, Relevance

IDENTITY = CrossEncoder().identity
SETTINGS = {
    "retrievers": {"bm25": {"use": "bm25"}},
    "fusion": {"use": "rrf"},
    "reranker": {"use": "cross-encoder"},
}


def judged(queries=120, *, documents=12, seed=0, unheld=None):
    """Searches whose reranker gives a document the logit of the chance that it is judged relevant."""
    rng = random.Random(seed)
    searches = []
    for number in range(queries):
        logits = sorted((rng.gauss(0, 2) for _ in range(documents)), reverse=True)
        ids = [f"d{number}-{place}" for place in range(documents)]
        relevant = {i for i, z in zip(ids, logits, strict=True) if rng.random() < 1 / (1 + np.exp(1 - 2 * z))}
        made = search(
            f"q{number}", dict.fromkeys(relevant, 1) or {"elsewhere": 1}, {"bm25": ids}, ids, ids, unheld=unheld
        )
        stages = list(made.trace.stages)
        stages[-1] = Stage("rerank", "rerank", 0.1, tuple(ids), tuple(logits), documents)
        searches.append(replaced(made, stages))
    return recording(searches, settings=SETTINGS)


def replaced(made, stages):
    return replace(made, trace=replace(made.trace, stages=tuple(stages)))


def test_the_curve_is_that_of_logistic_regression():
    recorded = judged()
    report = calibrate(recorded)
    scores, relevant = [], []
    for each in recorded.searches.values():
        stage = each.trace.stage("rerank")
        scores += stage.scores
        relevant += [doc_id in each.qrels for doc_id in stage.ids]
    reference = LogisticRegression(C=np.inf).fit(np.array(scores)[:, None], relevant)
    curve = report.relevance.curve
    assert curve.slope == pytest.approx(reference.coef_[0, 0], rel=0.03)  # Platt smooths his targets
    assert curve.intercept == pytest.approx(reference.intercept_[0], rel=0.03)
    assert (report.queries, report.pairs, report.relevant) == (120, 1440, sum(relevant))
    assert report.relevance.fitted_for == {"reranker": IDENTITY}
    assert report.after.ece < 0.05 < report.before.ece
    assert report.after.brier < report.before.brier
    assert report.after.brier == pytest.approx(brier_score_loss(relevant, list(map(curve, scores))), rel=0.02)


def test_the_bound_is_on_the_evidence_of_the_questions_themselves():
    recorded = judged()
    relevance = calibrate(recorded, max_refused=0.1).relevance
    best = sorted(each.trace.stage("rerank").scores[0] for each in recorded.searches.values())
    assert relevance.weights == {"best": pytest.approx(1 / np.std(best), rel=1e-5)}
    assert relevance.questions == pytest.approx([value * relevance.weights["best"] for value in best])
    report = calibrate(recorded, max_refused=0.1)
    assert report.threshold == refusal_threshold(relevance.questions, max_refused=0.1, confidence=0.95)
    assert sum(value < report.threshold for value in relevance.questions) <= 12
    assert 0 < report.removed_recognized < 1
    assert "refuses at most 0.1 of answerable questions with 95% confidence" in str(report)


def test_too_few_questions_leave_the_bound_out():
    report = calibrate(judged(58))
    assert report.relevance.curve is not None
    assert (report.relevance.questions, report.threshold, report.removed_recognized) == ((), None, None)
    assert any("takes 59 questions with answers, and there are 58" in warning for warning in report.warnings)
    assert calibrate(judged(58), confidence=0.0).threshold is not None


def test_a_bound_that_is_out_of_reach_is_not_stored():
    relevance = calibrate(judged(80), max_refused=0.001).relevance
    assert (relevance.max_refused, relevance.questions) == (0.05, ())
    assert Pipeline.build(TOPICS, retrievers={"bm25": "bm25"}, relevance=relevance).config.relevance == relevance


def test_what_no_document_here_answers_is_not_counted():
    held = judged()
    lost = {query_id: frozenset(each.qrels) for query_id, each in list(held.searches.items())[:30]}
    searches = {q: replace(each, unheld=lost.get(q, frozenset())) for q, each in held.searches.items()}
    assert calibrate(replace(held, searches=searches)).queries == 90


def test_a_failed_search_is_left_out():
    recorded = judged()
    first = recorded.searches["q0"]
    stages = list(first.trace.stages)
    stages[0] = replace(stages[0], error="gone")
    searches = {**recorded.searches, "q0": replaced(first, stages)}
    report = calibrate(replace(recorded, searches=searches))
    assert report.queries == 119
    assert any(warning.startswith("1 searches in which a stage failed") for warning in report.warnings)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda made: replace_reranker(made, "none"), "nothing was reranked"),
        (lambda made: replace_reranker(made, "<tests.Reranker>"), "give the reranker a property `identity`"),
        (
            lambda made: recording([search("a", {"x": 1}, {"bm25": ["x"]}, ["x"], ["x"])], settings=SETTINGS),
            "all of the 1 candidates",
        ),
        (
            lambda made: recording([search("a", {"y": 1}, {"bm25": ["x"]}, ["x"], ["x"])], settings=SETTINGS),
            "none of the 1 candidates",
        ),
    ],
)
def test_what_cannot_be_calibrated_says_why(change, problem):
    with pytest.raises(InputError, match=problem):
        calibrate(change(judged(20)))


def one(qrels):
    return recording([search("a", qrels, {"bm25": ["x"]}, ["x"], ["x"])], settings=SETTINGS)


def replace_reranker(made, reranker):
    return replace(made, header=replace(made.header, settings={**made.header.settings, "reranker": reranker}))


def test_wrong_options_are_refused():
    with pytest.raises(InputError, match=r"no such method: 'magic' \(there are: platt, isotonic\)"):
        calibrate(judged(20), method="magic")
    with pytest.raises(ConfigError, match=r"\$\.max_refused"):
        calibrate(judged(20), max_refused=1.5)


def test_an_isotonic_curve_is_no_worse_on_many_pairs():
    recorded = judged(200)
    platt, isotonic = calibrate(recorded), calibrate(recorded, method="isotonic")
    assert isotonic.relevance.curve.method == "isotonic"
    assert isotonic.after.ece < 0.05
    assert abs(isotonic.after.brier - platt.after.brier) < 0.01


def test_the_reliability_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    found = rng.random(500)
    relevant = rng.random(500) < found**2
    shares, means = calibration_curve(relevant, found, n_bins=10)
    bins = reliability(found, relevant)
    assert [each.relevant for each in bins] == pytest.approx(shares.tolist())
    assert [each.probability for each in bins] == pytest.approx(means.tolist())
    assert brier_score(found, relevant) == pytest.approx(brier_score_loss(relevant, found))
    weights = np.histogram(found, 10, (0, 1))[0] / 500
    assert calibration_error(found, relevant) == pytest.approx(float(weights @ np.abs(shares - means)), abs=1e-9)


class Words(SharedWords):
    identity = "shared words"
    pointwise = True


def test_a_pipeline_uses_what_was_fitted_on_its_recording(arms, tmp_path):
    pipeline = Pipeline.build(TOPICS, retrievers=arms, reranker=Words(), path=tmp_path / "col")
    recorded = record(pipeline, dataset(), path=tmp_path / "a.jsonl")
    report = calibrate(Recording.load(tmp_path / "a.jsonl"), max_refused=0.4, confidence=0.0)
    assert report.before is None
    assert report.queries == len(QRELS) == len(recorded)
    fitted = pipeline.replace(relevance=report.relevance)
    found = fitted.search(QUERIES["q1"])
    assert found.answered is True
    assert all(0 < hit.relevance < 1 for hit in found)
    report.write(tmp_path / "relevance.toml")
    assert PipelineConfig.load(tmp_path / "relevance.toml").relevance == report.relevance
    # Stored with the collection, it is there when that is opened; another process may have it open.
    pipeline.collection.store_relevance(report.relevance)
    with Pipeline.open(tmp_path / "col", reranker=Words(), retrievers=arms) as again:
        assert again.config.relevance == report.relevance
        assert [hit.relevance for hit in again.search(QUERIES["q1"])] == [hit.relevance for hit in found]
        again.collection.store_relevance(None)
    with Pipeline.open(tmp_path / "col", reranker=Words(), retrievers=arms) as again:
        assert again.config.relevance is None
        assert again.search(QUERIES["q1"]).answered is None


def test_a_deep_recording_is_calibrated_at_the_pipelines_own_depth():
    pipeline = Pipeline.build(TOPICS, retrievers={"bm25": "bm25"}, reranker="cross-encoder", rerank_k=4, fetch_k=5)
    deep = calibrate(record(pipeline, dataset(), deep=7), max_refused=0.4, confidence=0.0)
    own = calibrate(record(pipeline, dataset()), max_refused=0.4, confidence=0.0)
    assert deep.pairs == own.pairs
    assert deep.relevance.questions == pytest.approx(own.relevance.questions, abs=1e-4)
    assert isinstance(deep.relevance, Relevance)
