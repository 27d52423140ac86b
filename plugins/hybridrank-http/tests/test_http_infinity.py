"""A real server: infinity, with a tiny random cross-encoder, against what transformers computes for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hybridrank_http import HttpReranker
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertTokenizerFast

from hybridrank import Pipeline
from hybridrank.errors import AuthenticationError, BackendError
from hybridrank.testing import checks
from hybridrank.types import Candidates, Document, Query

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] organic waste compost soil plastic storm is the a to how process . ?"
VOCABULARY = WORDS.split()  # BERT's five special tokens first
WINDOW = 64  # tokens


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    path.mkdir()
    (path / "vocab.txt").write_text("\n".join(VOCABULARY))
    BertTokenizerFast(str(path / "vocab.txt"), model_max_length=WINDOW).save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=WINDOW,
        num_labels=1,
        initializer_range=0.5,  # so that scores differ visibly
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def url(model: Path, infinity) -> Iterator[str]:
    """Where infinity serves `model`."""
    with infinity(model) as url:
        yield url


@pytest.fixture
def make(url: str, infinity, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INFINITY_KEY", infinity.key)

    def make(**options: object) -> HttpReranker:
        defaults = {"url": url, "flavor": "infinity", "model": "tiny", "api_key_env": "INFINITY_KEY"}
        return HttpReranker(**{**defaults, "pointwise": True, "limits": {"timeout": 60}, **options})

    return make


@pytest.fixture(scope="module")
def logits(model: Path):
    """What transformers computes, one pair at a time."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForSequenceClassification.from_pretrained(model).eval()

    def logits(candidates: Candidates) -> list[float]:
        found = []
        for document in candidates.documents:
            pair = tokenizer(
                candidates.query.text, document.content, truncation="longest_first", return_tensors="pt"
            )
            with torch.no_grad():
                found.append(network(**pair).logits.item())
        return found

    return logits


def candidates(query: str, *texts: str) -> Candidates:
    return Candidates(Query(query), [Document(f"d{number}", text) for number, text in enumerate(texts)])


BATCH = [
    candidates(
        "how to process organic waste ?", "organic waste is compost .", "the storm", "plastic waste to soil"
    ),
    candidates("a storm", "the storm is a storm .", "compost", "how is the soil ?", "plastic", "unheard of words"),
]


def test_scores_are_those_of_the_model(make, score, logits):
    for scores, member in zip(score(make(), BATCH), BATCH, strict=True):
        expected = torch.tensor(logits(member)).sigmoid().tolist()
        assert scores == pytest.approx(expected, abs=1e-5)
        assert len({round(value, 4) for value in scores}) == len(scores)  # or any order would do
        assert scores.details["requests"] == 1
        assert scores.details["total_tokens"] > 0


def test_raw_scores_are_its_logits(make, score, logits):
    raw = score(make(parameters={"raw_scores": True}), BATCH)
    for scores, member in zip(raw, BATCH, strict=True):
        assert scores == pytest.approx(logits(member), abs=1e-4)


def test_parts_score_as_the_whole(make, score):
    whole, parts = score(make(), BATCH), score(make(batch_size=2), BATCH)
    assert [list(scores) for scores in parts] == [pytest.approx(scores, abs=1e-5) for scores in whole]
    assert [scores.details["requests"] for scores in parts] == [2, 3]


def test_a_long_document_is_truncated_as_the_trace_says(make, score, logits):
    start, end = "storm compost " * 100, " organic waste"
    long = candidates("organic waste", start, start + end)
    [scores] = score(make(), [long])
    assert scores == pytest.approx(torch.tensor(logits(long)).sigmoid().tolist(), abs=1e-5)
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)  # the end was not read
    assert scores.details["on_long"] == "truncate"


def test_what_is_longer_than_it_takes_is_sent_in_part_and_counted(make):
    [scores] = make().score([candidates("storm", "compost", "compost " * 20_000)])
    assert scores.details["cut_documents"] == 1
    assert len(scores) == 2


def test_a_wrong_key_is_refused(make, score, monkeypatch):
    monkeypatch.setenv("INFINITY_KEY", "another-key")
    with pytest.raises(AuthenticationError, match="INFINITY_KEY") as caught:
        score(make(), BATCH)
    assert "another-key" not in str(caught.value)


def test_more_documents_than_it_takes_are_refused_in_its_words(make):
    many = candidates("storm", *["storm"] * 2049)
    with pytest.raises(BackendError, match=r"answered 422: .*at most 2048"):
        make(batch_size=10_000).score([many])
    assert len(make().score([many])[0]) == 2049  # in parts


def test_a_pipeline_reranks_with_it(make):
    documents = list(BATCH[0].documents)
    pipeline = Pipeline.build(documents, retrievers={"bm25": "bm25"}, reranker=make())
    result = pipeline.search("organic waste", k=3)
    assert not result.degraded
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    assert pipeline.usage()["total_tokens"] > 0


@pytest.mark.parametrize("check", checks("reranker"), ids=lambda check: check.name)
def test_contract(make, check):
    check(make())
