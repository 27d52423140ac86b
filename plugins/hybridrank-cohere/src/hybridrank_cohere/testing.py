"""Local servers that implement Cohere's rerank and embed protocols, and fail on request.

For tests of clients of the API: no key, no network, no cost. It really scores, by the share of words that query
and document have in common, and rejects what the API rejects.

>>> from hybridrank_cohere import CohereReranker
>>> with RerankServer() as server:
...     reranker = CohereReranker(base_url=server.url, limits={"max_wait": 0.1})
...     server.faults.append("500")  # for the next request; it is tried again, and answered
"""

from __future__ import annotations

import re
import uuid
import zlib
from typing import Any

from hybridrank.testing import FaultyHandler, FaultyServer, Received

__all__ = ["FAULTS", "EmbedServer", "Received", "RerankServer"]

FAULTS = (
    "400",  # a status: any number from 400 to 599
    "429 retry-after 1",  # with a Retry-After header, here of 1
    "echo",  # 401, with the request's Authorization in the body and in a header
    "silence",  # no answer at all, until the client leaves or the server closes
    "trickle",  # an answer that comes a byte at a time, and never ends
    "hang up",  # the connection ends in the middle of the body
    "not json",
    "list",  # JSON, but no object
    "no results",
    "short",  # one result too few
    "repeated",  # one index twice, another missing
    "out of range",
    "null index",
    "null score",
    "nan",
    "a span past the end",
)
"""What `RerankServer.faults` and `RerankServer.fault` understand."""

_FIELDS = {
    "model": str,
    "query": str,
    "documents": list,
    "top_n": int,
    "max_tokens_per_doc": int,
    "relevant_spans": dict,
}


class _Handler(FaultyHandler):
    def respond(self, body: dict[str, Any], fault: str | None) -> None:
        """Answer as the API does, or misbehave."""
        if fault is None:
            status, answer = self._refused(body) or (200, _answer(body))
            self.send(status, answer)
        elif not self.fails(fault):
            self.send(200, _malformed(body, fault))

    def _refused(self, body: dict[str, Any]) -> tuple[int, dict[str, str]] | None:
        """What the API would refuse, and how."""
        if self.path != "/v2/rerank":
            return 404, {"message": f"no such endpoint: {self.path}"}
        if not self.authorized:
            return 401, {"message": "invalid api token"}
        wrong = [name for name, value in body.items() if not isinstance(value, _FIELDS.get(name, ()))]
        if wrong:
            return 422, {"message": f"unknown or wrongly typed fields: {', '.join(wrong)}"}
        if body.get("relevant_spans", {}).get("mode") == "enabled" and not _gives_spans(body["model"]):
            return 400, {"message": f"invalid request: relevant_spans is not supported by {body['model']}"}
        if not body.get("model") or not body.get("query", "").strip():
            return 400, {"message": "invalid request: model and query must not be empty"}
        documents = body.get("documents")
        if not documents or len(documents) > 10_000:
            return 400, {"message": "invalid request: list of documents must not be empty, nor exceed 10000"}
        if not all(isinstance(text, str) and text.strip() for text in documents):
            return 400, {"message": "invalid request: a document is blank"}
        return None


class RerankServer(FaultyServer):
    """``POST /v2/rerank``; its `url` is for `CohereReranker(base_url=…)`."""

    handler = _Handler

    def __init__(self, *, key: str = "test-key") -> None:
        super().__init__(key=key)


_EMBED_FIELDS = {
    "model": str,
    "input_type": str,
    "texts": list,
    "embedding_types": list,
    "output_dimension": int,
    "truncate": str,
    "stream": bool,
}


class _EmbedHandler(FaultyHandler):
    def respond(self, body: dict[str, Any], fault: str | None) -> None:
        """Answer as the API does, or misbehave."""
        if fault is None:
            status, answer = self._refused(body) or (200, _embedded(body))
            self.send(status, answer)
        elif not self.fails(fault):
            self.send(200, _malformed_vectors(body, fault))

    def _refused(self, body: dict[str, Any]) -> tuple[int, dict[str, str]] | None:
        """What the API would refuse, and how."""
        if self.path != "/v2/embed":
            return 404, {"message": f"no such endpoint: {self.path}"}
        if not self.authorized:
            return 401, {"message": "invalid api token"}
        wrong = [name for name, value in body.items() if not isinstance(value, _EMBED_FIELDS.get(name, ()))]
        if wrong or body.get("input_type") not in ("search_query", "search_document"):
            return 422, {"message": f"unknown or wrongly typed fields: {', '.join(wrong) or 'input_type'}"}
        texts = body.get("texts")
        if not body.get("model") or not texts or len(texts) > 96:
            return 400, {"message": "invalid request: model and texts must not be empty, nor exceed 96"}
        if not all(text.strip() for text in texts):
            return 400, {"message": "invalid request: a text is blank"}
        if body.get("truncate", "END") == "NONE" and max(map(len, texts)) > self.owner.maximum:
            return 400, {"message": "too many tokens: a text exceeds the maximum length"}
        return None


