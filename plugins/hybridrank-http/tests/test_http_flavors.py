"""Every flavor asks as its server wants to be asked, and reads what that answers."""

from __future__ import annotations

import asyncio

import pytest
from hybridrank_http import HttpReranker
from hybridrank_http.flavors import FLAVORS
from hybridrank_http.testing import DIALECTS, RerankServer

from hybridrank.errors import BackendError, InputError
from hybridrank.rerank import Cached
from hybridrank.types import Candidates, Document, Query

SCORES = (1 / 9, 2 / 8, 0.0)  # shared words / all words: {waste}, {organic, waste} and none, of the query's five


def candidates(query: str, *texts: str) -> Candidates:
    return Candidates(Query(query), [Document(f"d{number}", text) for number, text in enumerate(texts)])


def test_every_flavor_has_a_server_to_be_tested_with():
    assert set(FLAVORS) == set(DIALECTS) - {"vllm score"}  # another path of vLLM


BODIES = {
    "cohere": {"model": "m", "query": "storm", "documents": ["a storm"]},
    "jina": {"model": "m", "query": "storm", "documents": ["a storm"], "return_documents": False},
    "voyage": {"model": "m", "query": "storm", "documents": ["a storm"], "truncation": True},
    "tei": {"query": "storm", "texts": ["a storm"], "truncate": True},
    "infinity": {"model": "m", "query": "storm", "documents": ["a storm"]},
    "vllm": {"model": "m", "query": "storm", "documents": ["a storm"]},
    "llama.cpp": {"model": "m", "query": "storm", "documents": ["a storm"]},
}
USAGE = {
    "cohere": {"search_units": 1},
    "jina": {"total_tokens": 14},
    "voyage": {"total_tokens": 14},
    "tei": {"compute_tokens": 14},
    "infinity": {"prompt_tokens": 14, "total_tokens": 14},
    "vllm": {"prompt_tokens": 14, "total_tokens": 14},
    "llama.cpp": {"prompt_tokens": 14, "total_tokens": 14},
}


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_flavor(flavor, score, waste, monkeypatch):
    monkeypatch.setenv("SERVER_KEY", "the-key-of-this-server")
    model = None if flavor == "tei" else "m"
    with RerankServer(flavor, key="the-key-of-this-server") as server:
        reranker = HttpReranker(url=server.url + "/", flavor=flavor, model=model, api_key_env="SERVER_KEY")
        [scores] = score(reranker, [waste])
        score(reranker, [candidates("storm", "a storm")])
    expected = [20 * each - 10 for each in SCORES] if flavor == "llama.cpp" else SCORES
    assert scores == pytest.approx(expected)
    long = "raise" if flavor in ("vllm", "llama.cpp") else "truncate"
    assert scores.details == {"requests": 1, "retries": 0, "on_long": long, **USAGE[flavor]}
    assert server.received[1].body == BODIES[flavor]


def test_what_differs_can_be_said(waste):
    with RerankServer("tei") as server:  # asked by the flavor that is the most unlike it
        reranker = HttpReranker(
            url=server.url,
            flavor="cohere",
            path="/rerank",
            fields={"documents": "texts", "results": "", "score": "score", "usage": ""},
            parameters={"truncate": False, "truncation_direction": "Left"},  # no field of Cohere's
        )
        [scores] = reranker.score([waste])
        assert scores == pytest.approx(SCORES)
        assert server.received[0].body == {
            "query": waste.query.text,
            "texts": [document.text for document in waste.documents],
            "truncate": False,
            "truncation_direction": "Left",
        }


def test_a_parameter_of_the_flavor_can_be_changed(waste):
    with RerankServer("jina") as server:
        HttpReranker(url=server.url, flavor="jina", model="m", parameters={"return_documents": True}).score(
            [waste]
        )
        assert server.received[0].body["return_documents"] is True


