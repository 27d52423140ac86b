"""Tuning: the sweep is what replays are, the choice is honest, and noise does not choose."""

from __future__ import annotations

import json
import random
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from judged import dataset
from support import TOPICS, NgramEmbedder, SharedWords

from hybridrank import Document, Pipeline, Query, Stage, Trace
from hybridrank.blend import ConfidenceBlend
from hybridrank.errors import ConfigError, InputError, StorageError
from hybridrank.evaluation import (
    Evaluator,
    Goal,
    QueryLog,
    RecordedSearch,
    Recording,
    Space,
    Variant,
    agree,
    evaluate,
    mean_interval,
    paired_test,
    record,
    replay_all,
    tune,
)
from hybridrank.evaluation.recordings.settings import Header, settings_of
from hybridrank.evaluation.replay.timing import latency_of
from hybridrank.evaluation.report import sections, to_html, to_markdown
from hybridrank.evaluation.tuning.grades import Grades
from hybridrank.evaluation.tuning.sweep import sweep
from hybridrank.fusion import RRF, ScoreFusion
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.pipeline.latency_model import LinearLatency
from hybridrank.rerank import CrossEncoder
from hybridrank.rerank.early_stopping import EarlyStopping
from hybridrank.retrieval import BM25, Faiss

CONFIG = PipelineConfig(blend=0.0, rerank_k=10, fetch_k=20)


def made(
    *,
    queries=60,
    found=30,
    seed=0,
    good="dense",
    hint=0.3,
    reranker=0.0,
    scored=None,
    ties=False,
    config=CONFIG,
    name="made",
):
    """A recording, of searches in which one arm ranks the relevant document high and the other at random.

    `hint` is what both arms know. `reranker` is how much of the truth its scores have; `scored` how many of the
    fused were scored.
    """
    chance = random.Random(seed)
    searches = {}
    for number in range(queries):
        pool = [f"d{n:03}" for n in range(2 * found)]
        relevant = chance.sample(pool, 2)
        rankings = {}
        for arm in ("bm25", "dense"):
            worth = {d: chance.random() + (1.5 if arm == good and d in relevant else 0.0) for d in pool}
            worth[relevant[0]] += hint
            ids = sorted(pool, key=lambda d: -worth[d])[:found]
            rankings[arm] = Stage(arm, "retrieve", 0.01 + chance.random() / 100, tuple(ids),
                                  tuple(round(worth[d], 6) for d in ids))  # fmt: skip
        fused = config.fusion.fuse({arm: stage.ranking for arm, stage in rankings.items()}, query=Query("soil"))
        shown = fused.ids[: scored or len(fused)]
        scores = {d: 0.0 if ties else round(chance.random() + reranker * (d in relevant), 6) for d in shown}
        order = sorted(scores, key=lambda d: (-scores[d], d))
        chars = {d: 50 + chance.randrange(100) for d in pool}
        seconds = 1e-5 * sum(chars[d] + 8 for d in shown) * (0.9 + chance.random() / 5)
        stages = (
            *rankings.values(),
            Stage("fusion", "fuse", 0.0001, fused.ids, fused.scores, len(fused)),
            Stage("rerank", "rerank", seconds, tuple(order), tuple(scores[d] for d in order), len(shown),
                  details={"tokens_read": 50 * len(shown), "search_units": 1}),
        )  # fmt: skip
        trace = Trace(f"query {number}", 10, found, len(shown), 0.02 + seconds + chance.random() / 100, stages)
        searches[f"q{number}"] = RecordedSearch(
            f"q{number}", trace, dict.fromkeys(relevant, 1), frozenset(), chars, {}, first=number == 0
        )
    settings = settings_of(config)
    deep = {**settings, "fetch_k": found, "rerank_k": 2 * found}
    header = Header(deep, 10, {"count": 2 * found, "digest": "made"}, dataset="made", own=settings, machine="here")
    return Recording(name, header, searches)


SPACE = Space(
    fusions=[RRF(), RRF(weights={"dense": 2.0}), RRF(weights={"dense": 5.0}), ScoreFusion()],
    fetch_k=(10, 30),
    rerank_k=(0, 3, 10, 30),
    blends=(0.0, 0.3),
)


class Telling(SharedWords):
    pointwise = True
    confidence_range = (0.1, 0.9)


