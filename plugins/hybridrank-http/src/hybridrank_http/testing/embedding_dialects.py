"""The protocol of each kind of embedding server, written independently from its documentation or source."""

from __future__ import annotations

import base64
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

__all__ = ["EMBEDDING_DIALECTS", "EmbeddingDialect"]

Vectors: TypeAlias = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class EmbeddingDialect:
    """A path, the fields that a request may and must have, its texts, the answer, and how a refusal is worded.

    A request may have `most` texts, of so many `characters`; `truncates` says of one whether texts that are too
    long for the model are cut, or the request refused. `dimensions` is the field with the number of dimensions.
    """

    path: str
    takes: Mapping[str, type]
    needs: tuple[str, ...]
    answer: Callable[[Mapping[str, Any], Vectors, int], Any]
    refusal: Callable[[str], Any]
    texts: Callable[[Mapping[str, Any]], Sequence[str]] = lambda body: body["input"]
    dimensions: str = "dimensions"
    most: int = 2048
    characters: int = sys.maxsize
    key_header: str = "Authorization"
    headers: Callable[[int], dict[str, str]] = lambda _: {}
    truncates: Callable[[Mapping[str, Any]], bool] = lambda _: True


def _openai(body: Mapping[str, Any], vectors: Vectors, tokens: int) -> Any:
    def encoded(vector: Sequence[float]) -> Any:
        if body.get("encoding_format") == "base64":
            return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        return vector

    data = [
        {"object": "embedding", "index": index, "embedding": encoded(vector)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model", "served"), "usage": usage}


def _voyage(body: Mapping[str, Any], vectors: Vectors, tokens: int) -> Any:
    return {**_openai(body, vectors, tokens), "usage": {"total_tokens": tokens}}


def _gemini(_: Mapping[str, Any], vectors: Vectors, __: int) -> Any:
    return {"embeddings": [{"values": vector} for vector in vectors]}


def _tei(_: Mapping[str, Any], vectors: Vectors, __: int) -> Any:
    return vectors


def _gemini_texts(body: Mapping[str, Any]) -> Sequence[str]:
    return [each["content"]["parts"][0]["text"] for each in body["requests"]]


def _nested(message: str) -> Any:
    return {"error": {"message": message, "type": "invalid_request_error", "code": 400}}


_COMMON = {"model": str, "input": list, "encoding_format": str, "dimensions": int, "user": str}

EMBEDDING_DIALECTS: Mapping[str, EmbeddingDialect] = MappingProxyType(
    {
        "openai": EmbeddingDialect(
            "/v1/embeddings", _COMMON, ("model", "input"), _openai, _nested, truncates=lambda _: False
        ),
        "azure": EmbeddingDialect(
            "/openai/v1/embeddings",
            _COMMON,
            ("model", "input"),
            _openai,
            _nested,
            key_header="api-key",
            truncates=lambda _: False,
        ),
        "voyage": EmbeddingDialect(
            "/v1/embeddings",
            {
                "model": str,
                "input": list,
                "input_type": str,
                "truncation": bool,
                "output_dimension": int,
                "output_dtype": str,
                "encoding_format": str,
            },
            ("model", "input"),
            _voyage,
            lambda message: {"detail": message},
            dimensions="output_dimension",
            most=1000,
            truncates=lambda body: bool(body.get("truncation", True)),
        ),
        "jina": EmbeddingDialect(
            "/v1/embeddings",
            {
                "model": str,
                "input": list,
                "task": str,
                "dimensions": int,
                "truncate": bool,
                "late_chunking": bool,
                "normalized": bool,
                "embedding_type": str,
            },
            ("model", "input"),
            _voyage,
            lambda message: {"detail": message},
            truncates=lambda body: bool(body.get("truncate", False)),
        ),
        "gemini": EmbeddingDialect(
            "/v1beta/models/any:batchEmbedContents",
            {"requests": list},
            ("requests",),
            _gemini,
            lambda message: {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}},
            texts=_gemini_texts,
            most=100,
            key_header="x-goog-api-key",
        ),
        "tei": EmbeddingDialect(
            "/embed",
            {
                "inputs": list,
                "normalize": bool,
                "truncate": bool,
                "truncation_direction": str,
                "prompt_name": str,
                "dimensions": int,
            },
            ("inputs",),
            _tei,
            lambda message: {"error": message, "error_type": "validation"},
            texts=lambda body: body["inputs"],
            most=32,
            headers=lambda tokens: {"X-Compute-Tokens": str(tokens)},
            truncates=lambda body: bool(body.get("truncate", False)),
        ),
        "infinity": EmbeddingDialect(
            "/embeddings",
            {**_COMMON, "modality": str},
            ("input",),
            _openai,
            _nested,
            characters=122_880,
        ),
        "vllm": EmbeddingDialect(
            "/v1/embeddings",
            {**_COMMON, "truncate_prompt_tokens": int, "priority": int},
            ("input",),
            _openai,
            _nested,
            truncates=lambda body: "truncate_prompt_tokens" in body,
        ),
        "llama.cpp": EmbeddingDialect(
            "/v1/embeddings", _COMMON, ("input",), _openai, _nested, truncates=lambda _: False
        ),
        "ollama": EmbeddingDialect("/v1/embeddings", _COMMON, ("model", "input"), _openai, _nested),
    }
)