def test_another_path_of_the_same_server(score, waste):
    with RerankServer("vllm score") as server:
        reranker = HttpReranker(
            url=server.url,
            flavor="vllm",
            path="/score",
            fields={"query": "queries", "results": "data", "score": "score"},
        )
        [scores] = score(reranker, [waste])
    assert scores == pytest.approx(SCORES)
    assert scores.details["total_tokens"] == 14


# --- documents that are longer than the server reads

LONG = candidates("storm", "a storm", "calm, then a storm")  # and it reads ten characters


@pytest.mark.parametrize("flavor", [name for name, flavor in FLAVORS.items() if "truncate" in flavor.long])
def test_a_long_document_is_truncated_and_the_trace_says_that_it_may_be(flavor, score):
    model = None if flavor == "tei" else "m"
    with RerankServer(flavor, maximum=10) as server:
        [scores] = score(HttpReranker(url=server.url, flavor=flavor, model=model, on_long="truncate"), [LONG])
    assert scores == (0.5, 0.0)
    assert scores.details["on_long"] == "truncate"


@pytest.mark.parametrize("flavor", [name for name, flavor in FLAVORS.items() if "raise" in flavor.long])
def test_a_long_document_is_refused_by_servers_that_can(flavor, score):
    model = None if flavor == "tei" else "m"
    with RerankServer(flavor, maximum=10) as server:
        reranker = HttpReranker(url=server.url, flavor=flavor, model=model, on_long="raise")
        with pytest.raises(BackendError, match="answered 413: a text has more than 10 characters"):
            score(reranker, [LONG])
        assert len(server.received) == 1


def test_what_is_longer_than_the_server_takes_is_sent_in_part_and_counted(score):
    texts = ["storm " * 20_000, "storm " * 20_480, "storm " * 20_481]  # of six characters each; it takes 122,880
    with RerankServer("infinity") as server:
        [scores] = score(HttpReranker(url=server.url, flavor="infinity"), [candidates("storm", *texts)])
        assert [len(text) for text in server.received[0].body["documents"]] == [120_000, 122_880, 122_880]
    assert scores.details["cut_documents"] == 1


# --- batches


def test_the_server_of_another_plugin_is_understood(waste, monkeypatch):
    cohere = pytest.importorskip("hybridrank_cohere.testing")
    monkeypatch.setenv("CO_API_KEY", "test-key")
    with cohere.RerankServer(key="test-key") as server:
        [scores] = HttpReranker(url=server.url, model="m", api_key_env="CO_API_KEY").score([waste])
    assert scores == pytest.approx(SCORES)
    assert scores.details["search_units"] == 1


def test_more_documents_than_a_call_takes_are_split_over_several(score):
    texts = [f"waste {'organic ' * (number % 3 == 0)}number{number}" for number in range(70)]
    batch = [candidates("organic waste", *texts)]
    with RerankServer("tei") as server:  # which refuses more than 32
        [split] = score(HttpReranker(url=server.url, flavor="tei"), batch)
        assert sorted(len(received.body["texts"]) for received in server.received) == [6, 32, 32]
        [singles] = score(HttpReranker(url=server.url, flavor="tei", batch_size=1), batch)
    assert split == singles
    assert (split.details["requests"], singles.details["requests"]) == (3, 70)


def test_usage_is_summed_over_the_calls_of_a_query(make, score):
    whole = score(make(), [candidates("storm", "a storm", "calm", "rain and wind")])[0]
    split = score(make(batch_size=1), [candidates("storm", "a storm", "calm", "rain and wind")])[0]
    assert split == whole
    assert split.details["total_tokens"] == whole.details["total_tokens"] == 6


def test_scores_follow_the_documents_whatever_order_the_server_answers_in(make, score, waste):
    backwards = Candidates(waste.query, waste.documents[::-1])
    assert score(make(), [backwards])[0] == score(make(), [waste])[0][::-1]


def test_a_batch_scores_as_its_members_do(make, score, waste):
    other = candidates("storm forecast", "A storm is forecast.", "Nothing.", "storm")
    together = score(make(), [waste, other, waste])
    assert together == [score(make(), [member])[0] for member in (waste, other, waste)]