class EmbedServer(FaultyServer):
    """``POST /v2/embed``; its `url` is for `CohereEmbedder(base_url=…)`.

    Its vectors count words, by a hash. It rejects texts of more than `maximum` characters, or with `truncate`
    reads all of them.
    """

    handler = _EmbedHandler

    def __init__(self, *, key: str = "test-key", maximum: int = 10_000_000) -> None:
        super().__init__(key=key)
        self.maximum = maximum


def _embedded(body: dict[str, Any]) -> dict[str, Any]:
    vectors, tokens = [], 0
    for text in body["texts"]:
        vector = [0.0] * body.get("output_dimension", 64)
        for word in re.findall(r"\w+", text.lower()) or ["."]:
            vector[zlib.crc32(word.encode("utf-8", "replace")) % len(vector)] += 1.0
            tokens += 1
        vectors.append(vector)
    return {
        "id": str(uuid.uuid4()),
        "response_type": "embeddings_by_type",
        "embeddings": {"float": vectors},
        "texts": body["texts"],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": tokens}},
    }


def _malformed_vectors(body: dict[str, Any], fault: str) -> Any:
    answer = _embedded(body)
    vectors = answer["embeddings"]["float"]
    match fault:
        case "list":
            return [answer]
        case "no vectors":
            answer["embeddings"] = {}
        case "short":
            vectors.pop()
        case "null vector":
            vectors[-1] = None
        case "null number":
            vectors[-1][0] = None
        case "nan":
            vectors[-1][0] = float("nan")
        case "zeros":
            vectors[-1] = [0.0] * len(vectors[-1])
        case "another dimension":
            vectors[-1].append(1.0)
        case _:
            raise ValueError(f"no such fault: {fault!r}")
    return answer


def _words(text: str, limit: int | None = None) -> set[str]:
    return set(re.findall(r"\w+", text.lower())[:limit])


def _gives_spans(model: str) -> bool:
    version = re.match(r"rerank-v(\d+)", model)
    return version is not None and int(version[1]) >= 5


def _spans(query: set[str], text: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The sentences that share words with the query, in code points, best first."""
    spans = [
        {"start": sentence.start(), "end": sentence.end(), "score": score}
        for sentence in re.finditer(r"[^\s.!?。][^.!?。\n]*[.!?。]?", text)
        if (score := len(query & _words(sentence[0])) / len(query)) > asked.get("threshold", 0.1)
    ]
    spans.sort(key=lambda span: -span["score"])
    return spans[: asked.get("max_spans")]


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    """Answer as the API does: best first, each with its index and a score in [0, 1]."""
    query, results = _words(body["query"]), []
    asked = body.get("relevant_spans", {"mode": "disabled"})
    for index, text in enumerate(body["documents"]):
        document = _words(text, body.get("max_tokens_per_doc", 4096))
        result: dict[str, Any] = {
            "index": index,
            "relevance_score": len(query & document) / len(query | document or {""}),
        }
        if asked["mode"] == "enabled" and (spans := _spans(query, text, asked)):
            result["relevant_spans"] = spans
        results.append(result)
    results.sort(key=lambda result: -result["relevance_score"])
    units = -(-len(results) // 100)
    return {
        "id": str(uuid.uuid4()),
        "results": results[: body.get("top_n")],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": units}},
    }


def _malformed(body: dict[str, Any], fault: str) -> Any:
    answer = _answer(body)
    results = answer["results"]
    match fault:
        case "list":
            return [answer]
        case "no results":
            del answer["results"]
        case "short":
            results.pop()
        case "repeated":
            results[-1]["index"] = results[0]["index"]
        case "out of range":
            results[-1]["index"] = len(results)
        case "null index":
            results[-1]["index"] = None
        case "null score":
            results[-1]["relevance_score"] = None
        case "nan":
            results[-1]["relevance_score"] = float("nan")
        case "a span past the end":
            end = len(body["documents"][results[0]["index"]]) + 1
            results[0]["relevant_spans"] = [{"start": 0, "end": end, "score": 0.5}]
        case _:
            raise ValueError(f"no such fault: {fault!r}; known: {', '.join(FAULTS)}")
    return answer