# The sweep


def plain_values(recording, variant, measure, k):
    replayed = replay_all(recording, variant, k=k)
    evaluation = evaluate(replayed, measures=[measure])
    return evaluation, list(evaluation.per_query(measure).values())


@pytest.mark.parametrize("measure", ["nDCG@10", "AP", "RR@3"])
@pytest.mark.parametrize("scored", [None, 17])
def test_the_sweep_is_what_replays_are(measure, scored):
    recording = made(queries=12, found=15, reranker=0.5, scored=scored, seed=3)
    variants = [
        *Space(
            fetch_k=(10, 15), rerank_k=(0, 3, 30), blends=(0.0, 0.3, ConfidenceBlend(score_range=(0.2, 1.4)))
        ).variants(
            Variant.of(CONFIG, stop=EarlyStopping(patience=2, step=3), fetch_k=12), fetch_k=15, rerank_k=30, k=5
        )
    ]
    variants = [variants[0], *random.Random(1).sample(variants[1:], 25)]
    grades = Grades(recording.dataset.qrels, measure)
    outcomes = sweep(
        recording, variants, grades, k=5, prices={"tokens_read": 0.01, "search_units": 1, "seconds": 2}
    )
    distinct = grades.values()
    for outcome in outcomes:
        _, expected = plain_values(recording, outcome.variant, measure, 5)
        found = [of[place] for of, place in zip(distinct, outcome.ranking, strict=True)]
        assert found == expected, outcome.variant
        replayed = replay_all(recording, outcome.variant, k=5)
        traces = [search.trace for search in replayed.searches.values()]
        assert outcome.seconds == pytest.approx([trace.seconds for trace in traces])
        reranks = [next((s for s in t.stages if s.kind == "rerank"), None) for t in traces]
        costs = [
            0.0 if s is None else 0.01 * s.details["tokens_read"] + s.details["search_units"] + 2 * s.seconds
            for s in reranks
        ]
        assert outcome.costs == pytest.approx(costs)
        missing = sum(s.details.get("unscored", 0) for s in reranks if s)
        assert (outcome.unscored > 0) == (missing > 0)


