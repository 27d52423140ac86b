from __future__ import annotations

import pytest

from hybridrank.errors import InputError
from hybridrank.evaluation import Dataset
from hybridrank.training import separate
from hybridrank.training.hygiene import normalize_text, set_aside


def dataset(name: str, judged: dict[str, tuple[str, list[str]]]) -> Dataset:
    return Dataset(
        name,
        {query_id: text for query_id, (text, _) in judged.items()},
        {query_id: dict.fromkeys(documents, 1) for query_id, (_, documents) in judged.items()},
    )


TEST = dataset("test", {"9": ("What is RAG?", ["r1", "r2"]), "3": ("lift of a wing", ["w"])})
TRAIN = dataset(
    "train",
    {
        "1": ("what  is rag", ["a"]),  # the text of 9
        "3": ("drag", ["b"]),  # the id of 3
        "4": ("retrieval", ["r1", "c"]),
        "5": ("generation", ["r2"]),
        "6": ("soil", ["d"]),
    },
)


def test_queries_that_are_held_out_too_are_dropped_by_id_and_by_text():
    found = separate(TRAIN, [TEST], documents="anywhere")
    assert list(found.train.queries) == ["4", "5", "6"]
    assert found.counts() == {
        "queries_of_same_id": 1,
        "queries_of_same_text": 1,
        "judgments_dropped": 0,
        "queries_left_empty": 0,
    }
    assert not found.withheld
    assert not found.banned


def test_documents_that_answer_held_out_queries_are_no_positives():
    found = separate(TRAIN, [TEST])
    assert {q: dict(found.train.qrels[q]) for q in found.train.queries} == {"4": {"c": 1}, "6": {"d": 1}}
    assert found.withheld == {"4": {"r1"}}
    assert found.banned == frozenset()
    assert found.counts()["judgments_dropped"] == 2
    assert found.counts()["queries_left_empty"] == 1


def test_nowhere_bans_them_from_the_negatives_too():
    found = separate(TRAIN, [TEST], documents="nowhere")
    assert list(found.train.queries) == ["4", "6"]
    assert found.banned == {"r1", "r2", "w"}


def test_a_document_judged_irrelevant_answers_nothing():
    held_out = Dataset("test", {"8": "x"}, {"8": {"c": 0, "z": 1}})
    assert separate(TRAIN, [held_out]).counts()["judgments_dropped"] == 0


def test_several_held_out_parts_count_together():
    dev = dataset("dev", {"d": ("Soil.", ["q"])})
    assert list(separate(TRAIN, [TEST, dev]).train.queries) == ["4"]


@pytest.mark.parametrize("text", ["What is RAG?", "what is rag", " ＷＨＡＴ is\tRAG … ", "what is RAG!?"])
def test_texts_that_ask_the_same(text):
    assert normalize_text(text) == "what is rag"


def test_nothing_left_says_what_took_it():
    only = dataset("train", {"1": ("what is rag", ["a"]), "5": ("generation", ["r2"])})
    with pytest.raises(
        InputError, match=r"nothing of train is left to train on: 0 .* id, 1 its text, and 1 no relevant"
    ):
        separate(only, [TEST])


def shared(*groups: int) -> Dataset:
    """Queries in groups; those of one are chained: each shares a document with the one before."""
    judged = {
        f"{group}.{number}": ("text", [f"{group}.{number}", f"{group}.{number + 1}"])
        for group, size in enumerate(groups)
        for number in range(size)
    }
    return dataset("clicks", dict(sorted(judged.items(), key=lambda each: each[0][::-1])))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_set_aside_shares_no_document_with_the_rest(seed):
    whole = shared(1, 2, 3, 4, 5, 1, 2, 3, 40)
    aside = set_aside(whole, 7, seed=seed)
    assert 4 <= len(aside) <= 7
    rest = whole.only(query_id for query_id in whole.queries if query_id not in aside.queries)
    answers = [{d for q in part.queries for d in part.relevant(q)} for part in (aside, rest)]
    assert not answers[0] & answers[1]


def test_which_queries_are_set_aside_is_up_to_the_seed():
    whole = shared(*[1] * 30)
    chosen = [tuple(set_aside(whole, 5, seed=seed).queries) for seed in (0, 0, 1, 2, 3)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) == 4


def test_where_all_queries_share_documents_some_are_set_aside_nevertheless():
    whole = shared(20)
    chosen = {tuple(sorted(set_aside(whole, 3, seed=seed).queries)) for seed in range(4)}
    assert {len(each) for each in chosen} == {3}
    assert len(chosen) > 1  # and not always the first ones
