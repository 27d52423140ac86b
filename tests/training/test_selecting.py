from __future__ import annotations

import pytest

from hybridrank import Document
from hybridrank.errors import InputError
from hybridrank.training import Mined, MinedCandidate, MinedQuery, select


def mined(*queries: MinedQuery) -> Mined:
    ids = {each.read for query in queries for each in query.candidates}
    return Mined({}, {}, {doc_id: Document(doc_id, f"text of {doc_id}") for doc_id in ids}, queries, digest="")


def query(query_id: str, relevance: dict[str, int], ranked: dict[str, float | None], missed=()) -> MinedQuery:
    found = [MinedCandidate(doc_id, rank, score) for rank, (doc_id, score) in enumerate(ranked.items(), start=1)]
    return MinedQuery(
        query_id,
        f"query {query_id}",
        "train",
        relevance,
        (*found, *(MinedCandidate(doc_id, None) for doc_id in missed)),
    )


PLAIN = query("q", {"a": 2, "b": 1}, {"x": None, "a": None, "y": None, "b": None, "z": None})


def test_positives_come_first_with_their_grades():
    example = select(mined(PLAIN)).examples[0]
    assert example.doc_ids[:2] == ("a", "b")
    assert set(example.doc_ids[2:]) == {"x", "y", "z"}
    assert example.labels == (2.0, 1.0, 0.0, 0.0, 0.0)
    assert example.texts[0] == "text of a"
    assert example.positives == 2
    assert example.teacher is None


def test_hardest_are_those_that_retrieval_ranked_best():
    example = select(mined(PLAIN), negatives=2, positives=1, sampling="hardest").examples[0]
    assert example.doc_ids[1:] == ("x", "y")


def test_chance_goes_by_the_seed_and_the_query_alone():
    wide = [query(name, {"a": 1}, {"a": None, **dict.fromkeys("bcdefghijklmnop")}) for name in ("one", "two")]
    both, alone = select(mined(*wide), negatives=3), select(mined(wide[1]), negatives=3)
    assert both.examples[1] == alone.examples[0]
    assert select(mined(*wide), negatives=3) == both
    assert len({select(mined(wide[0]), negatives=3, seed=seed).examples[0].doc_ids for seed in range(5)}) > 1


def test_what_the_teacher_scores_like_the_relevant_ones_is_no_negative():
    scored = query("q", {"a": 1}, {"x": 5.0, "a": 4.0, "y": 3.5, "z": -2.0})
    chosen = select(mined(scored))
    assert chosen.examples[0].doc_ids == ("a", *sorted(("y", "z"), key=chosen.examples[0].doc_ids.index))
    assert chosen.false_negatives == 1
    assert select(mined(scored), margin=1.0).examples[0].doc_ids == ("a", "z")
    assert select(mined(scored), margin=None).false_negatives == 0
    assert select(mined(scored), margin=1.0).examples[0].teacher == (4.0, -2.0)


def test_with_several_relevant_ones_their_median_decides():
    scored = query("q", {"a": 1, "b": 1, "c": 1}, {"a": 9.0, "b": 4.0, "c": -8.0, "x": 5.0, "y": 3.0, "z": -9.0})
    assert set(select(mined(scored)).examples[0].doc_ids) == {"a", "b", "c", "y", "z"}


def test_what_was_judged_irrelevant_is_a_negative_whatever_the_teacher_says():
    scored = query("q", {"a": 1, "x": 0}, {"x": 9.0, "a": 1.0, "y": 5.0})
    assert select(mined(scored)).examples[0].doc_ids == ("a", "x")


def test_a_text_that_reads_like_a_relevant_one_is_no_negative():
    twins = mined(PLAIN)
    copy = {**twins.documents, "x": Document("x", "text of a")}
    chosen = select(Mined({}, {}, copy, twins.queries, digest=""))
    assert "x" not in chosen.examples[0].doc_ids
    assert chosen.false_negatives == 1


def test_missed_positives_are_learned_from_and_counted():
    chosen = select(mined(query("q", {"m": 1}, {"x": None}, missed=["m"])))
    assert chosen.examples[0].doc_ids == ("m", "x")
    assert chosen.counts()["missed_positives"] == 1


def test_a_query_without_pairs_is_left_out_and_counted():
    lonely = query("l", {"a": 1}, {"a": None})
    chosen = select(mined(PLAIN, lonely))
    assert [example.query_id for example in chosen.examples] == ["q"]
    assert chosen.counts() == {
        "queries": 1,
        "positives": 2,
        "negatives": 3,
        "missed_positives": 0,
        "false_negatives_dropped": 0,
        "queries_without_pairs": 1,
    }
    with pytest.raises(InputError, match="has nothing to learn from: 1 training queries"):
        select(mined(lonely))
    with pytest.raises(InputError, match="at least 1 positive and 1 negative"):
        select(mined(PLAIN), negatives=0)
