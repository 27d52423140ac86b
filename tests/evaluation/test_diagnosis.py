"""Advice: given where there is evidence, with its numbers, and withheld where there is none."""

from __future__ import annotations

import io
import json
import random

import pytest
from judged import QRELS, dataset
from recorded import RRF as SETTINGS
from recorded import recording, search, stage
from rich.console import Console

from hybridrank.errors import InputError
from hybridrank.evaluation import diagnose, record
from hybridrank.evaluation.diagnosis.what_if import (
    blend_with,
    candidate_weights,
    fixed_weight,
    fuse_with,
    held_out_gains,
    rerank_to,
)
from hybridrank.evaluation.report import describe, print_report, sections, to_html, to_markdown
from hybridrank.fusion import RRF
from hybridrank.types import Query, Ranking

NOISE = [f"n{number}" for number in range(1, 16)]


def fused(arms):
    return list(
        RRF()
        .fuse(
            {a: Ranking.of({d: -float(n) for n, d in enumerate(i)}) for a, i in arms.items()}, query=Query("soil")
        )
        .ids
    )


def finding(diagnosis, about):
    return next((each for each in diagnosis.findings if each.about == about), None)


def advice(diagnosis, about):
    return describe(finding(diagnosis, about))


@pytest.fixture(scope="module")
def misled():
    """Vectors are right, words mislead the fusion, and the reranker makes it worse."""
    searches = []
    for number in range(30):
        arms = {"bm25": NOISE[:12], "dense": ["t", *NOISE[: 6 + number % 3]]}
        order = fused(arms)
        shown = order[:12]
        reranked = [*(d for d in shown if d != "t"), "t"]
        if number % 10 == 0:  # not always
            reranked = ["t", *(d for d in shown if d != "t")]
        searches.append(search(f"q{number}", {"t": 1}, arms, order, reranked, rerank_k=12))
    return diagnose(recording(searches), k=10)


def test_a_fusion_worse_than_its_better_arm_means_these_weights(misled):
    said, seen = advice(misled, "weights"), finding(misled, "weights")
    assert seen.shown
    assert [(each.action, each.settings) for each in seen.remedies] == [
        ("set weights", {"weights": {"bm25": 0.0, "dense": 1.0}})
    ]
    assert said.says.startswith("The fusion is worse than dense alone. nDCG@10 of the fusion is ")
    assert "that of dense, the better arm, 1.000" in said.says
    assert '{"bm25": 0, "dense": 1}' in said.do
    against, weights = seen.evidence
    assert against.mean < 0 < weights.mean
    assert against.interval.high < 0
    assert weights.adjusted_p >= weights.p
    assert weights.mean == pytest.approx(-against.mean)  # on queries that the choice did not see, too


def test_a_reranker_that_hurts(misled):
    said, seen = advice(misled, "reranker"), finding(misled, "reranker")
    assert seen.shown
    assert seen.verdict == "worse"
    assert [each.action for each in seen.remedies] == ["set options", "replace the reranker"]
    assert seen.remedies[0].settings["rerank_k"] == 10
    assert said.says.startswith("The reranker hurts. nDCG@10 is ")
    assert "Set rerank_k to 10" in said.do  # of the depths that are tried, below 12


def test_nothing_is_advised_of_chance():
    """Arms, fusion and reranker at random: whatever differs is chance, and no change is advised."""
    draw = random.Random(3)
    searches = []
    for number in range(30):
        documents = [f"d{n}" for n in range(20)]
        arms = {name: draw.sample(documents, 20) for name in ("bm25", "dense")}
        order = fused(arms)
        reranked = draw.sample(order[:10], 10)
        searches.append(search(f"q{number}", {draw.choice(documents): 1}, arms, order, reranked))
    found = diagnose(recording(searches), k=10)
    assert [each.about for each in found.findings if each.shown] == ["ranking", "idle arm"]  # all is fetched
    assert advice(found, "fusion").says.startswith("No difference was shown")
    assert advice(found, "reranker").says.startswith("The reranker is not shown to change the order")
    assert finding(found, "fusion").weights is not None  # tried, and not shown to be better
    assert all(not each.remedies and not describe(each).do for each in found.findings if not each.shown)


@pytest.fixture(scope="module")
def poor():
    """Retrieval that misses, in part for want of depth; some outages; documents cut short."""
    shallow, deep = [], []
    for number in range(24):
        query_id = f"q{number}"
        arms = {"bm25": NOISE[:4] if number % 8 else [], "dense": NOISE[4:8]}
        order = fused(arms)
        relevant = {"t": 1, "n5": 1} if number % 4 == 0 else {"t": 1}
        options = {"details": {"truncated": 4}, "rerank_k": 4, "fetch_k": 4, "unheld": frozenset()}
        if number == 5:
            options["errors"] = {"rerank": "out of credit"}
        shown = order[:4]
        ranked = [*(d for d in shown if d != "n5"), *(d for d in shown if d == "n5")]
        shallow.append(search(query_id, relevant, arms, order, [] if number == 5 else ranked, **options))
        if number == 7:
            options["unheld"] = frozenset({"gone"})
            shallow[-1] = search(query_id, {"t": 1, "gone": 1}, arms, order, shown, **options)
        below = {
            "bm25": [*arms["bm25"], "x", "t"] if number % 8 and number % 2 else arms["bm25"],
            "dense": NOISE[4:],
        }
        deep.append(search(query_id, relevant, below, fused(below), None, fetch_k=12))
    return recording(shallow), recording(deep, name="deep")


