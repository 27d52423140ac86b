"""The protocol of each kind of server, written independently from its documentation or source."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

__all__ = ["DIALECTS", "Dialect"]

Scored: TypeAlias = Sequence[tuple[int, float, str]]
"""Index, score in [0, 1] and text of each document, best first."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """A path, the fields that a request may and must have, the answer, and how a refusal is worded.

    A request may have `most` documents, of so many `characters`; `truncates` says of one whether documents that
    are too long for the model are cut, or the request refused; `headers` are what comes with its answer.
    """

    path: str
    takes: Mapping[str, type]
    needs: tuple[str, ...]
    answer: Callable[[Mapping[str, Any], Scored, int], Any]
    refusal: Callable[[str], Any]
    most: int = 1000
    characters: int = sys.maxsize
    headers: Callable[[Mapping[str, Any]], dict[str, str]] = lambda _: {}
    truncates: Callable[[Mapping[str, Any]], bool] = lambda _: True


def _plain(scored: Scored) -> list[dict[str, Any]]:
    return [{"index": index, "relevance_score": score} for index, score, _ in scored]


def _cohere(_: Mapping[str, Any], scored: Scored, __: int) -> Any:
    units = {"search_units": -(-len(scored) // 100)}
    return {"id": "07734bd2", "results": _plain(scored), "meta": {"billed_units": units}}


def _jina(body: Mapping[str, Any], scored: Scored, tokens: int) -> Any:
    results = _plain(scored)
    if body.get("return_documents", True):
        for result, (_, _, text) in zip(results, scored, strict=True):
            result["document"] = {"text": text}
    return {"model": body["model"], "object": "list", "usage": {"total_tokens": tokens}, "results": results}


def _voyage(body: Mapping[str, Any], scored: Scored, tokens: int) -> Any:
    return {"object": "list", "data": _plain(scored), "model": body["model"], "usage": {"total_tokens": tokens}}


def _tei(_: Mapping[str, Any], scored: Scored, __: int) -> Any:
    return [{"index": index, "score": score} for index, score, _ in scored]


def _infinity(body: Mapping[str, Any], scored: Scored, tokens: int) -> Any:
    return {
        "object": "rerank",
        "results": [{**result, "document": None} for result in _plain(scored)],
        "model": body.get("model", "default"),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "id": "infinity-1",
        "created": 1,
    }


def _vllm(body: Mapping[str, Any], scored: Scored, tokens: int) -> Any:
    results = [
        {"index": index, "document": {"text": text, "multi_modal": None}, "relevance_score": score}
        for index, score, text in scored
    ]
    return {
        "id": "rerank-1",
        "model": body.get("model", "served"),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "results": results,
    }


def _vllm_score(body: Mapping[str, Any], scored: Scored, tokens: int) -> Any:
    data = [{"index": index, "object": "score", "score": score} for index, score, _ in sorted(scored)]
    usage = {
        "prompt_tokens": tokens,
        "total_tokens": tokens,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
    }
    return {"id": "score-1", "object": "list", "model": body.get("model", "served"), "data": data, "usage": usage}


def _llama(body: Mapping[str, Any], scored: Scored, tokens: int) -> Any:
    return {
        "model": body.get("model", "gpt-3.5-turbo"),
        "object": "list",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "results": [{"index": index, "relevance_score": 20.0 * score - 10.0} for index, score, _ in scored],
    }


def _nested(message: str) -> Any:
    return {"error": {"message": message, "type": "invalid_request_error", "code": 400}}


_COMMON = {"model": str, "query": str, "documents": list, "top_n": int}

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "cohere": Dialect(
            "/v2/rerank",
            {**_COMMON, "max_tokens_per_doc": int},
            ("model", "query", "documents"),
            _cohere,
            lambda message: {"message": message},
            most=10_000,
        ),
        "jina": Dialect(
            "/v1/rerank",
            {**_COMMON, "return_documents": bool},
            ("model", "query", "documents"),
            _jina,
            lambda message: {"detail": message},
        ),
        "voyage": Dialect(
            "/v1/rerank",
            {
                "model": str,
                "query": str,
                "documents": list,
                "top_k": int,
                "return_documents": bool,
                "truncation": bool,
            },
            ("model", "query", "documents"),
            _voyage,
            lambda message: {"detail": message},
            truncates=lambda body: bool(body.get("truncation", True)),
        ),
        "tei": Dialect(
            "/rerank",
            {
                "query": str,
                "texts": list,
                "raw_scores": bool,
                "return_text": bool,
                "truncate": bool,
                "truncation_direction": str,
            },
            ("query", "texts"),
            _tei,
            lambda message: {"error": message, "error_type": "validation"},
            most=32,
            headers=lambda body: {"X-Compute-Tokens": str(sum(len(text.split()) for text in body["texts"]))},
            truncates=lambda body: bool(body.get("truncate", False)),
        ),
        "infinity": Dialect(
            "/rerank",
            {**_COMMON, "return_documents": bool, "raw_scores": bool},
            ("query", "documents"),
            _infinity,
            _nested,
            most=2048,
            characters=122_880,
        ),
        "vllm": Dialect(
            "/v1/rerank",
            {**_COMMON, "truncate_prompt_tokens": int, "priority": int, "use_activation": bool},
            ("query", "documents"),
            _vllm,
            _nested,
            truncates=lambda body: "truncate_prompt_tokens" in body,
        ),
        "vllm score": Dialect(
            "/score",
            {"model": str, "queries": str, "documents": list, "truncate_prompt_tokens": int},
            ("queries", "documents"),
            _vllm_score,
            _nested,
            truncates=lambda body: "truncate_prompt_tokens" in body,
        ),
        "llama.cpp": Dialect(
            "/v1/rerank", _COMMON, ("query", "documents"), _llama, _nested, truncates=lambda _: False
        ),
    }
)
