"""The fate of each relevant document: every case, exactly one of them each, and shares that add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import search, stage

from hybridrank.evaluation import Evaluator
from hybridrank.evaluation.diagnosis import fates_of
from hybridrank.evaluation.diagnosis.examining import lost_places

ARMS = {"bm25": ["a", "b", "c", "d"], "dense": ["e", "f", "a", "g"]}
FUSED = ["a", "e", "b", "f", "c", "g", "d"]


def fates(qrels, *, k=2, **options):
    made = search(
        "q", qrels, **{"arms": ARMS, "fused": FUSED, "reranked": ["e", "b", "a", "f"], **options}, rerank_k=4
    )
    return {fate.doc_id: fate for fate in fates_of(made, k=k)}


def test_each_stage_can_lose_a_document():
    found = fates(dict.fromkeys(["e", "a", "f", "g", "c", "nowhere"], 1))
    assert {doc_id: fate.label for doc_id, fate in found.items()} == {
        "e": "found",
        "a": "demoted by rerank",  # third of two
        "f": "demoted by fusion",  # second of dense, fourth of the fusion
        "c": "not reranked",  # third of BM25, fifth of the fusion, of which four are shown
        "g": "not reranked",
        "nowhere": "missed",
    }
    assert found["f"].ranks == {"dense": 2, "fusion": 4, "rerank": 4}
    assert found["c"].ranks == {"bm25": 3, "fusion": 5, "rerank": 5}


def test_what_the_reranker_saw_and_left_low():
    found = fates({"c": 1}, fused=["a", "e", "c", "b", "f", "d", "g"], reranked=["a", "e", "b", "c"])
    assert (found["c"].label, found["c"].stage) == ("left low", "rerank")
    without = fates({"c": 1}, reranked=None)
    assert (without["c"].label, without["c"].stage) == ("left low", "fusion")


def test_later_stages_lose_documents_too():
    mmr = stage("mmr", "adjust", ["a", "f", "b", "e"], received=4)
    found = fates({"e": 1, "f": 1}, later=(mmr,))
    assert (found["e"].label, found["f"].label) == ("demoted by mmr", "found")


def test_a_document_that_comes_back_and_goes_again_was_lost_by_the_last_stage():
    mmr = stage("mmr", "adjust", ["e", "a", "b", "f"], received=4)
    found = fates({"b": 1}, later=(mmr,))  # first two of BM25, not of the fusion, again of the reranker
    assert found["b"].label == "demoted by mmr"


def test_dropped_by_the_fusion():
    assert fates({"d": 1}, fused=["a", "e", "b", "f"])["d"].label == "dropped"


def test_not_held_is_told_only_where_it_was_recorded():
    assert fates({"z": 1, "e": 1}, unheld=frozenset({"z"}))["z"].label == "not held"
    assert fates({"z": 1, "e": 1}, unheld=frozenset())["z"].label == "missed"
    assert fates({"z": 1, "e": 1})["z"].label == "missed"


def test_a_relevant_document_behind_relevant_ones_is_not_lost():
    found = fates({"e": 1, "b": 1, "a": 1, "nowhere": 2})
    assert {d: f.label for d, f in found.items()} == {
        "e": "found",
        "b": "found",
        "a": "no room",
        "nowhere": "no room",
    }


@pytest.mark.parametrize("failed", ["bm25", "rerank"])
def test_an_outage_is_no_quality_problem(failed):
    options = {"arms": {"bm25": [], "dense": ARMS["dense"]}} if failed == "bm25" else {"reranked": []}
    found = fates({"e": 1, "c": 1, "g": 1}, errors={failed: "out of credit"}, **options)
    assert found["g"].label == "degraded"
    assert found["g"].stage == failed
    assert found["e"].label == "found"


def test_ignored_and_lower_grades_are_not_relevant():
    made = search("q", {"a": 1, "e": 2, "x": 3}, ARMS, FUSED, ignored=frozenset({"x"}))
    assert [f.doc_id for f in fates_of(made, k=2, grade=2)] == ["e"]


def test_a_deeper_recording_tells_how_far_down():
    shallow = search("q", {"n": 1, "z": 1, "b": 1}, ARMS, FUSED, fetch_k=4)
    deep = search("q", {"n": 1}, {"bm25": [*ARMS["bm25"], "n"], "dense": [*ARMS["dense"], "x", "n", "b"]}, FUSED)
    found = {fate.doc_id: fate for fate in fates_of(shallow, k=2, deeper=deep)}
    assert (found["n"].label, found["n"].deeper) == ("beyond fetch_k", {"bm25": 5, "dense": 6})
    assert found["z"].label == "missed"
    assert found["b"].deeper == {"dense": 7}  # of the arm that missed it
    assert found["z"].exhausted == ()


def test_an_arm_that_had_no_more_to_give():
    made = search("q", {"z": 1}, {"bm25": ["a"], "dense": ARMS["dense"]}, FUSED, fetch_k=4)
    assert fates_of(made, k=2)[0].exhausted == ("bm25",)


def test_passages_stand_for_their_documents():
    parents = {"a#1": "a", "a#2": "a", "b#1": "b", "c#1": "c"}
    made = search(
        "q",
        {"b": 1, "c": 1},
        {"bm25": ["a#1", "a#2", "b#1", "c#1"]},
        ["a#1", "b#1", "c#1"],
        ["a#1", "b#1"],
        rerank_k=2,
        parents=parents,
    )
    found = {fate.doc_id: fate for fate in fates_of(made, k=1)}
    assert found["b"].ranks == {"bm25": 2, "fusion": 2, "rerank": 2}
    assert (found["b"].label, found["c"].label) == ("left low", "not reranked")


@pytest.mark.parametrize(
    ("details", "chars", "said"),
    [
        ({}, {}, None),
        ({"truncated": 0}, {}, "no"),
        ({"truncated": 4}, {}, "surely"),
        ({"truncated": 1}, {}, "perhaps"),
        ({"truncated": 1}, {"a": 900, "e": 20, "b": 30, "f": 40}, "perhaps"),
        ({"truncated": 1}, {"a": 10, "e": 20, "b": 30, "f": 40}, "no"),
    ],
)
def test_what_was_not_read_to_the_end(details, chars, said):
    assert fates({"a": 1, "g": 1}, details=details, chars=chars)["a"].truncated == said
    assert fates({"a": 1, "g": 1}, details=details, chars=chars)["g"].truncated is None  # not shown


@st.composite
def searches(draw):
    ids = [f"d{n}" for n in range(8)]
    arms = {name: draw(st.lists(st.sampled_from(ids), unique=True)) for name in ("bm25", "dense")}
    union = list(dict.fromkeys([*arms["bm25"], *arms["dense"]]))
    fused = draw(st.permutations(union))
    shown = fused[:3]
    reranked = draw(st.one_of(st.none(), st.permutations(shown)))
    qrels = draw(st.dictionaries(st.sampled_from(ids), st.integers(0, 2), min_size=1))
    return search("q", qrels, arms, fused, reranked, rerank_k=3)


@given(searches(), st.integers(1, 9))
def test_every_relevant_document_has_one_fate_and_the_places_add_up(made, k):
    relevant = [doc_id for doc_id, grade in made.qrels.items() if grade > 0]
    found = fates_of(made, k=k)
    assert sorted(fate.doc_id for fate in found) == sorted(relevant)
    taken, lost = lost_places(found, k=k)
    if not relevant:
        assert (taken, lost) == (0.0, {})
        return
    assert taken + sum(lost.values()) == pytest.approx(1)
    measured = Evaluator({"q": dict(made.qrels)}, [f"R@{k}"]).means({"q": list(made.rankings().values())[-1]})
    if len(relevant) <= k:
        assert taken == pytest.approx(measured[f"R@{k}"])
    else:
        assert taken * k == pytest.approx(measured[f"R@{k}"] * len(relevant))
    for fate in found:
        assert (fate.kind == "missed") == (not {"bm25", "dense"} & set(fate.ranks) and fate.kind != "no room")