def test_poor_recall_means_retrieval_first(poor):
    shallow, _ = poor
    found = diagnose(shallow, k=2)
    said = advice(found, "retrieval")
    assert said.says.startswith("Fix retrieval first: R@4 is ")
    assert "0.000 for bm25, 0.1" in said.says
    assert advice(found, "fetch_k").says.endswith(
        "record again with a greater fetch_k, and pass that recording with --deeper."
    )
    assert not finding(found, "fetch_k").shown


def test_how_deep(poor):
    shallow, deep = poor
    found = diagnose(shallow, k=2, deeper=deep)
    said, seen = advice(found, "fetch_k"), finding(found, "fetch_k")
    assert seen.shown
    assert seen.deeper.within == {8: 11, 12: 11}
    assert seen.deeper.by_arm == {"bm25": 11, "dense": 0}
    assert "The deeper recording has 11 within 8, 11 within 12 (11 in bm25, 0 in dense)" in said.says
    assert "For 3 of them bm25 returned everything that matches" in said.says
    assert found.deeper == 12
    assert {loss.label: loss.documents for loss in found.losses}["beyond fetch_k"] == 11


def test_outages_and_missing_documents_come_first(poor):
    found = diagnose(poor[0], k=2)
    assert [each.about for each in found.findings[:2]] == ["outage", "not held"]
    outage, unheld = map(describe, found.findings[:2])
    assert "1 search was degraded out of 24, such as that for 'q5' (rerank: out of credit)" in outage.says
    assert "'gone'" in unheld.says
    assert "q5" not in found.examination.queries
    assert finding(found, "nothing found").queries[0] == "q1"


def test_cut_documents(poor):
    seen = finding(diagnose(poor[0], k=2), "truncated")
    said = describe(seen)
    assert f"did not read {seen.cut} to the end" in said.says
    assert seen.shown
    assert said.do.startswith("Split long documents")


def test_what_cannot_be_a_deeper_recording(poor, misled):
    shallow, deep = poor
    with pytest.raises(InputError, match="fetched 4 an arm, which is no deeper than the 12 of 'deep'"):
        diagnose(deep, deeper=shallow)
    with pytest.raises(InputError, match="no search for query 'q1' as it is asked here"):
        diagnose(shallow, deeper=recording([deep.searches["q0"]]))
    with pytest.raises(InputError, match="is of other documents"):
        diagnose(shallow, deeper=recording(list(deep.searches.values()), documents={"digest": "other"}))
    with pytest.raises(InputError, match="has the grade 5 or more"):
        diagnose(shallow, grade=5)
    with pytest.raises(InputError, match="at least 1, not 0"):
        diagnose(shallow, k=0)


def test_every_search_degraded():
    made = recording(
        [search("q", {"a": 1, "b": 1}, {"bm25": ["a"], "dense": []}, ["a"], errors={"dense": "gone"})]
    )
    found = diagnose(made, k=1)
    assert [each.about for each in found.findings] == ["outage"]
    assert [(loss.label, loss.documents) for loss in found.losses] == [("found", 1), ("no room", 1)]
    assert "Diagnosis of made" in to_markdown(found)


def test_one_query_has_no_statistics():
    made = recording([search("q", {"a": 1, "z": 1}, {"bm25": ["b", "a"], "dense": ["b"]}, ["b", "a"], ["b", "a"])])
    found = diagnose(made, k=1)
    assert "one query only" in " ".join(found.warnings)
    assert not any(each.shown for each in found.findings if each.evidence)
    assert "for one query" in to_markdown(found)


def test_without_a_reranker(pipeline):
    made = record(pipeline.replace(reranker=None), dataset())
    found = diagnose(made, k=2)
    assert finding(found, "reranker") is None
    assert found.odd == {"q4": "bm25 finds nothing"}
    assert sum(loss.documents for loss in found.losses) == sum(g > 0 for q in QRELS.values() for g in q.values())


def test_odd_queries():
    arms = {"bm25": [], "dense": ["a"]}
    made = [
        search(f"q{n}", {"a": 1}, arms, ["a"], query=text) for n, text in enumerate(["?!", "word", "A b", "a  B"])
    ]
    found = diagnose(recording(made), k=1)
    assert found.odd["q0"] == "no word in it; bm25 finds nothing"
    assert found.odd["q1"].startswith("one word")
    assert found.odd["q3"].startswith("the same text as query 'q2'")


