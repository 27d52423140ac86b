"""A local server that speaks the chat protocol, and misbehaves when it is told to.

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
import threading
from collections import deque
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["FAULTS", "ChatServer", "by_words", "documents_of", "judge_by_words"]

FAULTS = (
    # the server's
    "400",  # a status: any number from 300 to 599
    "429 retry-after 1",  # with a Retry-After header, here of 1
    "echo",  # 401, with the request's Authorization in the body and in a header
    "silence",  # no answer at all, until the server closes
    "drip",  # an answer that begins at once and never ends, a byte at a time
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


class ChatServer:
    """``POST /v1/chat/completions`` on a free port of 127.0.0.1, from entering the context to leaving it.

    `faults` are for the next requests, one each ("" for none); `fault` is for every request that finds `faults`
    empty. `received` holds the body of every request, in the order of arrival, and `connections` is how many
    were opened. Requests wait for one another at the `rendezvous`, if there is one, before they are answered.
    `model` ranks, or answers in its own words.
    """

    def __init__(self, *, key: str | None = None, model: Model = by_words) -> None:
        self.key = key
        self.model = model
        self.faults: deque[str] = deque()
        self.fault: str | None = None
        self.received: list[dict[str, Any]] = []
        self.connections = 0
        self.rendezvous: threading.Barrier | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """For `LlmReranker(url=…)`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def _arrive(self, body: dict[str, Any]) -> str | None:
        with self._lock:
            self.received.append(body)
            fault = self.faults.popleft() if self.faults else self.fault
        if fault and fault not in FAULTS and not fault[:3].isdigit():
            raise ValueError(f"no such fault: {fault!r}; known: {', '.join(FAULTS)}")
        return fault

    def _connect(self) -> None:
        with self._lock:
            self.connections += 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: ChatServer

    def setup(self) -> None:
        super().setup()
        self.owner._connect()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Stay quiet: `BaseHTTPRequestHandler` would write to stderr."""

    def do_POST(self) -> None:
        """Answer one request, or misbehave."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        fault = self.owner._arrive(body)
        try:
            if self.owner.rendezvous is not None:
                self.owner.rendezvous.wait(timeout=10)
            self._respond(body, fault or "")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _respond(self, body: dict[str, Any], fault: str) -> None:
        if fault[:3].isdigit():
            status, _, wait = fault.partition(" retry-after ")
            headers = {"Retry-After": wait} if wait else {}
            self._send(int(status), {"error": {"message": f"told to answer {status}"}}, headers)
        elif fault == "echo":
            given = self.headers.get("Authorization", "")
            self._send(401, {"error": {"message": f"invalid key: {given}"}}, {"X-Received": given})
        elif fault == "silence":
            self.owner._closing.wait()
            self.close_connection = True
        elif fault == "drip":
            self._drip()
        elif (refusal := self._refusal(body)) is not None:
            self._send(*refusal)
        else:
            completion = _completion(body, self.owner.model(body["messages"]), fault)
            self._send(200, completion, cut=fault == "hang up")

    def _refusal(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """What a server would refuse, and how."""
        if self.path != "/v1/chat/completions":
            return 404, {"detail": f"no such endpoint: {self.path}"}
        if self.headers.get("Authorization") != (self.owner.key and f"Bearer {self.owner.key}"):
            return 401, {"error": {"message": "invalid key"}}
        wrong = [name for name, value in body.items() if not isinstance(value, _FIELDS.get(name, ()))]
        if wrong or not body.get("model") or not body.get("messages"):
            return 400, {"message": f"unknown, missing or wrongly typed fields: {', '.join(wrong)}"}
        return None

    def _send(
        self, status: int, content: Any, headers: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.close_connection = True
        while not self.owner._closing.wait(0.01):
            self.wfile.write(b" ")


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
        case "not json":
            return "<html>a proxy's greeting</html>"
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
        case "null" | "refusal":
            return None
        case "nothing":
            return " \n"
        case "nonsense":
            return "These documents are all about waste, so I would rather not choose among them."
        case "half":
            return listed[: len(listed) // 2]
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
        case "parts":
            return [{"type": "thinking", "thinking": []}, {"type": "text", "text": listed}]
        case "missing":
            return json.dumps({"ranking": ranking[:-1]})
        case "repeated":
            return json.dumps({"ranking": [ranking[0], *ranking]})
        case "unknown":
            return json.dumps({"ranking": ["ZZZZZZZZ", *ranking]})
        case _:
            return listed


def _own_words(answer: str, fault: str) -> Any:
    """An answer that is no ranking, with what is wrong with it."""
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