def test_the_sweep_is_what_pipelines_find():
    pipeline = Pipeline.build(
        TOPICS, retrievers={"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}, reranker=Telling(),
        fetch_k=3, rerank_k=2,
    )  # fmt: skip
    judged = dataset(ignored={"q1": frozenset({"compost"})})
    deep = record(pipeline, judged, k=2, deep=7)
    assert deep.header.own["rerank_k"] == 2
    assert (deep.header.settings["rerank_k"], deep.header.settings["fetch_k"]) == (14, 7)
    start = Variant.of(pipeline.config)
    variants = list(Space(fetch_k=(2, 5), rerank_k=(0, 1, 4)).variants(start, fetch_k=7, rerank_k=14, k=2))
    grades = Grades(judged.qrels, "nDCG@2")
    outcomes = sweep(deep, variants, grades, k=2)
    distinct = grades.values()
    for outcome in random.Random(0).sample(outcomes, 40):
        v = outcome.variant
        arms = {name: pipeline.config.retrievers[name] for name in v.arms}
        reranker = {"reranker": Telling(), "rerank_k": v.rerank_k} if v.rerank_k else {"reranker": None}
        weights = {a: w for a, w in v.fusion.weights.items() if a in arms}
        fusion = type(v.fusion)(**{**dict(v.fusion), "weights": weights})
        direct = Pipeline.build(
            TOPICS, retrievers=arms, fusion=fusion, fetch_k=v.fetch_k, blend=v.blend, **reranker
        )
        expected = evaluate(record(direct, judged, k=2), measures=["nDCG@2"]).per_query("nDCG@2")
        found = [of[place] for of, place in zip(distinct, outcome.ranking, strict=True)]
        assert found == list(expected.values()), v
        assert outcome.unscored == 0


def test_grades_measure_each_distinct_ranking_once():
    qrels = {"q1": {"a": 2, "b": 1, "?": 0}, "q2": {"c": 1}}
    grades = Grades(qrels, "nDCG@3")
    first = grades.take(np.array([[-1, 0, -1], [-1, -1, 0]], np.int32))
    again = grades.take(np.array([[-1, 0, -1], [0, -2, -2]], np.int32))
    empty = grades.take(np.array([[-2, -2, -2], [-2, -2, -2]], np.int32))
    assert (first.tolist(), again.tolist(), empty.tolist()) == ([0, 0], [0, 1], [1, 2])
    values = grades.values()
    measuring = Evaluator(qrels, ["nDCG@3"])
    expected = measuring.per_query({"q1": ["x", "a", "y"], "q2": ["x", "y", "c"]})["nDCG@3"]
    assert (values[0][0], values[1][0]) == (expected["q1"], expected["q2"])
    assert (values[0][1], values[1][1], values[1][2]) == (0.0, 1.0, 0.0)


# The choice


def test_a_better_arm_is_found_and_its_gain_is_of_held_out_queries():
    recording = made(queries=80)
    found = tune(recording, space=SPACE)
    assert not found.kept
    assert found.answer == found.best
    assert found.p < 0.05
    assert found.interval.low > 0
    assert sum(fold.queries for fold in found.folds) == found.queries == 80
    weights = [fold.chosen.fusion.weights.get("dense", 1.0) for fold in found.folds if len(fold.chosen.arms) > 1]
    assert all(weight >= 1 for weight in weights)
    assert not any(fold.chosen.arms == ("bm25",) for fold in found.folds)
    default, chosen = found.held_out
    assert chosen - default == pytest.approx(found.gain)
    again = tune(recording, space=SPACE)
    assert again.to_dict() == found.to_dict()


def test_statistics_are_of_the_held_out_differences():
    recording = made(queries=30)
    found = tune(recording, space=SPACE, folds=3)
    order = list(range(30))
    random.Random(0).shuffle(order)
    gains = []
    for number, fold in enumerate(found.folds):
        values = [
            plain_values(recording, variant, "nDCG@10", 10)[1] for variant in (fold.chosen, found.default.variant)
        ]
        gains += [values[0][q] - values[1][q] for q in sorted(order[number::3])]
    assert found.gain == pytest.approx(sum(gains) / 30)
    assert found.p == paired_test(gains, [0.0] * 30)
    assert found.interval == pytest.approx(mean_interval(gains))


@pytest.mark.parametrize("seed", range(4))
def test_noise_does_not_choose(seed):
    recording = made(queries=40, good="neither", hint=0.0, seed=seed)
    found = tune(recording, space=SPACE, seed=seed)
    assert found.kept
    assert found.answer == found.default


def test_ties_everywhere_keep_the_default():
    recording = made(queries=20, ties=True)
    space = replace(SPACE, fusions=[CONFIG.fusion], arms=[("bm25", "dense")], fetch_k=(30,), rerank_k=(0,))
    found = tune(recording, space=space, default=Variant.of(CONFIG, rerank_k=0))
    assert found.kept
    assert (found.gain, found.p) == (0.0, 1.0)
    assert all(fold.chosen == found.default.variant for fold in found.folds)


def test_a_good_reranker_is_used_and_a_bad_one_left_out():
    good = tune(made(queries=80, good="neither", reranker=2.0), space=SPACE)
    assert good.answer.variant.rerank_k == 30
    bad = tune(made(queries=80, reranker=0.0), space=SPACE, default=Variant.of(CONFIG, rerank_k=30))
    assert bad.answer.variant.rerank_k < 30


def test_bounds_on_time_and_cost_are_kept():
    recording = made(queries=80, good="neither", reranker=2.0)
    free = tune(recording, space=SPACE)
    tight = tune(recording, space=SPACE, goal=Goal(p95=0.055))
    assert free.answer.p95 > 0.055 >= tight.answer.p95
    assert 0 < tight.answer.pairs < free.answer.pairs
    assert all(figures.p95 <= 0.055 for figures in tight.frontier)
    replayed = replay_all(recording, tight.answer.variant, k=10)
    assert evaluate(replayed).latencies["search"].p95 == pytest.approx(tight.answer.p95)
    prices = {"tokens_read": 0.0001}
    cheap = tune(recording, space=SPACE, goal=Goal(cost=20.0, prices=prices))
    assert cheap.answer.cost <= 20
    assert evaluate(replay_all(recording, cheap.answer.variant), prices=prices).cost == pytest.approx(
        cheap.answer.cost
    )


@pytest.mark.parametrize(("good", "reranker"), [("dense", 0.0), ("neither", 2.0), ("bm25", 0.0)])
def test_a_default_that_breaks_a_bound_is_reduced_to_what_of_it_is_best_within(good, reranker):
    recording = made(queries=60, good=good, reranker=reranker)
    start, goal = Variant.of(CONFIG, rerank_k=30), Goal(p95=0.055)
    found = tune(recording, space=SPACE, default=start, goal=goal)
    assert not found.default_feasible
    assert found.default.p95 > 0.055 >= found.baseline.p95
    reduced = [
        replace(start, arms=arms, rerank_k=count)
        for arms in (("bm25", "dense"), ("bm25",), ("dense",))
        for count in SPACE.rerank_k
    ]
    means = {}
    for number, variant in enumerate(reduced):
        evaluation, values = plain_values(recording, variant, "nDCG@10", 10)
        if evaluation.latencies["search"].p95 <= 0.055:
            means[number] = sum(values) / len(values)
    assert 1 < len(means) < len(reduced)
    assert found.baseline.mean == pytest.approx(max(means.values()))
    assert found.baseline.variant == reduced[max(means, key=means.__getitem__)]
    assert found.answer.p95 <= 0.055
    assert "gains are over the reduced default, the best of it within the bounds" in to_markdown(found)


def test_a_reduced_default_is_kept_unless_another_is_shown_to_be_better(tmp_path):
    noise = made(queries=40, good="neither", hint=0.0)
    found = tune(noise, space=SPACE, default=Variant.of(CONFIG, rerank_k=30), goal=Goal(p95=0.055))
    assert found.kept
    assert found.answer == found.baseline != found.default
    found.write(tmp_path / "x.toml")
    written = PipelineConfig.load(tmp_path / "x.toml")
    assert (tuple(written.retrievers), Variant.of(written).rerank_k) == (
        found.baseline.variant.arms, found.baseline.variant.rerank_k
    )  # fmt: skip
    assert "the reduced default: " in to_markdown(found)


def test_its_gain_is_over_what_the_other_folds_reduce_the_default_to():
    recording = made(queries=40, good="neither", hint=0.0)
    found = tune(recording, space=SPACE, default=Variant.of(CONFIG, rerank_k=30), goal=Goal(p95=0.055), folds=4)
    order = list(range(40))
    random.Random(0).shuffle(order)
    for number, fold in enumerate(found.folds):
        tested = sorted(order[number::4])
        ids = list(recording.searches)
        others = {q: recording.searches[q] for n, q in enumerate(ids) if n not in tested}
        kept = tune(replace(recording, searches=others), space=SPACE, default=Variant.of(CONFIG, rerank_k=30),
                    goal=Goal(p95=0.055)).baseline  # fmt: skip
        values = plain_values(recording, kept.variant, "nDCG@10", 10)[1]
        assert fold.baseline == pytest.approx(sum(values[n] for n in tested) / 10)


def test_a_default_of_which_nothing_fits_is_not_kept():
    slow, quick = made(queries=30, name="slow"), made(queries=30, name="quick")
    late = {
        q: replace(s, trace=replace(s.trace, seconds=s.trace.seconds + 1.0, stages=tuple(
            replace(each, seconds=each.seconds + (each.kind == "retrieve")) for each in s.trace.stages
        ))) for q, s in slow.searches.items()
    }  # fmt: skip
    found = tune([replace(slow, searches=late), quick], space=SPACE, goal=Goal(p95=0.5))
    assert not found.default_feasible
    assert not found.kept
    assert found.baseline == found.default
    assert found.answer.source == "quick"
    assert "the default itself breaks a bound, whatever of it is left out" in to_markdown(found)


def test_bounds_that_nothing_meets_are_told_with_what_comes_nearest():
    recording = made(queries=20)
    with pytest.raises(InputError, match=r"nothing has a p95 of 0.001 s or less: the least is p95 of 0.0\d+ s \("):
        tune(recording, space=SPACE, goal=Goal(p95=0.001))
    reranked = replace(SPACE, rerank_k=(3, 10))
    with pytest.raises(
        InputError, match=r"nothing has a cost of 0.5 for a thousand queries or less: the least is"
    ):
        tune(recording, space=reranked, goal=Goal(cost=0.5, prices={"search_units": 1}),
             default=Variant.of(CONFIG))  # fmt: skip
    with pytest.raises(InputError, match="must be a positive number, not 0"):
        Goal(p95=0)
    with pytest.raises(InputError, match="there are no prices"):
        Goal(cost=5.0)
    with pytest.raises(InputError, match="nothing was counted as 'credits' \\(counted: documents, search_units"):
        tune(recording, space=SPACE, goal=Goal(cost=5.0, prices={"credits": 1}))


def test_several_recordings_make_the_model_a_choice():
    weak, strong = made(queries=80, good="neither", name="weak"), made(queries=80, good="neither", reranker=2.0)
    strong = replace(strong, name="strong")
    found = tune([weak, strong], space=SPACE)
    assert found.answer.source == "strong"
    assert {fold.source for fold in found.folds} == {"strong"}
    assert "strong: " in to_markdown(found)


# What it writes


def test_the_configuration_is_written_and_loads(tmp_path):
    config = PipelineConfig(
        retrievers={"bm25": BM25(k1=0.9, b=0.4), "dense": "faiss"}, reranker=CrossEncoder(max_tokens=128),
        blend=0.0, rerank_k=10, fetch_k=20, max_searches=7,
    )  # fmt: skip
    found = tune(made(queries=80, config=config), space=SPACE)
    found.write(tmp_path / "hybridrank.toml")
    loaded = PipelineConfig.load(tmp_path / "hybridrank.toml")
    chosen = found.answer.variant
    assert not found.kept
    assert set(loaded.retrievers) == set(chosen.arms)
    assert Variant.of(loaded) == replace(
        chosen,
        confidence_range=Variant.of(loaded).confidence_range,
        fusion=loaded.fusion,
        pointwise=Variant.of(loaded).pointwise,
    )
    assert loaded.max_searches == 7
    assert set(getattr(loaded.fusion, "weights", {})) <= set(chosen.arms)
    if "bm25" in loaded.retrievers:
        assert loaded.retrievers["bm25"] == BM25(k1=0.9, b=0.4)
    if chosen.rerank_k:
        assert loaded.reranker == CrossEncoder(max_tokens=128)
    else:
        assert loaded.reranker is None
    assert tomllib.loads((tmp_path / "hybridrank.toml").read_text()) == json.loads(json.dumps(found.config()))
    with pytest.raises(StorageError, match="cannot write"):
        found.write(tmp_path / "nowhere" / "x.toml")


@pytest.mark.parametrize(
    "changes",
    [{"arms": ("dense",)}, {"rerank_k": 0}, {"blend": 0.3}, {"fusion": ScoreFusion(weights={"bm25": 2.0})},
     {"stop": EarlyStopping()}, {"blend": ConfidenceBlend(weight_if_confident=0.1)}],
    ids=str,
)  # fmt: skip
def test_every_choice_can_be_written(tmp_path, changes):
    found = tune(made(queries=10), space=SPACE)
    one = replace(found, kept=True, baseline=replace(found.default, variant=Variant.of(CONFIG, **changes)))
    one.write(tmp_path / "x.toml")
    loaded = Variant.of(PipelineConfig.load(tmp_path / "x.toml"))
    assert replace(loaded, confidence_range=None, pointwise=True, fusion=one.answer.variant.fusion) == replace(
        one.answer.variant, confidence_range=None, pointwise=True
    )


def test_what_no_configuration_can_name_cannot_be_written(tmp_path):
    config = PipelineConfig(reranker=SharedWords(), blend=0.0, rerank_k=10, fetch_k=20)
    found = tune(made(queries=10, config=config), space=SPACE)
    with pytest.raises(ConfigError, match=r"\$.reranker: it was an object that no configuration can name"):
        found.write(tmp_path / "x.toml")


# Without judgments


def test_a_query_log_is_tuned_by_the_rerankers_own_scores(tmp_path):
    pipeline = Pipeline.build(
        TOPICS, retrievers={"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}, reranker=Telling(),
        fetch_k=5, rerank_k=2, blend=0.3,
    )  # fmt: skip
    log = QueryLog.of(["nuclear waste", "soil for gardeners", "industrial waste", "organic matter", "recycling"])
    recording = record(pipeline, log, deep=7, path=tmp_path / "log.jsonl")
    assert Recording.load(tmp_path / "log.jsonl") == recording
    with pytest.raises(InputError, match="tune by the reranker's own scores"):
        tune(recording, default=Variant.of(pipeline.config))
    found = tune(recording, default=Variant.of(pipeline.config), unsupervised=True, k=3)
    assert found.unsupervised
    assert found.answer.variant.blend == 0.3
    assert found.answer.variant.rerank_k <= 2
    assert "NO JUDGMENTS" in to_markdown(found)


def test_agreement_is_with_the_best_of_the_reranker():
    recording = made(queries=5, reranker=2.0)
    target = agree(recording, k=3)
    for query_id, search in target.searches.items():
        best = recording.searches[query_id].trace.stage("rerank").ids[:3]
        assert search.qrels == {best[0]: 3, best[1]: 2, best[2]: 1}
    full = replay_all(target, Variant.of(CONFIG, fetch_k=30, rerank_k=60))
    assert set(evaluate(full, measures=["nDCG@3"]).per_query("nDCG@3").values()) == {1.0}
    with pytest.raises(InputError, match="nothing was reranked in 'made'"):
        agree(replay_all(recording, Variant.of(CONFIG, rerank_k=0)))


def test_without_judgments_the_weights_that_find_the_rerankers_best_are_found():
    recording = made(queries=100, good="bm25", reranker=2.0)
    found = tune(recording, space=SPACE, unsupervised=True)
    assert not found.kept
    assert found.answer.variant.rerank_k <= CONFIG.rerank_k
    assert found.answer.variant.blend == CONFIG.blend


# What is refused, and what is said


def test_what_cannot_be_tuned_is_refused():
    recording = made(queries=10)
    with pytest.raises(InputError, match="at least one recording"):
        tune([])
    with pytest.raises(InputError, match="two recordings are called 'made'"):
        tune([recording, recording])
    one = replace(recording, searches=dict(list(recording.searches.items())[:1]))
    with pytest.raises(InputError, match="at least two queries"):
        tune(one)
    other = replace(recording, name="other", header=replace(recording.header, documents={"count": 3}))
    with pytest.raises(InputError, match="over different documents"):
        tune([recording, other])
    with pytest.raises(InputError, match="the recording is too shallow"):
        tune(made(queries=10, scored=5), default=Variant.of(CONFIG, rerank_k=20))
    with pytest.raises(InputError, match="30 candidates here, and 50 are wanted: record deeper"):
        tune(recording, default=Variant.of(CONFIG, fetch_k=50))
    with pytest.raises(InputError, match="at least two folds"):
        tune(recording, folds=1)
    with pytest.raises(InputError, match="k must be at least 1"):
        tune(recording, k=0)
    with pytest.raises(InputError, match="did you mean 'nDCG@10'"):
        tune(recording, goal=Goal("nDGC@10"))
    with pytest.raises(InputError, match="at least one value of blends"):
        Space(blends=())
    batched = {
        q: replace(s, trace=replace(s.trace, stages=tuple(replace(each, batch=2) for each in s.trace.stages)))
        for q, s in recording.searches.items()
    }
    with pytest.raises(InputError, match="no latencies to be bounded"):
        tune(replace(recording, searches=batched), goal=Goal(p95=1.0))
    assert tune(replace(recording, searches=batched), space=SPACE).answer.p95 is None


def test_other_queries_do_not_mix():
    recording = made(queries=10)
    renamed = {f"other {q}": replace(s, query_id=f"other {q}") for q, s in recording.searches.items()}
    with pytest.raises(InputError, match="no query in common"):
        tune([recording, replace(recording, name="other", searches=renamed)])


def test_what_was_not_recorded_deep_enough_is_left_out_and_told():
    found = tune(made(queries=12, scored=12), space=SPACE, default=Variant.of(CONFIG, fetch_k=30))
    assert found.left_out["not recorded deep enough"] > 0
    text = to_markdown(found)
    assert "were not recorded deep enough, and are left out" in text
    assert "queries are few" in text
    assert "How this was done" in to_html(found)
    assert json.loads(json.dumps(found.to_dict()))["tried"] == found.tried
    assert [section.title for section in sections(found)][:2] == ["Warnings", "Summary"]


def test_deep_recordings_are_as_deep_as_they_say(tmp_path):
    pipeline = Pipeline.build(TOPICS, retrievers={"bm25": BM25()}, reranker=SharedWords(), fetch_k=5)
    with pytest.raises(InputError, match="the pipeline itself fetches 5"):
        record(pipeline, dataset(), deep=4)
    deep = record(pipeline, dataset(), deep=6)
    for search in deep.searches.values():
        fused = search.trace.stage("fusion").ids
        if fused:
            assert set(search.trace.stage("rerank").ids) == set(fused)


# Seconds


def timed(*calls):
    """A recording of searches that read so many characters in so many seconds."""
    searches = {}
    for number, (size, seconds) in enumerate(calls):
        stage = Stage("rerank", "rerank", seconds, ("a",), (1.0,), 1)
        fusion = Stage("fusion", "fuse", 0.0, ("a",), (1.0,), 1)
        trace = Trace("?", 1, 1, 1, seconds, (fusion, stage))
        searches[str(number)] = RecordedSearch(str(number), trace, {}, chars={"a": size - 1})
    return Recording("timed", Header({}, 1), searches)


def test_a_fixed_part_is_told_from_one_for_each_character():
    sizes = range(100, 2100, 100)
    both = latency_of(timed(*((size, 0.4 + 0.001 * size) for size in sizes)))
    assert (both.fixed, both.each) == (pytest.approx(0.4), pytest.approx(0.001))
    assert both.rescale(0.4 + 1.0, read=1000, now=100) == pytest.approx(0.5)
    assert both.rescale(2 * (0.4 + 1.0), read=1000, now=100) == pytest.approx(1.0)  # a slow one stays slow
    assert both.rescale(1.0, read=1000, now=0) == 0.0
    constant = latency_of(timed(*((size, 0.5) for size in sizes)))
    assert constant.rescale(0.5, read=2000, now=100) == pytest.approx(0.5)
    alike = latency_of(timed(*((1000, 0.5) for _ in sizes)))
    assert alike.rescale(0.5, read=1000, now=100) == pytest.approx(0.05)
    assert latency_of(timed()) == LinearLatency()


# Query logs


def test_query_logs_are_read(tmp_path):
    (tmp_path / "log.txt").write_text("one\n\n two \none\n")
    assert QueryLog.load(tmp_path / "log.txt").queries == {"one": "one", "two": "two"}
    (tmp_path / "log.csv").write_text("time,query\n1,one\n2,two\n")
    assert list(QueryLog.load(tmp_path / "log.csv").queries) == ["one", "two"]
    (tmp_path / "log.jsonl").write_text('{"text": "one"}\n')
    assert len(QueryLog.load(tmp_path / "log.jsonl")) == 1
    assert len(QueryLog.of(["a", "b", "c"]).sample(2)) == 2
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column 'query' \\(it has: 'a', 'b'\\)"):
        QueryLog.load(tmp_path / "bad.csv")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="holds no query"):
        QueryLog.load(tmp_path / "empty.txt")
    (tmp_path / "log.xml").write_text("")
    with pytest.raises(InputError, match=r"must be a .txt, .csv, .tsv or .jsonl file"):
        QueryLog.load(tmp_path / "log.xml")
    with pytest.raises(InputError, match="there is no file"):
        QueryLog.load(tmp_path / "none.txt")
    with pytest.raises(InputError, match="has no text"):
        QueryLog("log", {"q": " "})


def test_documents_split_into_passages_are_swept_as_documents():
    long = [Document(d.id, " ".join([d.text] * 12)) for d in TOPICS]
    pipeline = Pipeline.build(
        long, retrievers={"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}, reranker=Telling(), fetch_k=5,
        rerank_k=3, blend=0.2, splitter=Splitter(max_tokens=32, overlap=0),
    )  # fmt: skip
    recording = record(pipeline, dataset(), k=3, deep=7)
    start = Variant.of(pipeline.config)
    grades = Grades(dataset().qrels, "nDCG@3")
    (outcome,) = sweep(recording, [start], grades, k=3)
    expected = evaluate(record(pipeline, dataset(), k=3), measures=["nDCG@3"]).per_query("nDCG@3")
    assert [of[place] for of, place in zip(grades.values(), outcome.ranking, strict=True)] == list(
        expected.values()
    )
