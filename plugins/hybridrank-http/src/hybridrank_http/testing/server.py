"""The server: a real one, on a free port of this machine."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

from hybridrank.testing import FaultyHandler, FaultyServer, Received
from hybridrank_http.testing.dialects import DIALECTS
from hybridrank_http.testing.faults import MALFORMED, results_of

__all__ = ["Received", "RerankServer"]


class _Handler(FaultyHandler):
    def refusal(self, message: str) -> Any:
        """As the flavor words it."""
        return self.owner.dialect.refusal(message)

    def respond(self, body: dict[str, Any], fault: str | None) -> None:
        """Answer as the flavor does, or misbehave."""
        if fault is None:
            self.send(*self._judged(body), self.owner.dialect.headers(body))
        elif fault.startswith("3"):
            self.send(int(fault), self.refusal(f"told to answer {fault}"), {"Location": self.owner.elsewhere})
        elif fault == "echo score":
            _, answer = self._judged(body)
            given = self.headers.get("Authorization", "")
            for result in results_of(answer):
                result.update(relevance_score=given, score=given)
            self.send(200, answer)
        elif fault == "endless":
            self.send(200, " " * (64 << 20))
        elif fault == "html":
            self.send(200, "<html>a proxy's greeting</html>", {"Content-Type": "text/html; charset=utf-8"})
        elif fault == "plain":
            self.send(200, self._judged(body)[1], {"Content-Type": "text/plain"})
        elif fault == "error body":
            self.send(200, self.owner.dialect.refusal("the model is loading"))
        elif fault == "compressed":
            self.send(200, gzip.compress(json.dumps(self._judged(body)[1]).encode()), {"Content-Encoding": "gzip"})
        elif not self.fails(fault):
            self.send(200, MALFORMED[fault](self._judged(body)[1]))

    def _judged(self, body: dict[str, Any]) -> tuple[int, Any]:
        """What the real server would answer."""
        dialect = self.owner.dialect
        wrong = [name for name, value in body.items() if not isinstance(value, dialect.takes.get(name, ()))]
        documents = body.get("documents", body.get("texts", []))
        if self.path != dialect.path:
            return 404, dialect.refusal(f"no such endpoint: {self.path}")
        if not self.authorized:
            return 401, dialect.refusal("invalid api token")
        if wrong or any(name not in body for name in dialect.needs):
            return 422, dialect.refusal(f"missing, unknown or wrongly typed fields: {', '.join(wrong)}")
        asked = body.get("query", body.get("queries", ""))
        if not asked.strip() or not documents or not all(text.strip() for text in documents):
            return 400, dialect.refusal("query and documents must not be empty")
        if len(documents) > dialect.most:
            return 413, dialect.refusal(f"batch size {len(documents)} > maximum allowed batch size {dialect.most}")
        if any(len(text) > dialect.characters for text in documents):
            return 422, dialect.refusal(f"String should have at most {dialect.characters} characters")
        if any(len(text) > self.owner.maximum for text in documents):
            if not dialect.truncates(body):
                return 413, dialect.refusal(f"a text has more than {self.owner.maximum} characters")
            documents = [text[: self.owner.maximum] for text in documents]
        query = _words(asked)
        scored = [
            (index, len(query & _words(text)) / len(query | _words(text) or {""}), text)
            for index, text in enumerate(documents)
        ]
        scored.sort(key=lambda each: -each[1])
        return 200, dialect.answer(body, scored, sum(len(text.split()) for text in documents))


class RerankServer(FaultyServer):
    """A rerank server of one `flavor`; its `url` is for `HttpReranker(url=…)`.

    It reads `maximum` characters of a document, and cuts or refuses longer ones, as the real one does with tokens.
    Redirects lead to `elsewhere`.
    """

    handler = _Handler

    def __init__(self, flavor: str = "cohere", *, key: str | None = None, maximum: int = 10_000_000) -> None:
        super().__init__(key=key)
        self.dialect = DIALECTS[flavor]
        self.maximum = maximum
        self.elsewhere = "/elsewhere"


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
