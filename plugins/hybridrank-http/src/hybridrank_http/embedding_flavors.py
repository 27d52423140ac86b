"""The protocol of each kind of embedding server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from hybridrank.types import Role
from hybridrank_http.flavors import OnLong

__all__ = ["EMBEDDING_FLAVORS", "EmbeddingFlavor", "EmbeddingFlavorName"]

EmbeddingFlavorName: TypeAlias = Literal[
    "openai", "azure", "voyage", "jina", "gemini", "tei", "infinity", "vllm", "llama.cpp", "ollama"
]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class EmbeddingFlavor:
    """A server's protocol: the path, the request's fields, and the response's vectors and usage.

    `results` and `usage` are keys, or keys within keys with dots between; an empty `results` is the answer itself,
    an empty `usage` says that there is none. A result is a vector if `vector` is empty; results without an
    `index` are in the order of the texts. `long`, `usage_headers`, `characters` and `parameters` are those of
    `Flavor`. `roles` is what is sent with texts of either role. Without `sends_model`, the server has one model.
    `each` makes the object that is sent for one text, of the text and all fields, where a request is a list of
    requests.
    """

    path: str
    long: Mapping[OnLong, Mapping[str, Any]]
    texts: str = "input"
    dimensions: str = "dimensions"
    results: str = "data"
    vector: str = "embedding"
    index: str = "index"
    usage: str = "usage"
    usage_headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    key_header: str = "Authorization"
    needs_model: bool = False
    sends_model: bool = True
    batch_size: int = 128
    batch_tokens: int = 100_000
    characters: int = sys.maxsize
    parameters: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    roles: Mapping[Role, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))
    each: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] | None = None


_RAISES: Mapping[OnLong, Mapping[str, Any]] = MappingProxyType({"raise": {}})
_TRUNCATES: Mapping[OnLong, Mapping[str, Any]] = MappingProxyType({"truncate": {}})
_BASE64: Mapping[str, Any] = MappingProxyType({"encoding_format": "base64"})
_FLOAT: Mapping[str, Any] = MappingProxyType({"encoding_format": "float"})


def _gemini(text: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**fields, "model": f"models/{fields['model']}", "content": {"parts": [{"text": text}]}}


EMBEDDING_FLAVORS: Mapping[EmbeddingFlavorName, EmbeddingFlavor] = MappingProxyType(
    {
        # https://platform.openai.com/docs/api-reference/embeddings: at most 2,048 texts, 300,000 tokens
        "openai": EmbeddingFlavor("/v1/embeddings", _RAISES, needs_model=True, parameters=_BASE64),
        # https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle: the model is the deployment
        "azure": EmbeddingFlavor(
            "/openai/v1/embeddings", _RAISES, needs_model=True, parameters=_BASE64, key_header="api-key"
        ),
        # https://docs.voyageai.com/reference/embeddings-api: at most 1,000 texts, 120,000 tokens or more
        "voyage": EmbeddingFlavor(
            "/v1/embeddings",
            {"raise": {"truncation": False}, "truncate": {"truncation": True}},
            dimensions="output_dimension",
            needs_model=True,
            roles={"query": {"input_type": "query"}, "document": {"input_type": "document"}},
        ),
        # https://api.jina.ai/scalar: the schema of /v1/embeddings
        "jina": EmbeddingFlavor(
            "/v1/embeddings",
            {"raise": {"truncate": False}, "truncate": {"truncate": True}},
            needs_model=True,
            roles={"query": {"task": "retrieval.query"}, "document": {"task": "retrieval.passage"}},
        ),
        # https://ai.google.dev/api/embeddings: at most 100 texts; longer ones are truncated
        "gemini": EmbeddingFlavor(
            "/v1beta/models/{model}:batchEmbedContents",
            _TRUNCATES,
            texts="requests",
            dimensions="outputDimensionality",
            results="embeddings",
            vector="values",
            index="",
            usage="",
            key_header="x-goog-api-key",
            needs_model=True,
            batch_size=100,
            batch_tokens=20_000,
            roles={"query": {"taskType": "RETRIEVAL_QUERY"}, "document": {"taskType": "RETRIEVAL_DOCUMENT"}},
            each=_gemini,
        ),
        # router/src/http of huggingface/text-embeddings-inference; --max-client-batch-size is 32 by default
        "tei": EmbeddingFlavor(
            "/embed",
            {"raise": {"truncate": False}, "truncate": {"truncate": True}},
            texts="inputs",
            results="",
            vector="",
            index="",
            usage="",
            usage_headers={"x-compute-tokens": "compute_tokens"},
            sends_model=False,
            batch_size=32,
        ),
        # the `infinity-emb` package: fastapi_schemas/pymodels.py; its tokenizers truncate
        "infinity": EmbeddingFlavor("/embeddings", _TRUNCATES, parameters=_BASE64, characters=122_880),
        # vllm/entrypoints/pooling/embed of vllm-project/vllm; -1 is the model's own maximum
        "vllm": EmbeddingFlavor(
            "/v1/embeddings",
            {"raise": {}, "truncate": {"truncate_prompt_tokens": -1}},
            parameters=_BASE64,
        ),
        # tools/server of ggml-org/llama.cpp: README.md
        "llama.cpp": EmbeddingFlavor("/v1/embeddings", _RAISES, parameters=_FLOAT),
        # https://docs.ollama.com/api/openai-compatibility: it truncates
        "ollama": EmbeddingFlavor("/v1/embeddings", _TRUNCATES, needs_model=True, parameters=_FLOAT),
    }
)
