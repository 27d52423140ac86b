"""The embedding server: a real one, on a free port of this machine."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from hybridrank.testing import FaultyHandler, FaultyServer
from hybridrank_http.testing.embedding_dialects import EMBEDDING_DIALECTS

__all__ = ["MALFORMED_EMBEDDINGS", "MISINDEXED", "EmbeddingServer"]

_DIMENSIONS = 64


class _Handler(FaultyHandler):
    def refusal(self, message: str) -> Any:
        """As the flavor words it."""
        return self.owner.dialect.refusal(message)

    @property
    def authorized(self) -> bool:
        """Whether the request has the server's key, where the flavor has it, or the server has none."""
        header = self.owner.dialect.key_header
        scheme = "Bearer " if header == "Authorization" else ""
        return bool(self.headers.get(header) == (self.owner.key and scheme + self.owner.key))

    def respond(self, body: dict[str, Any], fault: str | None) -> None:
        """Answer as the flavor does, or misbehave."""
        if fault is None:
            self.send(*self._embedded(body))
        elif fault.startswith("3"):
            self.send(int(fault), self.refusal(f"told to answer {fault}"), {"Location": self.owner.elsewhere})
        elif fault == "echo":
            given = self.headers.get(self.owner.dialect.key_header, "")
            self.send(401, self.refusal(f"invalid api token: {given}"), {"X-Received": given})
        elif fault == "endless":
            self.send(200, " " * (256 << 20))
        elif fault == "error body":
            self.send(200, self.refusal("the model is loading"))
        elif not self.fails(fault):
            self.send(200, _FAULTS[fault](self._embedded(body)[1]))

    def _embedded(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        """What the real server would answer."""
        dialect = self.owner.dialect
        wrong = [name for name, value in body.items() if not isinstance(value, dialect.takes.get(name, ()))]
        if self.path.partition("?")[0] != dialect.path:
            return 404, dialect.refusal(f"no such endpoint: {self.path}"), {}
        if not self.authorized:
            return 401, dialect.refusal("invalid api token"), {}
        if wrong or any(name not in body for name in dialect.needs):
            return 422, dialect.refusal(f"missing, unknown or wrong fields: {', '.join(wrong)}"), {}
        texts = dialect.texts(body)
        if not texts or not all(text.strip() for text in texts):
            return 400, dialect.refusal("texts must not be empty"), {}
        if len(texts) > dialect.most:
            return 413, dialect.refusal(f"batch size {len(texts)} > maximum {dialect.most}"), {}
        if any(len(text) > dialect.characters for text in texts):
            return 422, dialect.refusal(f"at most {dialect.characters} characters"), {}
        if any(len(text) > self.owner.maximum for text in texts):
            if not dialect.truncates(body):
                return 413, dialect.refusal(f"a text has more than {self.owner.maximum} characters"), {}
            texts = [text[: self.owner.maximum] for text in texts]
        first = body["requests"][0] if "requests" in body else body
        dim = first.get(dialect.dimensions, first.get("outputDimensionality", _DIMENSIONS))
        tokens = sum(len(text.split()) for text in texts)
        vectors = [_vector(text, dim) for text in texts]
        return 200, dialect.answer(body, vectors, tokens), dialect.headers(tokens)


class EmbeddingServer(FaultyServer):
    """An embedding server of one `flavor`; its `url` is for `HttpEmbedder(url=…)`.

    Its vectors count words, by a hash, and are not of unit length. It reads `maximum` characters of a text, and
    cuts or refuses longer ones, as the real one does with tokens. Redirects lead to `elsewhere`. The fault
    ``another order`` is a good answer, as long as its indexes are read.
    """

    handler = _Handler

    def __init__(self, flavor: str = "openai", *, key: str | None = None, maximum: int = 10_000_000) -> None:
        super().__init__(key=key)
        self.dialect = EMBEDDING_DIALECTS[flavor]
        self.maximum = maximum
        self.elsewhere = "/elsewhere"


def _vector(text: str, dim: int) -> list[float]:
    vector = [0.0] * dim
    for word in re.findall(r"\w+", text.lower()) or ["."]:
        vector[zlib.crc32(word.encode("utf-8", "replace")) % dim] += 1.0
    return [math.sqrt(count) for count in vector]


def _results(answer: Any) -> list[Any]:
    if isinstance(answer, list):
        return answer
    results: list[Any] = answer["embeddings"] if "embeddings" in answer else answer["data"]
    return results


def _changed(change: Callable[[list[Any]], object]) -> Callable[[Any], str]:
    def broken(answer: Any) -> str:
        change(_results(answer))
        return json.dumps(answer)

    return broken


def _vectors(change: Callable[[Any], Any]) -> Callable[[Any], str]:
    """Change the last vector, wherever the flavor has it."""

    def broken(results: list[Any]) -> None:
        last = results[-1]
        if isinstance(last, dict):
            [name] = {"embedding", "values"} & set(last)
            last[name] = change(last[name])
        else:
            results[-1] = change(last)

    return _changed(broken)


def _index(value: object) -> Callable[[Any], str]:
    return _changed(lambda results: results[-1].update(index=value))


MALFORMED_EMBEDDINGS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "empty": lambda _: "",
        "nested without end": lambda _: "[" * 200_000,
        "a number": lambda _: "42",
        "an object": lambda _: "{}",
        "short": _changed(lambda results: results.pop()),
        "long": _changed(lambda results: results.append(results[0])),
        "null vector": _vectors(lambda _: None),
        "text vector": _vectors(lambda _: "not base64!"),
        "truncated base64": _vectors(lambda _: "AACAPwA="),
        "number vector": _vectors(lambda _: 0.5),
        "nested vector": _vectors(lambda _: [[0.5] * _DIMENSIONS]),
        "vector of texts": _vectors(lambda _: ["0.5"] * _DIMENSIONS),
        "vector with null": _vectors(lambda _: [0.5, None] * (_DIMENSIONS // 2)),
        "empty vector": _vectors(lambda _: []),
        "another dimension": _vectors(lambda _: [0.5] * (_DIMENSIONS + 1)),
        "zeros": _vectors(lambda _: [0.0] * _DIMENSIONS),
        "nan": _vectors(lambda _: [float("nan")] * _DIMENSIONS),
        "infinite": _vectors(lambda _: [float("inf")] + [0.5] * (_DIMENSIONS - 1)),
        "beyond floats": _vectors(lambda _: [10**400] * _DIMENSIONS),
    }
)
"""A name for each way to be wrong, in any flavor, and how to get there from a good answer."""

MISINDEXED: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "repeated": _changed(lambda results: results[-1].update(index=results[0]["index"])),
        "out of range": _changed(lambda results: results[-1].update(index=len(results))),
        "negative index": _index(-1),
        "null index": _index(None),
        "true index": _index(True),
        "text index": _index("1"),
    }
)
"""The same, of flavors with indexes."""

_FAULTS = {**MALFORMED_EMBEDDINGS, **MISINDEXED, "another order": _changed(lambda results: results.reverse())}
