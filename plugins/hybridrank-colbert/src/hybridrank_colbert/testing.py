"""A tiny ColBERT model with random weights, for tests of code that uses this plugin."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

__all__ = ["DIM", "POSITIONS", "QUERY", "WINDOW", "save_tiny", "tiny_tokenizer"]

POSITIONS, WINDOW, QUERY, DIM = 64, 32, 12, 8
"""Tokens that the model has positions for, reads of a document, and makes of a query; dimensions of a vector."""

_WORDS = "organic waste compost soil plastic nuclear how to process recycling rich nutrient safety water pump"


def tiny_tokenizer() -> Any:
    """WordPiece: lower-cased words, and characters for all others."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = string.ascii_lowercase + string.digits + string.punctuation
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*specials, *_WORDS.split(), *letters, *(f"##{letter}" for letter in letters)]
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        additional_special_tokens=["[Q] ", "[D] "],
        model_max_length=POSITIONS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def save_tiny(path: Path, *, seed: int = 0) -> Path:
    """Save one at `path`, in the files that PyLate's `ColBERT.save` writes, which both runtimes read."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    words = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=POSITIONS,
        initializer_range=0.5,  # so that scores differ visibly
    )
    BertModel(config).save_pretrained(path)
    words.save_pretrained(path)
    (path / "1_Dense").mkdir()
    save_file({"linear.weight": torch.randn(DIM, 16)}, path / "1_Dense" / "model.safetensors")
    files: dict[str, Any] = {
        "1_Dense/config.json": {
            "in_features": 16,
            "out_features": DIM,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
        ],
        "sentence_bert_config.json": {"max_seq_length": POSITIONS, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "model_type": "ColBERT",
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "MaxSim",
            "query_prefix": "[Q] ",
            "document_prefix": "[D] ",
            "query_length": QUERY,
            "document_length": WINDOW,
            "attend_to_expansion_tokens": False,
            "skiplist_words": list(string.punctuation),
            "do_query_expansion": True,
        },
    }
    for name, content in files.items():
        (path / name).write_text(json.dumps(content))
    return path