def test_every_report_says_the_same(misled):
    out = io.StringIO()
    print_report(misled, Console(file=out, width=2000))
    printed, markdown, page = out.getvalue(), to_markdown(misled), to_html(misled)
    for section in sections(misled):
        assert section.title in printed
        assert section.title in markdown
        assert section.title in page
        for text in section.paragraphs:
            assert text in printed
    assert "demoted by rerank: ranks by stage" in markdown
    found = json.loads(json.dumps(misled.to_dict()))
    assert [each["about"] for each in found["findings"]] == [each.about for each in misled.findings]
    weights = next(each for each in found["findings"] if each["about"] == "weights")
    assert weights["numbers"]["arm"] == "dense"
    assert weights["remedies"][0]["settings"] == {"weights": {"bm25": 0.0, "dense": 1.0}}
    assert found["evidence"]["rerank"]["mean"] < 0
    assert [row["query_id"] for row in found["by_query"]] == [row["query_id"] for row in misled.per_query()]
    short = io.StringIO()
    print_report(misled, Console(file=short, width=500), full=False)
    assert "ranks by stage" not in short.getvalue()


def test_synthetic_judgments_are_told_first(pipeline):
    found = diagnose(record(pipeline, dataset(synthetic="a chat model")))
    assert found.warnings[0].startswith("SYNTHETIC JUDGMENTS, made by a chat model")
    for text in (to_markdown(found), to_html(found), json.dumps(found.to_dict())):
        assert "SYNTHETIC JUDGMENTS, made by a chat model, not by people" in text


def test_replayed_weights_are_what_the_pipeline_would_fuse(pipeline):
    made = record(pipeline, dataset())
    for weights in ({"bm25": 1.0, "dense": 4.0}, {"bm25": 0.0, "dense": 1.0}):
        there = record(pipeline.replace(fusion=RRF(weights=weights)), dataset())
        settings = {**made.header.settings, "reranker": None}
        assert fuse_with(list(made.searches.values()), settings, weights) == there.rankings()["fusion"]


def test_replayed_depths_are_what_the_pipeline_would_rerank(pipeline):
    made = record(pipeline, dataset())
    there = record(pipeline.replace(rerank_k=3), dataset())
    assert rerank_to(list(made.searches.values()), 3) == there.rankings()["rerank"]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_replayed_blends_are_what_the_pipeline_would_give(pipeline, weight):
    made = list(record(pipeline.replace(rerank_k=4), dataset()).searches.values())
    there = record(pipeline.replace(rerank_k=4, blend=weight), dataset())
    assert blend_with(made, weight) == list(there.rankings().values())[-1]
    assert fixed_weight(list(there.searches.values())) == weight
    shallow = record(pipeline.replace(rerank_k=2, blend=weight), dataset())
    assert rerank_to(made, 2, blend=weight) == list(shallow.rankings().values())[-1]


def test_a_reranker_and_its_blend_are_judged_together(pipeline):
    made = recording(
        [
            search(
                f"q{number}",
                {"t": 1},
                {"bm25": NOISE[:3], "dense": ["t", *NOISE[:2]]},
                ["n1", "n2", "t", "n3"],
                ["n1", "n2", "n3", "t"],
                later=(stage("blend", "blend", ["t", "n1", "n2", "n3"], received=4, fused=0.5 + number % 2 / 10),),
            )
            for number in range(20)
        ]
    )
    found = diagnose(made, k=3)
    assert fixed_weight(list(made.searches.values())) is None
    assert found.examination.reranked == "blend"
    assert advice(found, "reranker").says.startswith(
        "The reranker helps. nDCG@3 is 1.000 after the reranker and the"
    )
    assert advice(found, "blend").says.startswith("blend makes the order better")
    assert "depth" not in found.examination.evidence  # what a blend by confidence would weigh, nobody recorded


def test_weightings():
    assert {"a": 1.0, "b": 3.0} in candidate_weights(["a", "b"])
    three = candidate_weights(["a", "b", "c"])
    assert {"a": 0.0, "b": 0.0, "c": 1.0} in three
    ratios = [tuple(w / max(each.values()) for w in each.values()) for each in three]
    assert len(ratios) == len(set(ratios))
    assert candidate_weights(["a"]) == candidate_weights(list("abcde")) == []


def test_a_choice_is_measured_where_it_was_not_made():
    """A setting that is good on one query only gains nothing on the others."""
    queries = [f"q{n}" for n in range(20)]
    current = dict.fromkeys(queries, 0.5)
    lucky = {**dict.fromkeys(queries, 0.4), "q0": 9.0}
    gains = held_out_gains({"lucky": lucky}, current)
    assert gains["q0"] == 0.0  # chosen without it, the setting looks worse
    assert sum(gains.values()) < 0
    better = held_out_gains({"lucky": lucky, "good": dict.fromkeys(queries, 0.7)}, current)
    assert better["q0"] == pytest.approx(0.2)
    assert held_out_gains({"good": current}, dict.fromkeys(queries[:9], 0.5)) is None


def test_settings_that_name_no_fusion_are_fused_by_rank():
    made = [search("q", {"a": 1}, {"bm25": ["a", "b"], "dense": ["b"]}, ["b", "a"])]
    for settings in ({}, SETTINGS, {"fusion": "<some.Class>"}, {"fusion": {"use": "nowhere"}}):
        assert fuse_with(made, settings, {"bm25": 1.0, "dense": 0.0}) == {"q": ("a", "b")}
