"""Tiny models, made on the spot and saved like any other: real architectures, real tokenizers, random weights."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

WINDOW = 64
WORDS = "organic waste compost soil plastic nuclear how to process recycling rich nutrient safety query passage"


def wordpiece() -> PreTrainedTokenizerFast:
    """Lower-cased words, and characters for all others; BERT's pair template."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS.split(), *letters, *(f"##{c}" for c in letters)]
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=WINDOW,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def unigram() -> PreTrainedTokenizerFast:
    """SentencePiece-like, with XLM-RoBERTa's template and no stated maximum, as such models often come."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = string.ascii_letters + string.digits + string.punctuation + "▁"
    scored = [(piece, 0.0) for piece in specials]
    scored += [(f"▁{word}", -2.0) for word in WORDS.split()] + [(letter, -6.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3, byte_fallback=False))
    words = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(words)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
    )


def bert_config(tokenizer: PreTrainedTokenizerFast, **options: object) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=WINDOW,
        **{"initializer_range": 0.5, **options},  # so that scores differ visibly
    )


def save_bert(
    path: Path,
    *,
    architecture: type[PreTrainedModel] = BertForSequenceClassification,
    seed: int = 0,
    **options: object,
) -> Path:
    torch.manual_seed(seed)
    tokenizer = wordpiece()
    architecture(bert_config(tokenizer, **{"num_labels": 1, **options})).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def save_model() -> Callable[..., Path]:
    """Saves a tiny BERT at a given path, of any architecture, seed and configuration."""
    return save_bert


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder whose configuration asks for a sigmoid, as Sentence Transformers saves it."""
    return save_bert(
        tmp_path_factory.mktemp("models") / "bert",
        sentence_transformers={"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "6.0.0"},
    )


@pytest.fixture(scope="session")
def xlm_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The architecture of BAAI/bge-reranker-base: positions start after the padding index."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("models") / "xlm-roberta"
    tokenizer = unigram()
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=WINDOW + 2,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        num_labels=1,
        initializer_range=0.5,
    )
    XLMRobertaForSequenceClassification(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def modernbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ModernBERT: rotary positions, local attention in every other layer, byte-level BPE, no token types."""
    torch.manual_seed(4)
    path = tmp_path_factory.mktemp("models") / "modernbert"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["[UNK]", "[CLS]", "[SEP]", "[PAD]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS] * 3, trainer)
    ids = {piece: tokenizer.token_to_id(piece) for piece in ("[CLS]", "[SEP]", "[PAD]")}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[*ids.items()][:2]
    )
    config = ModernBertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=2,
        max_position_embeddings=8192,
        global_attn_every_n_layers=2,
        local_attention=8,
        pad_token_id=ids["[PAD]"],
        bos_token_id=ids["[CLS]"],
        eos_token_id=ids["[SEP]"],
        cls_token_id=ids["[CLS]"],
        sep_token_id=ids["[SEP]"],
        num_labels=1,
        initializer_range=0.3,
    )
    ModernBertForSequenceClassification(config).save_pretrained(path)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        model_max_length=8192,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def embedding_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mean pooling, and a prompt for each role."""
    root = tmp_path_factory.mktemp("models")
    backbone = Transformer(str(save_bert(root / "backbone", architecture=BertModel, seed=2)))
    model = SentenceTransformer(
        modules=[backbone, Pooling(backbone.get_embedding_dimension(), pooling_mode="mean")],
        prompts={"query": "query: ", "document": "passage: "},
        device="cpu",
    )
    model.save(str(root / "embedder"))
    return root / "embedder"
