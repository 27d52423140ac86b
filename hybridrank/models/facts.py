"""How a model is to be read: from its own files, and from a table where they are silent.

The configuration files of transformers (``config.json``, ``tokenizer_config.json``) and of sentence-transformers
(``modules.json``, ``1_Pooling/config.json``, ``sentence_bert_config.json``,
``config_sentence_transformers.json``) are read. Nothing is inferred from parts of a model's name: `KNOWN` is
looked up by the whole id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from hybridrank.errors import ModelError

__all__ = ["FACT_FILES", "KNOWN", "Known", "ModelFacts", "Pooling", "read_facts"]

Pooling: TypeAlias = Literal["mean", "cls"]
"""How token vectors become one: their mean, or the first one's."""

FACT_FILES = (
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
)
"""The files that `read_facts` reads where they exist, besides each module's own ``config.json``."""


@dataclass(frozen=True, slots=True)
class Known:
    """Facts about a model by its id, for those that its files don't state."""

    kind: Literal["embedder", "reranker"]
    pooling: Pooling | None = None
    query_prefix: str = ""
    document_prefix: str = ""


_BGE = Known("embedder", "cls", "Represent this sentence for searching relevant passages: ")
_E5 = Known("embedder", "mean", "query: ", "passage: ")

KNOWN: Mapping[str, Known] = {
    "BAAI/bge-small-en-v1.5": _BGE,
    "BAAI/bge-base-en-v1.5": _BGE,
    "BAAI/bge-large-en-v1.5": _BGE,
    "BAAI/bge-m3": Known("embedder", "cls"),
    "intfloat/e5-small-v2": _E5,
    "intfloat/multilingual-e5-small": _E5,
    "sentence-transformers/all-MiniLM-L6-v2": Known("embedder", "mean"),
    "BAAI/bge-reranker-base": Known("reranker"),
    "BAAI/bge-reranker-large": Known("reranker"),
    "BAAI/bge-reranker-v2-m3": Known("reranker"),
    "Alibaba-NLP/gte-reranker-modernbert-base": Known("reranker"),
    "cross-encoder/ettin-reranker-17m-v1": Known("reranker"),
    "cross-encoder/ettin-reranker-32m-v1": Known("reranker"),
    "cross-encoder/ettin-reranker-68m-v1": Known("reranker"),
    "cross-encoder/ettin-reranker-150m-v1": Known("reranker"),
    "cross-encoder/ms-marco-MiniLM-L6-v2": Known("reranker"),
    "cross-encoder/ms-marco-MiniLM-L-6-v2": Known("reranker"),
    "cross-encoder/ms-marco-MiniLM-L12-v2": Known("reranker"),
    "cross-encoder/ms-marco-MiniLM-L-12-v2": Known("reranker"),
}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """How a model is to be read.

    `max_tokens` is its window, including special tokens; `pooling` is None if neither its files nor `KNOWN` state
    it; `pad_id` is the token that pads the shorter sequences of a batch, None if the model has none (for example
    a decoder, which finds the end of a sequence by it): then all sequences of a batch must have the same length.
    """

    max_tokens: int | None
    pooling: Pooling | None
    query_prefix: str
    document_prefix: str
    pad_id: int | None


def read_facts(directory: Path, model: str, *, kind: Literal["embedder", "reranker"] = "embedder") -> ModelFacts:
    """Read the files in `directory`, and look up the rest under the id `model`.

    The pooling and the modules of a reranker are part of its graph, and are not read.

    Raises:
        ModelError: a file is not JSON, or asks for something that is not supported (another pooling, a
            module after it).
    """
    known = KNOWN.get(model, Known("embedder"))
    config = _object(directory, "config.json")
    prompts = _object(directory, "config_sentence_transformers.json").get("prompts") or {}
    pad_id = config.get("pad_token_id")
    has_none = bool(config) and not _object(directory, "tokenizer_config.json").get("pad_token")
    return ModelFacts(
        max_tokens=_max_tokens(directory, config),
        pooling=None if kind == "reranker" else _pooling(directory) or known.pooling,
        query_prefix=prompts.get("query") or known.query_prefix,
        document_prefix=prompts.get("document") or prompts.get("passage") or known.document_prefix,
        pad_id=pad_id if isinstance(pad_id, int) else None if has_none else 0,
    )


def _json(directory: Path, name: str) -> Any:
    path = directory / name
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error


def _object(directory: Path, name: str) -> dict[str, Any]:
    value = _json(directory, name)
    if value is not None and not isinstance(value, dict):
        raise ModelError(f"{directory / name} holds no JSON object")
    return value or {}


def _max_tokens(directory: Path, config: Mapping[str, Any]) -> int | None:
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= (config.get("pad_token_id") or 0) + 1  # these count positions from behind the padding's
    stated = (
        positions,
        _object(directory, "sentence_bert_config.json").get("max_seq_length"),
        _object(directory, "tokenizer_config.json").get("model_max_length"),
    )
    return min((n for n in stated if isinstance(n, int) and 0 < n < 10**6), default=None)


def _pooling(directory: Path) -> Pooling | None:
    modules = _json(directory, "modules.json") or []
    types = [str(module.get("type")) for module in modules]
    kinds = [name.rpartition(".")[2] if name.startswith("sentence_transformers.") else name for name in types]
    if unknown := set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        raise ModelError(
            f"{directory / 'modules.json'} asks for {', '.join(sorted(unknown))}, which only the embedder "
            '"sentence-transformers" does (pip install "hybridrank-sentence-transformers")'
        )
    folder = next((str(m.get("path")) for m, kind in zip(modules, kinds, strict=True) if kind == "Pooling"), None)
    config = _object(directory, f"{folder or '1_Pooling'}/config.json")
    if (mode := config.get("pooling_mode")) is None:
        flags = [name for name, on in config.items() if name.startswith("pooling_mode_") and on is True]
        names = [
            name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for name in flags
        ]
        mode = names[0] if len(names) == 1 else names or None
    if mode is None:
        return None
    if mode == "mean":
        return "mean"
    if mode == "cls":
        return "cls"
    raise ModelError(f"{directory} asks for the pooling {mode!r}; only mean and cls are supported")
