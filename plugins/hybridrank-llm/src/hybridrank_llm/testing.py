"""A local server that speaks the chat protocol, and fails on request.

For tests of whatever calls such a server: no key, no network, no cost. Its model really ranks, by the share of
words that query and document have in common.

>>> from hybridrank_llm import LlmReranker
>>> with ChatServer() as server:
...     reranker = LlmReranker(url=server.url, model="test")
...     server.faults.append("500")  # for the next request; it is tried again, and answered
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from hybridrank.testing import FaultyHandler, FaultyServer, Received

__all__ = ["FAULTS", "ChatServer", "Received", "by_words", "documents_of", "judge_by_words"]

FAULTS = (
    # the server's
    "400",  # a status: any number from 300 to 599
    "429 retry-after 1",  # with a Retry-After header, here of 1
    "echo",  # 401, with the request's Authorization in the body and in a header
    "silence",  # no answer at all, until the client leaves or the server closes
    "trickle",  # an answer that begins at once and never ends, a byte at a time
    "flood",  # an answer of two megabytes
    "hang up",  # the connection ends in the middle of the body
    "not json",
    "deep",  # JSON, nested too deep to be read
    "list",  # JSON, but no object
    "no choices",
    "empty choices",
    "no message",
    "error",  # 200, and an error in the body
    "no usage",
    "odd usage",
    # the model's
    "null",  # no content
    "refusal",
    "nothing",
    "nonsense",
    "half",  # stopped for its length
    "prose",
    "arrows",
    "numbered",
    "reasons",
    "thoughts",
    "parts",
    "missing",
    "repeated",
    "unknown",
)
"""What `ChatServer.faults` and `ChatServer.fault` understand."""

_FIELDS: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "messages": list,
    "temperature": (int, float),
    "response_format": dict,
    "max_tokens": int,
    "seed": int,
}

Model = Callable[[Sequence[dict[str, str]]], list[str] | str]
"""Messages -> labels, best first, or the answer itself."""


def documents_of(messages: Sequence[dict[str, str]]) -> tuple[str, dict[str, str]]:
    """The query, and the documents' texts by their labels, out of a request's messages."""
    lines = [json.loads(line) for line in messages[-1]["content"].split("\n") if line.startswith("{")]
    return lines[0]["query"], {line["label"]: line["text"] for line in lines[1:]}


def by_words(messages: Sequence[dict[str, str]]) -> list[str]:
    """Rank by the share of words that query and document have in common, ties by text."""
    query, documents = documents_of(messages)
    return sorted(documents, key=lambda label: (-_overlap(query, documents[label]), documents[label]))


def judge_by_words(messages: Sequence[dict[str, str]]) -> str:
    """Answer a request of `hybridrank_llm.judging`: a document's first words as a query, or a grade by overlap."""
    lines = [json.loads(line) for line in messages[-1]["content"].split("\n") if line.startswith("{")]
    if len(lines) == 1:
        return json.dumps({"query": " ".join(re.findall(r"\w+", lines[0]["document"])[:4]).lower()})
    share = _overlap(lines[0]["query"], lines[1]["document"])
    return json.dumps({"grade": sum(share > least for least in (0.0, 0.2, 0.4))})


def _overlap(query: str, text: str) -> float:
    asked, found = (set(re.findall(r"\w+", each.lower())) for each in (query, text))
    return len(asked & found) / len(asked | found or {""})


