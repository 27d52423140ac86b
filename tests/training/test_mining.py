from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support import SharedWords

from hybridrank import Document, Pipeline
from hybridrank.errors import BackendError, InputError
from hybridrank.evaluation import Dataset
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.retrieval import BM25
from hybridrank.training import Mined, mine

WORDS = ["soil", "waste", "wing", "lift", "ocean", "river"]
DOCUMENTS = [Document(f"{word}{n}", f"{word} {'and ' * n}more", title=None) for word in WORDS for n in range(6)]


def judged(name: str, words: list[str]) -> Dataset:
    return Dataset(
        name, {w: f"about {w}" for w in words}, {w: {f"{w}0": 2, f"{w}3": 1, f"{w}5": 0} for w in words}
    )


TRAIN, TEST = judged("train", WORDS[:4]), judged("test", WORDS[4:])


@pytest.fixture(scope="module")
def words_only() -> Pipeline:
    return Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25(language="none")}, reranker=None)


class Interrupted(SharedWords):
    """A teacher that is killed in its third batch."""

    def score(self, batch):
        if len(self.seen) >= 2:
            raise KeyboardInterrupt
        return super().score(batch)


def test_candidates_are_the_fused_ones_in_their_order(words_only, tmp_path):
    mined = mine(words_only, tmp_path / "m.jsonl", train=TRAIN, test=TEST, depth=4, dev_share=0.25)
    assert {query.split for query in mined.queries} == {"train", "dev", "test"}
    for query in mined.queries:
        expected = [hit.document.id for hit in words_only.search(query.text, k=4).hits]
        assert list(query.found) == expected
        assert [each.rank for each in query.candidates if each.rank] == list(range(1, len(expected) + 1))
        assert all(
            mined.documents[each.read].text == words_only.get([each.doc_id])[each.doc_id].content
            for each in query.candidates
        )
    assert mined.counts == {
        "train_queries": 3,
        "dev_queries": 1,
        "test_queries": 2,
        "queries_of_same_id": 0,
        "queries_of_same_text": 0,
        "judgments_dropped": 0,
        "queries_left_empty": 0,
    }
    assert mined == Mined.read(tmp_path / "m.jsonl")


def test_relevant_documents_that_were_missed_are_kept_for_training_and_stay_missed_for_the_test(
    words_only, tmp_path
):
    def missed(words):
        return Dataset(
            "d", {w: f"about {w}" for w in words}, {w: {f"{w}0": 1, "river5": 1, "gone": 1} for w in words}
        )

    mined = mine(
        words_only,
        tmp_path / "m.jsonl",
        train=missed(["soil"]),
        test=replace(missed(["wing"]), name="t"),
        depth=6,
        dev_share=0,
        held_out_documents="anywhere",
    )
    train, test = mined.of("train")[0], mined.of("test")[0]
    assert [(each.doc_id, each.rank) for each in train.candidates if each.rank is None] == [("river5", None)]
    assert mined.documents["river5"].text == "river and and and and and more"
    assert "river5" not in [each.doc_id for each in test.candidates]
    assert test.relevance == {"wing0": 1, "river5": 1, "gone": 1}


def test_a_teacher_scores_what_is_for_training_alone(words_only, tmp_path):
    mined = mine(
        words_only, tmp_path / "m.jsonl", train=TRAIN, test=TEST, depth=4, dev_share=0.25, teacher=SharedWords()
    )
    for query in mined.queries:
        scores = [each.teacher for each in query.candidates]
        assert scores == ([0.5] * len(scores) if query.split == "train" else [None] * len(scores))


def test_held_out_documents_are_neither_positives_nor_negatives_of_a_query_that_they_answer(words_only, tmp_path):
    test = Dataset("test", {"q": "about rivers"}, {"q": {"soil0": 1, "wing1": 1}})
    mined = mine(words_only, tmp_path / "m.jsonl", train=TRAIN, test=test, depth=6, dev_share=0)
    soil, wing = (next(q for q in mined.of("train") if q.id == word) for word in ("soil", "wing"))
    assert soil.relevance == {"soil3": 1, "soil5": 0}
    assert "soil0" not in [each.doc_id for each in soil.candidates]
    assert "wing1" in wing.found
    banned = mine(
        words_only,
        tmp_path / "n.jsonl",
        train=TRAIN,
        test=test,
        depth=6,
        dev_share=0,
        held_out_documents="nowhere",
    )
    assert "wing1" not in {each.doc_id for query in banned.of("train") for each in query.candidates}
    assert "wing1" in {each.doc_id for query in mined.of("train") for each in query.candidates}


