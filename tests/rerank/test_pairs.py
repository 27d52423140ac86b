"""What a cross-encoder reads of a query and a document, against what the tokenizer itself makes of them."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import TOPICS
from tokenizers import Encoding, Tokenizer, models, pre_tokenizers, processors

from hybridrank import Candidates, Document, Query
from hybridrank.errors import ModelError
from hybridrank.models import resolve
from hybridrank.models.onnx_runtime import load_tokenizer
from hybridrank.rerank.document_tokens import DocumentTokens
from hybridrank.rerank.joining import Joining
from hybridrank.rerank.pairs import PairTokenizer

WORDS = ["organic", "waste", "can", "be", "composted", "into", "rich", "soil"]
WINDOW = 24


def _tokenizer(processor: processors.PostProcessor | None) -> Tokenizer:
    vocab = {piece: number for number, piece in enumerate(["<unk>", "<s>", "</s>", *WORDS])}
    made = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if processor is not None:
        made.post_processor = processor
    return made


def _template(pair: str) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(single="$A", pair=pair, special_tokens=[("<s>", 1), ("</s>", 2)])


JOININGS = {
    "bert": processors.BertProcessing(("</s>", 2), ("<s>", 1)),
    "roberta": processors.RobertaProcessing(("</s>", 2), ("<s>", 1)),
    "template": _template("<s>:0 $A:0 </s>:0 $B:1 </s>:1"),
    "the document first": _template("<s>:0 $B:0 </s>:1 </s>:0 $A:1"),
    "no special tokens": None,
    "byte level": processors.ByteLevel(trim_offsets=False),
}


@pytest.fixture(scope="module")
def real() -> Tokenizer:
    return load_tokenizer(resolve("cross-encoder/ms-marco-MiniLM-L12-v2"))


def _lists(windows):
    return [[(tokens.ids.tolist(), tokens.type_ids.tolist()) for tokens in each] for each in windows]


def _by_tokenizer(tokenizer: Tokenizer, query: str, texts: list[str], *, cut: bool, join):
    """The same with the tokenizer's own cutting, windows and joining."""
    room = WINDOW - tokenizer.num_special_tokens_to_add(is_pair=True)
    first = tokenizer.encode(query, add_special_tokens=False)
    first.truncate(room // 2)
    room -= len(first.ids)
    for text in texts:
        piece = tokenizer.encode(text, add_special_tokens=False)
        piece.truncate(room, stride=room // 8)
        pieces = [piece] if cut else [piece, *piece.overflowing]
        joined = [join(tokenizer, first, each) for each in pieces]
        yield [(encoding.ids, encoding.type_ids) for encoding in joined]


def _of_words(tokenizer: Tokenizer, query: Encoding, piece: Encoding) -> Encoding:
    return tokenizer.encode(" ".join(query.tokens), " ".join(piece.tokens))


texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=80).map(" ".join), max_size=4)


@pytest.mark.parametrize("kind", JOININGS)
@settings(max_examples=25, deadline=None)
@given(query=st.lists(st.sampled_from(WORDS), min_size=1, max_size=20).map(" ".join), texts=texts)
def test_a_model_reads_what_the_tokenizer_would_have_joined(kind, query, texts):
    tokenizer = _tokenizer(JOININGS[kind])
    candidates = Candidates(Query(query), [Document(str(n), text) for n, text in enumerate(texts)])
    for cut in (False, True):
        made = PairTokenizer(tokenizer, window=WINDOW, on_long="truncate" if cut else "window", model="m")
        expected = list(_by_tokenizer(tokenizer, query, texts, cut=cut, join=_of_words))
        assert _lists(made.encode(candidates).windows) == expected
        assert _lists(made.encode(candidates).windows) == expected  # the documents' tokens were kept


