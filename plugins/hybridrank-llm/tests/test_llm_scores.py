"""What comes back, and what is sent for it."""

from __future__ import annotations

import asyncio
import gc

import pytest
from hybridrank_llm.testing import documents_of

from hybridrank.component import validate_scores
from hybridrank.types import Candidates, Document, Query


def batch_of(query: str, *texts: str) -> list[Candidates]:
    return [Candidates(Query(query), [Document(f"d{number}", text) for number, text in enumerate(texts)])]


def test_scores_are_the_ranks_in_the_documents_order(make, score, waste):
    [scores] = score(make(), [waste])
    assert scores == pytest.approx((2 / 3, 1 / 3, 1.0))
    backwards = Candidates(waste.query, waste.documents[::-1])
    assert score(make(), [backwards])[0] == scores[::-1]


def test_the_request_holds_the_options(make, score, server, waste):
    score(make(temperature=0.5, structured=True, extra={"max_tokens": 300, "seed": 7}), [waste])
    body = server.received[0].body
    assert len(server.received) == 1
    assert sorted(body) == ["max_tokens", "messages", "model", "response_format", "seed", "temperature"]
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("test-model", 0.5, 300, 7)
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["strict"] is True
    query, documents = documents_of(body["messages"])
    assert (query, list(documents.values())) == (waste.query.text, [each.text for each in waste.documents])


def test_what_is_not_set_is_not_sent(make, score, server, waste):
    score(make(temperature="default"), [waste])
    assert sorted(server.received[0].body) == ["messages", "model"]


def test_a_title_is_read_with_its_text(make, score, server):
    documents = [Document("a", "Air over\n a wing.", title="Lift"), Document("b", "b")]
    score(make(), [Candidates(Query("lift"), documents)])
    assert "Lift Air over a wing." in documents_of(server.received[0].body["messages"])[1].values()


def test_long_texts_are_cut_and_counted(make, score, server):
    reranker = make(max_document_characters=20, max_query_characters=30)
    [scores] = score(reranker, batch_of("storm " * 100, "storm " * 3, "calm " * 100, "x" * 21, "y" * 20))
    query, documents = documents_of(server.received[0].body["messages"])
    assert query == ("storm " * 5).strip()
    assert list(documents.values()) == ["storm storm storm", "calm calm calm calm", "x" * 20, "y" * 20]
    assert (scores.details["truncated"], scores.details["query_truncated"]) == (2, 1)


@pytest.mark.parametrize("huge", ["storm " * 170_000, "x" * 1_000_000, " \n" * 500_000 + "x", "\x00<" * 500_000])
def test_a_megabyte_is_cut(make, score, server, huge):
    [scores] = score(make(), [Candidates(Query(huge), [Document("a", huge), Document("b", "a storm")])])
    assert len(scores) == 2
    assert sum(len(message["content"]) for message in server.received[0].body["messages"]) < 50_000
    assert scores.details["truncated"] == scores.details["query_truncated"] == int(bool(huge.strip() != "x"))


def test_blank_documents_are_not_shown_and_score_nothing(make, score, server):
    [scores] = score(make(), batch_of("storm", "", "storm", " \n\t", "calm"))
    assert list(documents_of(server.received[0].body["messages"])[1].values()) == ["storm", "calm"]
    assert scores == (0.0, 1.0, 0.0, 0.5)
    assert scores.details["blank_documents"] == 2


def test_documents_with_one_text_are_shown_once(make, score, server):
    [scores] = score(make(), batch_of("storm", "calm", "storm", "calm", " calm\n", "storm"))
    assert list(documents_of(server.received[0].body["messages"])[1].values()) == ["calm", "storm"]
    assert scores == (0.5, 1.0, 0.5, 0.5, 1.0)
    assert scores.details["repeated_documents"] == 3


def test_where_there_is_nothing_to_order_nobody_is_asked(make, score, server):
    batch = [Candidates(Query("storm"), []), *batch_of("storm", "", " "), *batch_of("storm", "calm", "", "calm")]
    rows = score(make(), batch)
    assert rows == [(), (0.0, 0.0), (1.0, 0.0, 1.0)]
    assert [row.details["requests"] for row in rows] == [0, 0, 0]
    assert score(make(), []) == []
    assert server.received == []


def test_usage_is_summed_over_the_windows(make, score, server):
    texts = [f"number {number}" for number in range(10)]
    [scores] = score(make(window=4, step=2), batch_of("storm", *texts))
    words = sum(len(message["content"].split()) for each in server.received for message in each.body["messages"])
    assert scores.details["requests"] == len(server.received) == 4
    assert (scores.details["input_tokens"], scores.details["output_tokens"]) == (words, 16)
    assert scores.details["retries"] == 0


def test_the_pipeline_believes_the_scores(make, waste):
    reranker = make()
    assert validate_scores(reranker.score([waste]), [waste], source="llm") == reranker.score([waste])


def test_a_search_that_is_cancelled_between_windows_leaves_nothing_running(make, server, waste):
    reranker = make(window=2, step=1)

    async def search() -> object:
        for steps in range(60):
            task = asyncio.create_task(reranker.ascore([waste, waste]))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert len(asyncio.all_tasks()) == 1
        return await reranker.ascore([waste])

    assert asyncio.run(search()) == reranker.score([waste])
    gc.collect()