def test_a_title_is_read_with_its_text(make, score, server):
    score(make(), [Candidates(Query("lift"), [Document("a", "Air over a wing.", title="Lift")])])
    assert server.received[0].body["documents"] == ["Lift\nAir over a wing."]


def test_blank_documents_are_not_sent_and_come_last(make, score, server):
    [scores] = score(make(), [candidates("storm", "", "storm", " \n\t", "calm")])
    assert server.received[0].body["documents"] == ["storm", "calm"]
    assert scores == (-1.0, 1.0, -1.0, 0.0)
    assert scores.details["blank_documents"] == 2


def test_blank_documents_come_below_negative_scores():
    with RerankServer("llama.cpp") as server:
        reranker = HttpReranker(url=server.url, flavor="llama.cpp")
        assert reranker.score([candidates("storm", "calm", "")]) == [(-10.0, -11.0)]


def test_the_score_of_a_blank_document_depends_on_no_other_where_none_does():
    with RerankServer("llama.cpp") as server:
        reranker = HttpReranker(url=server.url, flavor="llama.cpp", pointwise=True)
        batch = [candidates("storm", "calm", ""), candidates("storm", "storm", " ")]
        assert reranker.score(batch) == [(-10.0, -100.0), (10.0, -100.0)]


def test_scores_of_a_pointwise_model_can_be_kept(tmp_path, waste):
    with RerankServer("tei") as server:
        options = {"url": server.url, "flavor": "tei", "pointwise": True}
        first = Cached(reranker=HttpReranker(**options), path=str(tmp_path)).score([waste])
        same = HttpReranker(**options, batch_size=1, limits={"retries": 0})
        assert Cached(reranker=same, path=str(tmp_path)).score([waste]) == first
        assert len(server.received) == 1
        with pytest.raises(InputError, match="pointwise"):
            Cached(reranker=HttpReranker(url=server.url, flavor="tei"), path=str(tmp_path)).score([waste])


def test_nothing_to_score_calls_nobody(make, score, server):
    batch = [Candidates(Query("storm"), []), candidates("storm", "", " ")]
    assert score(make(), batch) == [(), (-1.0, -1.0)]
    assert score(make(), []) == []
    assert server.received == []


def test_unicode_and_control_characters_arrive_as_they_are(make, score, server):
    texts = ["weiße Bäume", "東京 タワー", "a\x00b\x07", "🌲" * 5000, "e\u0301", '"}]\\']
    [scores] = score(make(), [candidates("東京 🗼", *texts)])
    assert server.received[0].body["documents"] == texts
    assert len(scores) == len(texts)


@pytest.mark.parametrize("flavor", ["jina", "vllm"])  # vLLM repeats the documents in its answer
def test_a_query_and_documents_of_a_megabyte(flavor):
    long = "waste storm\n" * 90_000
    with RerankServer(flavor) as server:
        reranker = HttpReranker(url=server.url, flavor=flavor, model="m")
        [scores] = reranker.score([candidates(long, long, "storm", "🌲" * 300_000)])
        assert scores == (1.0, 0.5, 0.0)
        [scores] = asyncio.run(reranker.ascore([candidates("\x00" * 1_000_000 + "storm", "\x01" * 1_000_000)]))
    assert scores == (0.0,)


def test_an_instruction_and_named_fields_are_sent(score):
    documents = [Document("a", "a storm", title="News", metadata={"year": 2024, "tags": ["x", "y"]})]
    with RerankServer("voyage") as server:
        reranker = HttpReranker(
            url=server.url,
            flavor="voyage",
            model="rerank-2.5",
            instruction="Prefer recent articles.",
            metadata_fields=("tags", "year", "author"),
        )
        score(reranker, [Candidates(Query("storm"), documents)])
    assert server.received[0].body["query"] == "Prefer recent articles.\nstorm"
    assert server.received[0].body["documents"] == ["News\ntags: x, y\nyear: 2024\na storm"]
    plain = HttpReranker(url=server.url)
    assert reranker.identity != plain.identity
    assert "metadata_fields" not in plain.identity
