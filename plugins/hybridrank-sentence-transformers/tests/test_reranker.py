"""The reranker against plain transformers forward passes, on models that the tests make."""

from __future__ import annotations

import math
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tomli_w
import torch
from hybridrank_sentence_transformers import SentenceTransformerReranker
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hybridrank.component import create
from hybridrank.errors import BackendError, ConfigError, InputError
from hybridrank.types import Candidates, Document, Query

QUERY = "how to process organic waste"
TEXTS = (
    "Organic waste can be composted to create nutrient-rich soil.",
    "Plastic waste requires recycling facilities.",
    "Soil",
    "",
    "Nuclear waste: a safety issue, naïve 廃棄物 \x00 text.",
)
LONG = " ".join(f"{word} plastic waste {number}" for number, word in enumerate(TEXTS[0].split() * 8))


def candidates(*texts: str, query: str = QUERY) -> Candidates:
    return Candidates(Query(query), [Document(str(number), text) for number, text in enumerate(texts)])


def reference(path: Path, query: str, text: str, **options: object) -> list[float]:
    """Logits of a plain forward pass, one for each window that the tokenizer gives."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    encoded = tokenizer([query], [text], padding=True, return_tensors="pt", **options)
    encoded.pop("overflow_to_sample_mapping", None)
    with torch.no_grad():
        return model(**encoded).logits[:, 0].tolist()


@pytest.fixture(params=["bert", "xlm_roberta"])
def path(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def test_scores_are_the_raw_logits_of_a_forward_pass_in_the_documents_order(path):
    (scores,) = SentenceTransformerReranker(model=str(path)).score([candidates(*TEXTS)])
    expected = [reference(path, QUERY, text)[0] for text in TEXTS]
    assert scores == pytest.approx(expected, abs=1e-4)
    assert max(expected) - min(expected) > 0.1
    (turned,) = SentenceTransformerReranker(model=str(path)).score([candidates(*TEXTS[::-1])])
    assert turned == pytest.approx(expected[::-1], abs=1e-4)


def test_a_sigmoid_is_applied_when_asked_for_and_never_twice(path):
    (raw,) = SentenceTransformerReranker(model=str(path)).score([candidates(*TEXTS)])
    (squashed,) = SentenceTransformerReranker(model=str(path), activation="sigmoid").score([candidates(*TEXTS)])
    assert squashed == pytest.approx([1 / (1 + math.exp(-x)) for x in raw], abs=1e-6)
    pairs = [(QUERY, text) for text in TEXTS]
    assert squashed == pytest.approx(CrossEncoder(str(path)).predict(pairs).tolist(), abs=1e-4)


def test_a_batch_gives_the_scores_of_its_queries_alone(bert):
    reranker = SentenceTransformerReranker(model=str(bert), batch_size=3)
    batch = [candidates(*TEXTS), candidates(), candidates(TEXTS[1], LONG, query="nuclear safety")]
    together = reranker.score(batch)
    for row, alone in zip(together, [reranker.score([one])[0] for one in batch], strict=True):
        assert row == pytest.approx(alone, abs=1e-4)
        assert row.details == alone.details
    assert together[1] == ()
    assert reranker.score([]) == []


def test_titles_are_read(bert):
    reranker = SentenceTransformerReranker(model=str(bert))
    titled = Candidates(Query(QUERY), [Document("a", "Soil", title="Compost")])
    assert reranker.score([titled])[0] == reranker.score([candidates("Compost\nSoil")])[0]


def test_a_long_document_scores_as_its_best_window(path):
    (scores,) = SentenceTransformerReranker(model=str(path), max_windows=99).score([candidates(TEXTS[0], LONG)])
    tokenizer = AutoTokenizer.from_pretrained(path)
    other = len(tokenizer([QUERY], [""])["input_ids"][0])
    window = {"truncation": "only_second", "max_length": 64, "stride": (64 - other) // 8}
    windows = reference(path, QUERY, LONG, return_overflowing_tokens=True, **window)
    assert len(windows) > 3
    assert scores == pytest.approx([reference(path, QUERY, TEXTS[0])[0], max(windows)], abs=1e-4)
    tokens = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (TEXTS[0], LONG))
    assert scores.details == {
        "tokens_read": tokens,
        "tokens_total": tokens,
        "windows": 1 + len(windows),
        "truncated": 0,
        "query_tokens_cut": 0,
    }


def test_a_cut_document_scores_as_its_beginning_and_is_counted(path):
    reranker = SentenceTransformerReranker(model=str(path), on_long="truncate")
    (scores,) = reranker.score([candidates(TEXTS[2], LONG)])
    expected = reference(path, QUERY, LONG, truncation="only_second", max_length=64)
    assert scores[1] == pytest.approx(expected[0], abs=1e-4)
    details = scores.details
    assert details["truncated"] == 1
    assert details["windows"] == 2
    assert details["tokens_read"] < details["tokens_total"]


def test_a_long_document_can_be_refused(bert):
    reranker = SentenceTransformerReranker(model=str(bert), on_long="raise")
    assert len(reranker.score([candidates(*TEXTS)])[0]) == len(TEXTS)
    with pytest.raises(InputError, match=r"document '1' has \d+ tokens"):
        reranker.score([candidates(TEXTS[0], LONG)])
    with pytest.raises(InputError, match=r"the query has \d+ tokens"):
        reranker.score([candidates(TEXTS[0], query=LONG)])


def test_a_long_query_leaves_half_of_the_window_to_the_document(bert):
    (scores,) = SentenceTransformerReranker(model=str(bert)).score([candidates(TEXTS[0], LONG, query=LONG)])
    assert all(map(math.isfinite, scores))
    tokens = len(AutoTokenizer.from_pretrained(bert)(LONG, add_special_tokens=False)["input_ids"])
    assert scores.details["query_tokens_cut"] == tokens - (64 - 3) // 2


def test_max_tokens_narrows_the_window_and_cannot_pass_the_models_positions(path):
    narrow = SentenceTransformerReranker(model=str(path), max_tokens=24)
    (scores,) = narrow.score([candidates(TEXTS[0])])
    assert scores.details["windows"] > 1
    assert SentenceTransformerReranker(model=str(path), max_tokens=64).loaded.window == 64
    with pytest.raises(ConfigError, match=r"\$\.max_tokens: .* reads at most 64 tokens"):
        SentenceTransformerReranker(model=str(path), max_tokens=65).score([candidates("a")])


def test_thirty_two_threads_get_the_scores_of_one(bert):
    reranker = SentenceTransformerReranker(model=str(bert), batch_size=4)
    batches = [[candidates(*TEXTS[turn % 5 :], LONG[: 20 * turn], TEXTS[turn % 5])] for turn in range(32)]
    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(reranker.score, batches))
    fresh = SentenceTransformerReranker(model=str(bert))
    for number, rows in enumerate(together):
        assert rows[0] == pytest.approx(fresh.score(batches[number])[0], abs=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.5), ("float16", 0.1)])
def test_dtype_is_the_weights_type(bert, dtype, tolerance):
    reranker = SentenceTransformerReranker(model=str(bert), dtype=dtype, device="cpu")
    (scores,) = reranker.score([candidates(*TEXTS)])
    assert {weights.dtype for weights in reranker.loaded.model.parameters()} == {getattr(torch, dtype)}
    assert scores == pytest.approx([reference(bert, QUERY, text)[0] for text in TEXTS], abs=tolerance)


def test_running_out_of_memory_says_what_to_lower(bert):
    reranker = SentenceTransformerReranker(model=str(bert))
    reranker.loaded.model.register_forward_pre_hook(lambda module, inputs: torch.empty(1 << 60))
    with pytest.raises(BackendError, match="lower batch_size or max_tokens") as caught:
        reranker.score([candidates(*TEXTS)])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_configuration_round_trips_and_holds_what_was_given(bert):
    reranker = create(
        "reranker",
        {"use": "sentence-transformers", "model": str(bert), "device": "cpu", "activation": "sigmoid"},
    )
    assert isinstance(reranker, SentenceTransformerReranker)
    config = tomllib.loads(tomli_w.dumps(reranker.to_config()))
    assert SentenceTransformerReranker.from_config(config) == reranker
    assert "trust_remote_code" in SentenceTransformerReranker.json_schema()["properties"]
    with pytest.raises(ConfigError, match=r'\$\.modle: .* did you mean "model"'):
        create("reranker", {"use": "sentence-transformers", "modle": "x"})