def test_an_interrupted_call_is_gone_on_with(words_only, tmp_path):
    path = tmp_path / "m.jsonl"
    options = {"train": TRAIN, "test": TEST, "depth": 4, "dev_share": 0, "batch_size": 1}
    with pytest.raises(KeyboardInterrupt):
        mine(words_only, path, **options, teacher=Interrupted())
    with pytest.raises(InputError, match=r"is unfinished \(2 queries so far\): mine again"):
        Mined.read(path)
    with path.open("ab") as file:
        file.write(b'{"query": {"id": "wing", "te')  # what a kill in the middle of a write leaves
    steps: list[tuple[int, int]] = []
    teacher = Interrupted()  # of the same name; it has two batches left
    resumed = mine(words_only, path, **options, teacher=teacher, progress=lambda *step: steps.append(step))
    assert steps == [(3, 6), (4, 6), (5, 6), (6, 6)]
    assert len(teacher.seen) == 2
    whole = mine(words_only, tmp_path / "n.jsonl", **options, teacher=SharedWords())
    assert resumed.queries == whole.queries
    assert resumed.documents == whole.documents


def test_a_file_that_is_finished_is_read_and_not_mined_again(words_only, tmp_path):
    path = tmp_path / "m.jsonl"
    first = mine(words_only, path, train=TRAIN, depth=4, dev_share=0)
    before = path.read_bytes()
    assert mine(words_only, path, train=TRAIN, depth=4, dev_share=0) == first
    assert path.read_bytes() == before


def test_other_settings_do_not_go_into_the_same_file(words_only, tmp_path):
    path = tmp_path / "m.jsonl"
    mine(words_only, path, train=TRAIN, depth=4, dev_share=0)
    with pytest.raises(InputError, match=r"was mined with other settings \(depth\)"):
        mine(words_only, path, train=TRAIN, depth=5, dev_share=0)
    with pytest.raises(InputError, match=r"other settings \(.*train"):
        mine(words_only, path, train=TRAIN.only(["soil", "wing", "lift"]), depth=4, dev_share=0)


@pytest.mark.parametrize("content", ["hello\n", "hello", '{"id": "a"}\n', "[1]\n"])
def test_a_file_of_something_else_is_not_touched(words_only, tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=r"no (line of a )?mined file"):
        mine(words_only, path, train=TRAIN, dev_share=0)
    assert path.read_text() == content


def test_a_newer_format_is_told_of(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"mined": {"version": 7, "settings": {}}}) + "\n")
    with pytest.raises(InputError, match="has the format 7, and this version reads 1"):
        Mined.read(path)


def test_passages_stand_under_the_document_that_is_judged(tmp_path):
    long = [Document(word, f"{word} first. " + "filler words here. " * 30 + f"{word} last.") for word in WORDS]
    pipeline = Pipeline.build(
        long, retrievers={"bm25": BM25()}, reranker=None, splitter=Splitter(max_tokens=32, overlap=8)
    )
    train = Dataset("train", {"soil": "soil last"}, {"soil": {"soil": 1}})
    mined = mine(pipeline, tmp_path / "m.jsonl", train=train, depth=3, dev_share=0)
    best = mined.queries[0].candidates[0]
    assert best.doc_id == "soil"
    assert best.passage is not None
    assert best.passage.startswith("soil#")
    assert "soil" in mined.documents[best.read].text
    assert len(mined.documents[best.read].text) < len(long[0].text)


def test_a_failing_arm_ends_it_and_keeps_what_was_done(tmp_path):
    class Flaky:
        def retrieve(self, queries, *, k):
            raise BackendError("out of order")

    pipeline = Pipeline.build(DOCUMENTS, retrievers={"bm25": BM25(language="none"), "far": Flaky()}, reranker=None)
    with pytest.raises(BackendError, match=r"far failed for query 'soil': .*out of order"):
        mine(pipeline, tmp_path / "m.jsonl", train=TRAIN, dev_share=0)


def test_too_few_queries_for_a_share_is_told(words_only, tmp_path):
    with pytest.raises(InputError, match=r"cannot spare a share of 0\.1 to stop by"):
        mine(words_only, tmp_path / "m.jsonl", train=TRAIN.only(["soil"]))
    assert not (tmp_path / "m.jsonl").exists()


def test_dev_shares_no_answers_with_the_training(words_only, tmp_path):
    pairs = {w: {f"{word}0": 1} for word in WORDS[:3] for w in (word, f"more {word}")}
    clicks = Dataset("clicks", {query_id: query_id for query_id in pairs}, pairs)
    mined = mine(words_only, tmp_path / "m.jsonl", train=clicks, depth=4, dev_share=0.34)
    answers = [{d for query in mined.of(part) for d in query.relevance} for part in ("dev", "train")]
    assert [len(mined.of(part)) for part in ("dev", "train")] == [2, 4]
    assert not answers[0] & answers[1]
