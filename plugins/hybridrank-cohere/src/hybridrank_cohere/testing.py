"""A local server that speaks Cohere's rerank protocol, and misbehaves when it is told to.

For tests of whatever calls the API: no key, no network, no cost. It really scores, by the share of words that
query and document have in common, and it refuses what the API refuses.

>>> from hybridrank_cohere import CohereReranker
>>> with RerankServer() as server:
...     reranker = CohereReranker(base_url=server.url, limits={"max_wait": 0.1})
...     server.faults.append("500")  # for the next request; it is tried again, and answered
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["FAULTS", "Received", "RerankServer"]

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
)
"""What `RerankServer.faults` and `RerankServer.fault` understand."""

_MOMENT = 0.01  # seconds
_FIELDS = {"model": str, "query": str, "documents": list, "top_n": int, "max_tokens_per_doc": int}


@dataclass(frozen=True, slots=True)
class Received:
    """A request as the server saw it: seconds of a monotonic clock, a number per connection, the JSON body."""

    seconds: float
    connection: int
    body: dict[str, Any]


class RerankServer:
    """``POST /v2/rerank`` on a free port of 127.0.0.1, from entering the context to leaving it.

    `faults` are for the next requests, one each; `fault` is for every request that finds `faults` empty.
    `received` holds every request, in the order of arrival, `peak` the most that were open at one time; `left_one`
    is set when a client has left while it was kept waiting. Requests wait for one another at the `rendezvous`, if
    there is one, before they are answered.
    """

    def __init__(self, *, key: str = "test-key") -> None:
        self.key = key
        self.faults: deque[str] = deque()
        self.fault: str | None = None
        self.received: list[Received] = []
        self.peak = 0
        self.left_one = threading.Event()
        self.rendezvous: threading.Barrier | None = None
        self._open = 0
        self._connections = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": _MOMENT}, daemon=True
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
        """For `CohereReranker(base_url=…)`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def connections(self) -> int:
        """How many connections were opened."""
        return self._connections

    def _arrive(self, connection: int, body: dict[str, Any]) -> str | None:
        with self._lock:
            self.received.append(Received(time.monotonic(), connection, body))
            self._open += 1
            self.peak = max(self.peak, self._open)
            return self.faults.popleft() if self.faults else self.fault

    def _leave(self) -> None:
        with self._lock:
            self._open -= 1

    def _connect(self) -> int:
        with self._lock:
            self._connections += 1
            return self._connections


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: RerankServer

    def setup(self) -> None:
        super().setup()
        self.connection_number = self.owner._connect()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Stay quiet: `BaseHTTPRequestHandler` would write to stderr."""

    def do_POST(self) -> None:
        """Answer one request, or misbehave."""
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        except ValueError:  # the client left in the middle of its request
            self.close_connection = True
            return
        fault = self.owner._arrive(self.connection_number, body)
        try:
            if self.owner.rendezvous is not None:
                self.owner.rendezvous.wait(timeout=10)
            self._respond(body, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            self.owner.left_one.set()
        finally:
            self.owner._leave()

    def _respond(self, body: dict[str, Any], fault: str | None) -> None:
        if fault is None:
            refusal = self._refusal(body)
            if refusal:
                self._send(*refusal)
            else:
                self._send(200, _answer(body))
        elif fault[:3].isdigit():
            status, _, wait = fault.partition(" retry-after ")
            headers = {"Retry-After": wait} if wait else {}
            self._send(int(status), {"message": f"told to answer {status}"}, headers)
        elif fault == "echo":
            given = self.headers.get("Authorization", "")
            self._send(401, {"message": f"invalid api token: {given}"}, {"X-Received": given})
        elif fault == "silence":
            self._wait_until_left()
        elif fault == "trickle":
            self._trickle()
        elif fault == "hang up":
            self._send(200, _answer(body), cut=True)
        else:
            self._send(200, _malformed(body, fault))

    def _refusal(self, body: dict[str, Any]) -> tuple[int, dict[str, str]] | None:
        """What the API would refuse, and how."""
        if self.path != "/v2/rerank":
            return 404, {"message": f"no such endpoint: {self.path}"}
        if self.headers.get("Authorization") != f"Bearer {self.owner.key}":
            return 401, {"message": "invalid api token"}
        wrong = [name for name, value in body.items() if not isinstance(value, _FIELDS.get(name, ()))]
        if wrong:
            return 422, {"message": f"unknown or wrongly typed fields: {', '.join(wrong)}"}
        if not body.get("model") or not body.get("query", "").strip():
            return 400, {"message": "invalid request: model and query must not be empty"}
        documents = body.get("documents")
        if not documents or len(documents) > 10_000:
            return 400, {"message": "invalid request: list of documents must not be empty, nor exceed 10000"}
        if not all(isinstance(text, str) and text.strip() for text in documents):
            return 400, {"message": "invalid request: a document is blank"}
        return None

    def _wait_until_left(self) -> None:
        self.connection.settimeout(_MOMENT)
        while not self.owner._closing.is_set():
            try:
                if not self.connection.recv(1):
                    raise ConnectionResetError
            except TimeoutError:
                continue
        self.close_connection = True

    def _trickle(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.owner._closing.wait(_MOMENT):
            self.wfile.write(b" ")
        self.close_connection = True

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


def _words(text: str, limit: int | None = None) -> set[str]:
    return set(re.findall(r"\w+", text.lower())[:limit])


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    """Answer as the API does: best first, each with its index and a score in [0, 1]."""
    query, results = _words(body["query"]), []
    for index, text in enumerate(body["documents"]):
        document = _words(text, body.get("max_tokens_per_doc", 4096))
        results.append({"index": index, "relevance_score": len(query & document) / len(query | document or {""})})
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
        case "not json":
            return "<html>a proxy's greeting</html>"
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
        case _:
            raise ValueError(f"no such fault: {fault!r}; known: {', '.join(FAULTS)}")
    return answer
