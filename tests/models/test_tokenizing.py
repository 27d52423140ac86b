"""Long texts are tokenized in parts: the tokens are those of the whole, and the deadline is heeded."""

from __future__ import annotations

import random
import threading
import time

import pytest
import tiny_onnx
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from hybridrank import Candidates, Document, Query
from hybridrank.errors import BackendTimeoutError
from hybridrank.models.onnx_runtime import load_tokenizer
from hybridrank.models.tokenizing import tokenize
from hybridrank.rerank import CrossEncoder
from hybridrank.runtime.deadline import limited, remaining

WORDS = ["waste", "Äpfel", "don't", "naïve", "x86-64", "水", "(soil)", "e\u0301tude", "🌱", "of", "mulch."]
SPACES = [" ", " ", " ", "\n", "  ", "\n\n", "\t ", " \u00a0"]


def prose(length: int, seed: int = 0) -> str:
    chosen = random.Random(seed)
    text = ""
    while len(text) < length:
        text += "".join(chosen.choice(WORDS) + chosen.choice(SPACES) for _ in range(500))
    return text


def trained(model, trainer, pre_tokenizer, normalizer=None) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator([prose(20_000, seed=9)], trainer)
    return tokenizer


KINDS = {
    "word pieces": lambda: trained(
        models.WordPiece(unk_token="[UNK]"),
        trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"], show_progress=False),
        pre_tokenizers.BertPreTokenizer(),
        normalizers.BertNormalizer(),
    ),
    "bytes": lambda: trained(
        models.BPE(),
        trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        ),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ),
    "sentence pieces": lambda: trained(
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=200, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [0, 1, 8192, 8193, 60_000])
def test_the_tokens_are_those_of_the_whole(kind, length):
    tokenizer, text = KINDS[kind](), prose(length, seed=length)[:length]
    whole = tokenizer.encode(text, add_special_tokens=False)
    assert tokenize(tokenizer, text).ids == whole.ids
    for most in (5, 2000):
        assert tokenize(tokenizer, text, most=most).ids == whole.ids[:most]


def test_the_default_models_too():
    tokenizer = CrossEncoder()._ready[2]._tokenizer
    text = prose(100_000)
    assert tokenize(tokenizer, text).ids == tokenizer.encode(text, add_special_tokens=False).ids


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_onnx.cross_encoder(folder)
    return load_tokenizer(folder)


def test_a_run_without_spaces_is_cut_somewhere(tokenizer):
    assert len(tokenize(tokenizer, "x" * 100_000).ids) >= 1
    assert tokenize(tokenizer, "").ids == []


def test_the_deadline_is_heeded(tokenizer):
    with limited(1e-9), pytest.raises(BackendTimeoutError, match="tokenizing: the deadline has passed"):
        tokenize(tokenizer, "waste")


def test_other_threads_run_meanwhile(tokenizer):
    text = prose(300_000)
    started, ended = threading.Event(), threading.Event()

    def read():
        started.set()
        tokenize(tokenizer, text)
        ended.set()

    thread = threading.Thread(target=read)
    thread.start()
    started.wait()
    turns = 0
    while not ended.is_set():
        time.sleep(0)
        turns += 1
    thread.join()
    assert turns > len(text) // 8192 // 4  # a tokenizer that reads the whole at once lets nobody in


def test_a_model_stops_between_its_sequences(tmp_path):
    tiny_onnx.cross_encoder(tmp_path)
    reranker = CrossEncoder(model=str(tmp_path), threads=2, batch_tokens=16)
    batch = [Candidates(Query("waste"), [Document(f"d{n}", "soil " * 4) for n in range(50)])]
    graph = reranker._ready[0]
    expected = reranker.score(batch)
    ran = []

    class Session:
        """The graph's own session, which uses up the time from its third run on."""

        def __init__(self, real):
            self.real = real

        def run(self, *asked):
            ran.append(threading.current_thread().name)
            while len(ran) > 2 and remaining():
                time.sleep(0.01)
            return self.real.run(*asked)

    graph._session = Session(graph._session)
    with limited(3.0), pytest.raises(BackendTimeoutError, match="the model: the deadline has passed"):
        reranker.score(batch)
    assert 3 <= len(ran) <= 4  # two threads
    assert any(name.startswith("hybridrank-onnx") for name in ran)
    assert reranker.score(batch) == expected
