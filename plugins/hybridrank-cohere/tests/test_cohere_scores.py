"""What comes back, and what is sent for it."""

from __future__ import annotations

import asyncio

import pytest
from hybridrank_cohere import CohereReranker

from hybridrank.component import validate_scores
from hybridrank.errors import BackendError, BackendResponseError, ConfigError
from hybridrank.rerank import Cached
from hybridrank.types import Candidates, Document, Query


def batch_of(query: str, *texts: str) -> list[Candidates]:
    return [Candidates(Query(query), [Document(f"d{number}", text) for number, text in enumerate(texts)])]


def test_scores_follow_the_documents_whatever_order_the_api_answers_in(make, score, waste):
    [scores] = score(make(), [waste])
    # shared words / all words: {waste}, {organic, waste} and none, of the query's five
    assert scores == pytest.approx((1 / 9, 2 / 8, 0.0))
    backwards = Candidates(waste.query, waste.documents[::-1])
    assert score(make(), [backwards])[0] == scores[::-1]


def test_the_request_holds_the_options(make, score, server, waste):
    score(make(model="rerank-v3.5", max_tokens_per_doc=3), [waste])
    [received] = server.received
    assert received.body == {
        "model": "rerank-v3.5",
        "query": waste.query.text,
        "documents": [document.content for document in waste.documents],
        "max_tokens_per_doc": 3,
    }


def test_what_is_not_set_is_not_sent(make, score, server, waste):
    score(make(), [waste])
    assert sorted(server.received[0].body) == ["documents", "model", "query"]


def test_a_title_is_read_with_its_text(make, score, server):
    documents = [Document("a", "Air over a wing.", title="Lift")]
    score(make(), [Candidates(Query("lift"), documents)])
    assert server.received[0].body["documents"] == ["Lift\nAir over a wing."]


def test_a_batch_scores_as_its_members_do(make, score, waste):
    other = batch_of("storm forecast", "A storm is forecast.", "Nothing.", "storm")[0]
    together = score(make(), [waste, other, waste])
    assert together == [score(make(), [member])[0] for member in (waste, other, waste)]


def test_more_documents_than_a_call_takes_are_split_over_several(make, score, server):
    texts = [f"waste {'organic ' * (number % 3 == 0)}number{number}" for number in range(23)]
    batch = batch_of("organic waste", *texts)
    [whole] = score(make(), batch)
    server.received.clear()
    [split] = score(make(batch_size=10), batch)
    assert split == whole
    assert sorted(len(received.body["documents"]) for received in server.received) == [3, 10, 10]
    assert split.details["requests"] == 3
    assert split.details["search_units"] == 3
    assert len(set(split.details["request_ids"])) == 3


def test_the_details_are_those_of_each_query(make, score, waste):
    first, second = score(make(batch_size=2), [waste, batch_of("storm", "storm")[0]])
    assert (first.details["requests"], second.details["requests"]) == (2, 1)
    assert first.details["retries"] == second.details["retries"] == 0
    assert len(first.details["request_ids"]) == 2


def test_blank_documents_are_not_sent_and_come_last(make, score, server):
    [scores] = score(make(), batch_of("storm", "", "storm", " \n\t", "calm"))
    assert server.received[0].body["documents"] == ["storm", "calm"]
    assert scores == (-1.0, 1.0, -1.0, 0.0)
    assert scores.details["blank_documents"] == 2


def test_nothing_to_score_calls_nobody(make, score, server):
    batch = [Candidates(Query("storm"), []), *batch_of("storm", "", " ")]
    assert score(make(), batch) == [(), (-1.0, -1.0)]
    assert score(make(), []) == []
    assert server.received == []


def test_unicode_and_control_characters_arrive_as_they_are(make, score, server):
    texts = ["weiße Bäume", "東京 タワー", "a\x00b\x07", "🌲" * 5000, "e\u0301"]
    [scores] = score(make(), batch_of("東京 🗼", *texts))
    assert server.received[0].body["documents"] == texts
    assert len(scores) == len(texts)


def test_the_pipeline_believes_the_scores(make, waste):
    reranker = make()
    assert validate_scores(reranker.score([waste]), [waste], source="cohere") == reranker.score([waste])


def test_parts_of_the_documents_score_as_the_whole(make, score, waste):
    [whole] = score(make(), [waste])
    parts = [Candidates(waste.query, [document]) for document in waste.documents]
    assert [scores[0] for scores in score(make(), parts)] == list(whole)


def test_cached_asks_for_each_pair_once(make, score, server, waste, tmp_path):
    def search(**options: object) -> int:
        reranker = Cached(reranker=make(**options), path=str(tmp_path / "scores"))
        server.received.clear()
        [scores] = score(reranker, [Candidates(waste.query, [*waste.documents, Document("blank", " ")])])
        assert scores == (*make().score([waste])[0], -1.0)
        assert scores.details["cache_hits"] + scores.details["cache_misses"] == 4
        return len(server.received) - 1

    assert search() == 1
    assert search() == 0
    assert search(timeout=1.0, concurrency=1, batch_size=2) == 0
    assert search(model="rerank-v3.5") == 1
    assert search(max_tokens_per_doc=1000) == 1


def test_cached_asks_only_for_what_is_new(make, server, waste, tmp_path):
    reranker = Cached(reranker=make(), path=str(tmp_path / "scores"))
    reranker.score([waste])
    new = Document("new", "Waste of time.")
    scores = asyncio.run(reranker.ascore([Candidates(waste.query, [*waste.documents, new])]))
    assert server.received[-1].body["documents"] == ["Waste of time."]
    assert scores[0].details["search_units"] == 1


def test_spans_are_asked_for_and_point_into_the_text(make, score, server):
    document = Document(
        "a",
        "Soil is rich. 🪱 Organic waste rots.",
        title="Waste, organic",
        metadata={"year": 2024, "tags": ["a", "b"]},
    )
    reranker = make(max_spans=2, span_threshold=0.2, metadata_fields=("tags", "year"))
    [scores] = score(reranker, [Candidates(Query("organic waste"), [document, Document("b", "A storm.")])])
    body = server.received[0].body
    assert body["relevant_spans"] == {"mode": "enabled", "threshold": 0.2, "max_spans": 2}
    assert body["documents"][0] == f"Waste, organic\ntags: a, b\nyear: 2024\n{document.text}"
    (first, *_), none = scores.spans
    assert "Organic waste rots." in document.text[first.start : first.end]
    assert first.score == 1.0
    assert none == ()
    [plain] = score(make(), [Candidates(Query("organic waste"), [document])])
    assert plain.spans == ((),)


def test_a_model_that_gives_no_spans_says_so(make, score, waste):
    with pytest.raises(BackendError, match=r"relevant_spans is not supported by rerank-v3\.5"):
        score(make(model="rerank-v3.5", max_spans=1), [waste])


def test_a_span_outside_of_its_text_is_refused(make, score, server, waste):
    server.faults.append("a span past the end")
    with pytest.raises(BackendResponseError, match=r"span 0 to \d+, score 0.5, of a text of \d+ characters"):
        score(make(max_spans=1), [waste])


def test_a_threshold_without_spans_is_refused():
    with pytest.raises(ConfigError, match=r"\$\.span_threshold"):
        CohereReranker(span_threshold=0.5)
