"""The protocol of each kind of server."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybridrank.component import config_error

__all__ = ["FLAVORS", "Fields", "Flavor", "FlavorName", "OnLong"]

FlavorName: TypeAlias = Literal["cohere", "jina", "voyage", "tei", "infinity", "vllm", "llama.cpp"]
OnLong: TypeAlias = Literal["truncate", "raise"]


@dataclass(frozen=True, slots=True)
class Flavor:
    """A server's protocol: the path, the request's fields, and the response's results, scores and usage.

    `results` and `usage` are keys, or keys within keys with dots between; an empty `results` is the answer
    itself, an empty `usage` says that there is none; `usage_headers` are headers with an amount, and what of.
    `long` is what to send so that a text over the model's maximum is truncated, or else refused; the first is
    the default, and what the server cannot do is absent. `characters` is what it takes of a text at all: longer
    ones are sent in part. `parameters` are sent with every request.
    """

    path: str
    long: Mapping[OnLong, Mapping[str, Any]]
    query: str = "query"
    documents: str = "documents"
    results: str = "results"
    index: str = "index"
    score: str = "relevance_score"
    usage: str = "usage"
    usage_headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    batch_size: int = 1000
    characters: int = sys.maxsize
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


_ALWAYS_TRUNCATES: Mapping[OnLong, Mapping[str, Any]] = MappingProxyType({"truncate": {}})

FLAVORS: Mapping[FlavorName, Flavor] = MappingProxyType(
    {
        # https://docs.cohere.com/reference/rerank: at `max_tokens_per_doc`, 4,096 by default
        "cohere": Flavor("/v2/rerank", _ALWAYS_TRUNCATES, usage="meta.billed_units"),
        # https://jina.ai/reranker; it returns the documents unless told not to
        "jina": Flavor("/v1/rerank", _ALWAYS_TRUNCATES, parameters={"return_documents": False}),
        # https://docs.voyageai.com/reference/reranker-api: at most 1,000 documents
        "voyage": Flavor(
            "/v1/rerank",
            {"truncate": {"truncation": True}, "raise": {"truncation": False}},
            results="data",
        ),
        # router/src/http of huggingface/text-embeddings-inference; --max-client-batch-size is 32 by default
        "tei": Flavor(
            "/rerank",
            {"truncate": {"truncate": True}, "raise": {"truncate": False}},
            documents="texts",
            results="",
            score="score",
            usage="",
            usage_headers={"x-compute-tokens": "compute_tokens"},
            batch_size=32,
        ),
        # the `infinity-emb` package: fastapi_schemas/pymodels.py; at most 2,048 documents, and far more
        # characters than its tokenizers, which truncate, leave to any model
        "infinity": Flavor("/rerank", _ALWAYS_TRUNCATES, characters=122_880),
        # vllm/entrypoints/pooling/scoring/protocol.py of vllm-project/vllm; -1 is the model's own maximum
        "vllm": Flavor("/v1/rerank", {"raise": {}, "truncate": {"truncate_prompt_tokens": -1}}),
        # tools/server of ggml-org/llama.cpp: README.md, and format_response_rerank in server-common.cpp
        "llama.cpp": Flavor("/v1/rerank", {"raise": {}}),
    }
)


class Fields(BaseModel):
    """Names that differ from the flavor's; what is left out is the flavor's.

    Raises:
        ConfigError: a name is unknown, or no str.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str | None = Field(default=None, min_length=1, description="of the request: the query")
    documents: str | None = Field(default=None, min_length=1, description="of the request: the documents' texts")
    results: str | None = Field(
        default=None, description='of the answer: the list of results; dots go down; "" is the answer'
    )
    index: str | None = Field(default=None, min_length=1, description="of a result: the document's index, from 0")
    score: str | None = Field(default=None, min_length=1, description="of a result: its score, higher is better")
    usage: str | None = Field(
        default=None, description='of the answer: billed units by name; dots go down; "" for none'
    )

    def __init__(self, **names: Any) -> None:
        try:
            super().__init__(**names)
        except ValidationError as error:
            raise config_error(error, type(self).model_fields, given=names, path="$", what="fields") from None