def test_a_model_reads_what_its_own_tokenizer_would_have_joined(real):
    odd = ["", " \n", "\x00\x07", "e\u0301 é ﬁ", "机器学习", "🦜" * 50, "a" * 500, "[SEP] [CLS] [MASK] x"]
    texts = [document.content for document in TOPICS] + odd
    made = PairTokenizer(real, window=WINDOW, on_long="window", model="m")
    candidates = Candidates(Query("how to [SEP] it?"), [Document(str(n), text) for n, text in enumerate(texts)])
    expected = list(_by_tokenizer(real, "how to [SEP] it?", texts, cut=False, join=Tokenizer.post_process))
    for _ in range(2):
        assert _lists(made.encode(candidates).windows) == expected


def test_a_joining_that_is_not_known_is_refused():
    with pytest.raises(
        ModelError, match="the tokenizer of m joins a query and a document in a way that is not known"
    ):
        Joining(_tokenizer(_template("$A:0 $A:0 $B:1")), model="m")
    with pytest.raises(ModelError, match="no token of any word"):
        Joining(Tokenizer(models.BPE()), model="m")


class Counting:
    """A tokenizer that counts the texts that it is given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.texts: list[str] = []

    def encode(self, text: str, *, add_special_tokens: bool):
        self.texts.append(text)
        return self._tokenizer.encode(text, add_special_tokens=add_special_tokens)


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def test_a_text_is_tokenized_once_whatever_its_document_is_called(real):
    counting = Counting(real)
    kept = DocumentTokens(counting)
    for _ in range(3):
        for document in TOPICS:
            assert kept.of(document.content).ids.tolist() == _ids(real, document.content)
    assert counting.texts == [document.content for document in TOPICS]
    assert kept.of(TOPICS[1].text + " ").ids.tolist() == _ids(real, TOPICS[1].text)
    assert len(counting.texts) == len(TOPICS) + 1


def test_what_is_kept_cannot_be_changed_by_who_reads_it(real):
    with pytest.raises(ValueError, match="read-only"):
        DocumentTokens(real).of("rich soil").ids[0] = 7


def test_the_least_recently_used_are_dropped_past_the_bound():
    counting = Counting(_tokenizer(None))
    kept = DocumentTokens(counting, most=3 * (64 + 2))
    for text in ("rich soil", "organic waste", "can be", "rich soil", "waste can", "rich soil", "organic waste"):
        assert kept.of(text).ids.tolist() == _ids(_tokenizer(None), text)
    assert counting.texts == ["rich soil", "organic waste", "can be", "waste can", "organic waste"]


def test_a_text_that_is_larger_than_the_bound_is_tokenized_and_not_kept():
    counting = Counting(_tokenizer(None))
    kept = DocumentTokens(counting, most=100)
    for _ in range(2):
        assert len(kept.of("soil " * 1000).ids) == 1000
    assert len(counting.texts) == 2
    kept.of("soil")
    kept.of("soil")
    assert len(counting.texts) == 3


def test_each_model_has_its_own_tokens(real):
    other = _tokenizer(None)
    assert DocumentTokens(real).of("rich soil").ids.tolist() == _ids(real, "rich soil")
    assert (
        DocumentTokens(other).of("rich soil").ids.tolist() == _ids(other, "rich soil") != _ids(real, "rich soil")
    )


def test_threads_that_ask_for_one_text_and_for_many_get_what_the_tokenizer_gives(real):
    texts = [" ".join(random.Random(n).choices(WORDS, k=n % 40)) for n in range(60)]
    expected = [_ids(real, text) for text in texts]
    kept, ready = DocumentTokens(real, most=40 * 84), threading.Barrier(64)  # drops all the time

    def work(seed: int) -> bool:
        order = random.Random(seed).sample(range(60), 60)
        ready.wait(60)
        return all(kept.of(texts[at]).ids.tolist() == expected[at] for at in order)

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(work, range(64)))
    assert kept._size <= 40 * 84
    assert kept._size == sum(tokens.size for tokens in kept._kept.values())


def test_arrays_are_small(real):
    ids = DocumentTokens(real).of(TOPICS[0].content).ids
    assert (ids.dtype, ids.base) == (np.int32, None)