class _Handler(FaultyHandler):
    def refusal(self, message: str) -> dict[str, Any]:
        """The body of an error."""
        return {"error": {"message": message}}

    def respond(self, body: dict[str, Any], fault: str | None) -> None:
        """Answer as a chat model does, or misbehave."""
        if fault and fault not in FAULTS and not fault[:3].isdigit():
            raise ValueError(f"no such fault: {fault!r}; known: {', '.join(FAULTS)}")
        if fault and self.fails(fault):
            return
        if (refused := self._refused(body)) is not None:
            self.send(*refused)
        else:
            self.send(200, _completion(body, self.owner.model(body["messages"]), fault or ""))

    def _refused(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """What a server would refuse, and how."""
        if self.path != "/v1/chat/completions":
            return 404, {"detail": f"no such endpoint: {self.path}"}
        if not self.authorized:
            return 401, self.refusal("invalid key")
        wrong = [name for name, value in body.items() if not isinstance(value, _FIELDS.get(name, ()))]
        if wrong or not body.get("model") or not body.get("messages"):
            return 400, {"message": f"unknown, missing or wrongly typed fields: {', '.join(wrong)}"}
        return None


class ChatServer(FaultyServer):
    """``POST /v1/chat/completions``. `model` ranks, or answers in its own words; a fault "" is none."""

    handler = _Handler

    def __init__(self, *, key: str | None = None, model: Model = by_words) -> None:
        super().__init__(key=key)
        self.model = model

    @property
    def url(self) -> str:
        """For `LlmReranker(url=…)`."""
        return f"{super().url}/v1"


def _completion(body: dict[str, Any], ranking: list[str] | str, fault: str) -> Any:
    """The body of an answer, with what is wrong with it."""
    message = {"role": "assistant", "content": _said(ranking, fault)}
    if fault == "refusal":
        message["refusal"] = "I cannot help with that."
    completion: dict[str, Any] = {
        "object": "chat.completion",
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "length" if fault == "half" else "stop"}],
        "usage": {
            "prompt_tokens": sum(len(each["content"].split()) for each in body["messages"]),
            "completion_tokens": len(ranking.split() if isinstance(ranking, str) else ranking),
        },
    }
    match fault:
        case "deep":
            return "[" * 100_000
        case "flood":
            return json.dumps(completion) + " " * 2_000_000
        case "list":
            return [completion]
        case "no choices":
            del completion["choices"]
        case "empty choices":
            completion["choices"] = []
        case "no message":
            completion["choices"][0]["message"] = None
        case "error":
            return {"error": {"message": "the model is overloaded"}}
        case "no usage":
            del completion["usage"]
        case "odd usage":
            completion["usage"] = {"prompt_tokens": "many", "completion_tokens": True}
    return completion


def _said(ranking: list[str] | str, fault: str) -> Any:
    """The model's words."""
    if isinstance(ranking, str):
        return _own_words(ranking, fault)
    listed = json.dumps({"ranking": ranking})
    match fault:
        case "nonsense":
            return "These documents are all about waste, so I would rather not choose among them."
        case "prose":
            return f"Sure! {ranking[-1]} is the worst; here are all.\n\n```json\n{listed}\n```\nAnything else?"
        case "arrows":
            return " > ".join(f"[{label}]" for label in ranking)
        case "numbered":
            return "\n".join(f"{rank}. {label}" for rank, label in enumerate(ranking, 1))
        case "reasons":
            return "\n".join(f"{rank}. {label}: it answers." for rank, label in enumerate(ranking, 1))
        case "thoughts":
            return f"<think>{' '.join(ranking[::-1])}? No.</think>{listed}"
        case "missing":
            return json.dumps({"ranking": ranking[:-1]})
        case "repeated":
            return json.dumps({"ranking": [ranking[0], *ranking]})
        case "unknown":
            return json.dumps({"ranking": ["ZZZZZZZZ", *ranking]})
        case _:
            return _own_words(listed, fault)


def _own_words(answer: str, fault: str) -> Any:
    """An answer as it is, with what may be wrong with any."""
    match fault:
        case "null" | "refusal":
            return None
        case "nothing":
            return " \n"
        case "nonsense":
            return "That is hard to say, so I would rather not."
        case "half":
            return answer[: len(answer) // 2]
        case "prose":
            return f"Sure!\n\n```json\n{answer}\n```\nAnything else?"
        case "thoughts":
            return f"<think>{answer[::-1]}? No.</think>{answer}"
        case "parts":
            return [{"type": "thinking", "thinking": []}, {"type": "text", "text": answer}]
        case _:
            return answer
