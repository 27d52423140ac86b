"""Decoders as rerankers and embedders: they find the end of a text by its padding, and many have none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hybridrank_sentence_transformers import SentenceTransformerEmbedder, SentenceTransformerReranker
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2Model, PreTrainedTokenizerFast

from hybridrank import Candidates, Document, Pipeline, Query
from hybridrank.errors import ModelError
from hybridrank.retrieval import BM25

WORDS = ["<end>", "<pad>", "<unk>", "organic", "waste", "compost", "soil", "plastic", "a"]
DOCS = [Document("a", "organic waste"), Document("b", "soil"), Document("c", "plastic waste compost soil")]


def save_decoder(
    path: Path,
    architecture: type = GPT2ForSequenceClassification,
    *,
    tokenizer_pads: bool = True,
    model_pads: bool = True,
) -> Path:
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="$A <end>", pair="$A <end> $B <end>", special_tokens=[("<end>", 0)]
    )
    pads = {"pad_token": "<pad>"} if tokenizer_pads else {}
    PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        eos_token="<end>",
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
        **pads,
    ).save_pretrained(path)
    torch.manual_seed(3)
    config = GPT2Config(
        vocab_size=len(WORDS),
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=2,
        initializer_range=0.5,
        num_labels=1,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1 if model_pads else None,
    )
    architecture(config).save_pretrained(path)
    return path


@pytest.mark.parametrize(("tokenizer_pads", "model_pads"), [(False, False), (False, True), (True, False)])
def test_a_decoder_without_padding_is_refused_once(tmp_path, tokenizer_pads, model_pads):
    path = save_decoder(tmp_path / "m", tokenizer_pads=tokenizer_pads, model_pads=model_pads)
    reranker = SentenceTransformerReranker(model=str(path))
    with pytest.raises(ModelError, match=r"padding|pad"):
        reranker.score([Candidates(Query("waste"), DOCS)])
    with pytest.raises(ModelError):  # not a search in fused order, again and again
        Pipeline.build(DOCS, retrievers={"bm25": BM25()}, reranker=reranker).search("waste soil")


def test_a_decoder_with_padding_ranks(tmp_path):
    reranker = SentenceTransformerReranker(model=str(save_decoder(tmp_path / "m")), batch_size=8)
    (together,) = reranker.score([Candidates(Query("waste"), DOCS)])
    alone = [reranker.score([Candidates(Query("waste"), [document])])[0][0] for document in DOCS]
    np.testing.assert_allclose(list(together), alone, atol=1e-4)
    assert len(set(alone)) == 3


def test_a_decoder_without_padding_embeds_nothing(tmp_path):
    path = save_decoder(tmp_path / "m", GPT2Model, tokenizer_pads=False, model_pads=False)
    with pytest.raises(ModelError, match="no padding token"):
        SentenceTransformerEmbedder(model=str(path)).embed(["a", "a a"], role="document")


def test_a_folder_that_names_code_of_its_own_is_refused(tmp_path, embedding_model):
    import shutil

    shutil.copytree(embedding_model, tmp_path / "m")
    modules = json.loads((tmp_path / "m" / "modules.json").read_text())
    modules[-1]["type"] = "pooling_of_my_own.Pooling"
    (tmp_path / "m" / "modules.json").write_text(json.dumps(modules))
    ran = tmp_path / "ran"
    (tmp_path / "m" / "pooling_of_my_own.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    with pytest.raises(ModelError, match=r"code of its own.*trust_remote_code"):
        SentenceTransformerEmbedder(model=str(tmp_path / "m")).embed(["a"], role="query")
    assert not ran.exists()


def test_an_embedder_is_the_content_of_its_folder(tmp_path, embedding_model, save_model):
    import shutil

    one = SentenceTransformerEmbedder(model=str(embedding_model))
    shutil.copytree(embedding_model, tmp_path / "copy")
    copy = SentenceTransformerEmbedder(model=f"{tmp_path / 'copy'}/", batch_size=4, device="cpu")
    assert one.identity != copy.identity
    assert one.fingerprint == copy.fingerprint is not None
    assert SentenceTransformerEmbedder(model=str(tmp_path / "copy"), max_tokens=16).fingerprint != one.fingerprint
    weights = next((tmp_path / "copy").rglob("*.safetensors"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + b"\0\0\0\1")
    assert SentenceTransformerEmbedder(model=str(tmp_path / "copy")).fingerprint != one.fingerprint
    assert SentenceTransformerEmbedder(model=str(tmp_path / "none")).fingerprint is None
