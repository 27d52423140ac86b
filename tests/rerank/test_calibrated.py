"""Calibrated: curves against independent references, order kept, and never one that was fitted for another."""

from __future__ import annotations

import asyncio
import json
import tomllib
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
import tiny_onnx
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from support import AsyncSharedWords, SharedWords

from hybridrank import Candidates, Component, Document, Pipeline, Query
from hybridrank.errors import ConfigError, InputError
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.relevance.curves import Isotonic, Platt
from hybridrank.rerank import Calibrated, Cascade, CrossEncoder
from hybridrank.rerank.members import is_pointwise
from hybridrank.testing import Tolerances, checks


class Given(Component):
    """Scores a document by the number that its text is."""

    use: ClassVar[str] = "given"
    identity: ClassVar[str] = "given"
    pointwise: ClassVar[bool] = True

    def score(self, batch):
        return [[float(document.text) for document in candidates.documents] for candidates in batch]


def candidates(scores):
    return Candidates(Query("any"), [Document(str(n), repr(float(score))) for n, score in enumerate(scores)])


def judged(seed, n=400, slope=1.7, intercept=-2.0):
    """Raw scores, and relevance drawn with known probabilities."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(1.0, 2.0, n), 2)  # some are equal
    return scores, rng.random(n) < 1.0 / (1.0 + np.exp(-(slope * scores + intercept)))


def fitted(seed=1, method="platt", **sample):
    scores, relevant = judged(seed, **sample)
    return Calibrated(reranker=Given()).fit([candidates(scores)], [relevant.tolist()], method=method)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
@pytest.mark.parametrize("seed", range(4))
def test_platts_curve_is_at_the_bottom_of_its_loss(seed, scale):
    scores, relevant = judged(seed)
    curve = Platt.fit(scores * scale, relevant)
    yes, no = relevant.sum(), (~relevant).sum()
    targets = np.where(relevant, (yes + 1) / (yes + 2), 1 / (no + 2))
    x = scores * scale
    p = 1 / (1 + np.exp(-(curve.slope * x + curve.intercept)))
    # the loss is convex: where its gradient is nought, it is least
    assert abs((p - targets).sum()) < 1e-6 * len(x)
    assert abs(((p - targets) * scores).sum()) < 1e-6 * len(x)


@pytest.mark.parametrize("seed", range(4))
def test_platts_curve_is_scikit_learns(seed):
    reference = pytest.importorskip("sklearn.calibration")._SigmoidCalibration()
    scores, relevant = judged(seed)
    reference.fit(scores, relevant)
    curve = Platt.fit(scores, relevant)
    assert (curve.slope, curve.intercept) == pytest.approx((-reference.a_, -reference.b_), abs=1e-3)


def test_platts_targets_keep_few_judgments_off_the_edges():
    curve = Platt.fit(np.array([-1.0, 1.0]), np.array([False, True]))
    assert (curve(-1.0), curve(1.0)) == pytest.approx((1 / 3, 2 / 3), abs=1e-6)


def min_max(scores, relevant):
    """Isotonic regression by its closed form: the largest over the left of the smallest mean to the right."""
    raw = sorted(set(scores.tolist()))
    values = [relevant[scores == score].astype(float) for score in raw]
    means = [
        [np.concatenate(values[a : b + 1]).mean() if a <= b else None for b in range(len(raw))]
        for a in range(len(raw))
    ]
    return raw, [max(min(means[a][b] for b in range(i, len(raw))) for a in range(i + 1)) for i in range(len(raw))]


@pytest.mark.parametrize("seed", range(6))
def test_isotonic_steps_are_those_of_the_closed_form(seed):
    scores, relevant = judged(seed, n=40)
    curve = Isotonic.fit(scores, relevant)
    raw, expected = min_max(scores, relevant)
    assert [curve.on_steps(score) for score in raw] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_isotonic_steps_are_scikit_learns_also_between_and_beyond_the_knots(seed):
    reference = pytest.importorskip("sklearn.isotonic").IsotonicRegression(out_of_bounds="clip")
    scores, relevant = judged(seed)
    reference.fit(scores, relevant.astype(float))
    curve = Isotonic.fit(scores, relevant)
    points = np.random.default_rng(seed).uniform(-20, 20, 1000)
    np.testing.assert_allclose([curve.on_steps(point) for point in points], reference.predict(points), atol=1e-9)
    assert all(abs(curve(point) - curve.on_steps(point)) <= 1e-3 for point in points.tolist())


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_the_probabilities_are_true_of_new_pairs(method):
    calibrated = fitted(seed=1, method=method, n=4000)
    scores, relevant = judged(2, n=4000)
    probabilities = np.array(calibrated.score([candidates(scores)])[0])
    for low in np.arange(0.0, 1.0, 0.2):
        here = (probabilities >= low) & (probabilities < low + 0.2)
        assert relevant[here].mean() == pytest.approx(probabilities[here].mean(), abs=0.08)


CURVES = {method: fitted(method=method) for method in ("platt", "isotonic")}


@pytest.mark.parametrize("method", CURVES)
@given(
    scores=st.lists(
        st.one_of(
            st.floats(-1e308, 1e308), st.floats(-30, 30), st.integers(-5, 5).map(lambda n: 1.0 + n * 2**-52)
        ),
        max_size=30,
    )
)
def test_the_order_is_the_rerankers_and_nothing_reaches_nought_or_one(method, scores):
    row = CURVES[method].score([candidates(scores)])[0]
    assert all(0.0 < probability < 1.0 for probability in row)
    for (raw, low), (above, high) in pairwise(sorted(zip(scores, row, strict=True))):
        assert (raw < above and low < high) or (raw == above and low == high)
    assert row.details == {"raw_scores": scores}


@pytest.mark.parametrize("method", CURVES)
def test_through_json_and_toml_it_is_the_same(method):
    config = CURVES[method].to_config()
    for again in (json.loads(json.dumps(config)), tomllib.loads(tomli_w.dumps(config))):
        again["reranker"] = Given()  # registered nowhere
        copy = Calibrated.from_config(again)
        assert copy == CURVES[method]
        scores = [candidates(np.linspace(-9, 9, 50))]
        assert copy.score(scores) == CURVES[method].score(scores)


def test_what_has_not_been_fitted_is_refused():
    for work in (
        lambda: Calibrated(reranker=Given()).score([candidates([1.0])]),
        lambda: asyncio.run(Calibrated(reranker=Given()).ascore([candidates([1.0])])),
    ):
        with pytest.raises(ConfigError, match=r'"calibrated" has not been fitted: call fit\(batch, relevance\)'):
            work()


def test_a_curve_of_another_reranker_is_refused(tmp_path):
    tiny_onnx.cross_encoder(tmp_path)
    model = str(tmp_path)
    documents = [Document(str(n), " ".join(tiny_onnx.WORDS[: n + 1])) for n in range(8)]
    batch = [Candidates(Query("how"), documents)]
    calibrated = Calibrated(reranker=CrossEncoder(model=model)).fit(batch, [[n > 4 for n in range(8)]])
    config = calibrated.to_config()
    same = {**config, "reranker": {"use": "cross-encoder", "model": model, "threads": 1}}
    assert Calibrated.from_config(same).score(batch) == calibrated.score(batch)
    for other in ({"model": "another/model"}, {"model": model, "activation": "sigmoid"}):
        with pytest.raises(ConfigError, match=r"it was fitted for cross-encoder .*: fit it again") as caught:
            Calibrated.from_config({**config, "reranker": {"use": "cross-encoder", **other}})
        assert caught.value.path == "$.fitted_for"
    with pytest.raises(ConfigError) as caught:
        PipelineConfig.load({"reranker": {**config, "reranker": "cross-encoder"}})
    assert caught.value.path == "$.reranker.fitted_for"
    for half in ("calibration", "fitted_for"):
        with pytest.raises(ConfigError, match="belong together"):
            Calibrated.from_config({key: value for key, value in config.items() if key != half})


@pytest.mark.parametrize(
    ("calibration", "problem"),
    [
        ({"method": "platt", "slope": -1.0, "intercept": 0.0}, "greater than 0"),
        ({"method": "isotonic", "knots": [[0.0, 0.5], [1.0, 0.4]]}, "knots must have rising raw scores"),
        ({"method": "isotonic", "knots": [[0.0, 0.5], [0.0, 0.6]]}, "knots must have rising raw scores"),
        ({"method": "isotonic", "knots": [[0.0, 0.5], [1.0, 1.4]]}, "less than or equal to 1"),
        ({"method": "spline"}, "spline"),
    ],
)
def test_curves_that_do_not_rise_are_refused(calibration, problem):
    with pytest.raises(ConfigError, match=problem):
        Calibrated(reranker=Given(), calibration=calibration, fitted_for="given")


@pytest.mark.parametrize(
    ("relevance", "problem"),
    [
        ([[1, 0]], "one judgment for each document"),
        ([[1, 0, 1], [0]], "one judgment for each document"),
        ([[1, 2, 0]], "1 .relevant. or 0, not 2"),
        ([[1, 1, 1]], "identical"),
        ([[0, 0, 0]], "identical"),
        ([[1, 0, 0]], "documents with higher scores are not more relevant"),
    ],
)
@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_judgments_that_nothing_can_be_fitted_to(relevance, problem, method):
    with pytest.raises(InputError, match=problem):
        Calibrated(reranker=Given()).fit([candidates([1, 2, 3])], relevance, method=method)


def test_an_unknown_method_and_a_reranker_without_an_identity_are_refused():
    with pytest.raises(InputError, match="no such method: 'spline'"):
        Calibrated(reranker=Given()).fit([candidates([1, 2])], [[0, 1]], method="spline")
    documents = [Document("a", "soil"), Document("b", "rich soil")]
    with pytest.raises(InputError, match='nothing tells what decides the scores of "SharedWords"'):
        Calibrated(reranker=SharedWords()).fit([Candidates(Query("rich soil"), documents)], [[0, 1]])


class IdentifiedAsync(AsyncSharedWords):
    identity = "shared words"


def test_asynchronously_it_gives_the_same():
    documents = [Document("a", "soil"), Document("b", "rich soil")]
    batch = [Candidates(Query("rich soil"), documents)]
    calibrated = Calibrated(reranker=IdentifiedAsync()).fit(batch, [[0, 1]])
    assert asyncio.run(calibrated.ascore(batch)) == calibrated.score(batch)
    assert calibrated.reranker.awaited == 1
    assert calibrated.score(batch)[0].details == {"pairs": 2, "raw_scores": [0.5, 1.0]}


def test_around_a_cascade_and_in_a_pipeline():
    cascade = Cascade(stages=[Given(), Given()], keep=[2])
    assert is_pointwise(Calibrated(reranker=Given()))
    calibrated = Calibrated(reranker=cascade).fit([candidates([1, 2, 3, 4])], [[0, 0, 1, 1]])
    assert not is_pointwise(calibrated)
    documents = [Document(str(n), str(n)) for n in range(5)]
    pipeline = Pipeline.build(documents, retrievers={"bm25": "bm25"}, reranker=calibrated)
    assert all(0.0 < score < 1.0 for score in pipeline.search("3").trace.stage("rerank").scores)


@pytest.fixture(scope="module", params=["platt", "isotonic"])
def contract(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_onnx.cross_encoder(folder / "model")
    documents = [Document(str(n), " ".join(tiny_onnx.WORDS[: n + 1])) for n in range(8)]
    calibrated = Calibrated(reranker=CrossEncoder(model=str(folder / "model")))
    return calibrated.fit([Candidates(Query("how"), documents)], [[0, 0, 1, 0, 0, 1, 1, 1]], method=request.param)


@pytest.mark.parametrize(
    "check", checks("reranker", tolerances=Tolerances(huge=20_000)), ids=lambda check: check.name
)
def test_contract(contract, check):
    check(contract)
