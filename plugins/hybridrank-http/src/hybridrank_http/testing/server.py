"""The server: a real one, on a free port of this machine."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from hybridrank_http.testing.dialects import DIALECTS
from hybridrank_http.testing.faults import MALFORMED, results_of

__all__ = ["Received", "RerankServer"]

_MOMENT = 0.01  # seconds


@dataclass(frozen=True, slots=True)
class Received:
    """A request as the server saw it: seconds of a monotonic clock, a number per connection, the JSON body."""

    seconds: float
    connection: int
    body: dict[str, Any]


class RerankServer:
    """A rerank server of one `flavour` on 127.0.0.1, from entering the context to leaving it.

    It reads `maximum` characters of a document, and cuts or refuses longer ones, as the real one does with tokens.
    `faults` are for the next requests, one each; `fault` is for every request that finds `faults` empty.
    `received` holds every request, in the order of arrival, `peak` the most that were open at one time, `left`
    how often a client left while it was kept waiting (`left_one` is set by each). Requests wait for one another
    at the `rendezvous`, if there is one, before they are answered. Redirects lead to `elsewhere`.
    `connections` is how many were opened, `living` how many of them are.
    """

    def __init__(self, flavour: str = "cohere", *, key: str | None = None, maximum: int = 10_000_000) -> None:
        self.dialect = DIALECTS[flavour]
        self.key = key
        self.maximum = maximum
        self.faults: deque[str] = deque()
        self.fault: str | None = None
        self.received: list[Received] = []
        self.peak = self.left = self.connections = 0
        self.left_one = threading.Event()
        self.rendezvous: threading.Barrier | None = None
        self.elsewhere = "/elsewhere"
        self.living = 0
        self._open = 0
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
        """For `HttpReranker(url=…)`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def _arrive(self, connection: int, body: dict[str, Any]) -> str | None:
        with self._lock:
            self.received.append(Received(time.monotonic(), connection, body))
            self._open += 1
            self.peak = max(self.peak, self._open)
            return self.faults.popleft() if self.faults else self.fault

    def _leave(self) -> None:
        with self._lock:
            self._open -= 1

    def _client_left(self) -> None:
        with self._lock:
            self.left += 1
        self.left_one.set()

    def _connect(self) -> int:
        with self._lock:
            self.connections += 1
            self.living += 1
            return self.connections

    def _disconnect(self) -> None:
        with self._lock:
            self.living -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: RerankServer

    def setup(self) -> None:
        super().setup()
        self.connection_number = self.owner._connect()

    def finish(self) -> None:
        super().finish()
        self.owner._disconnect()

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
            self.owner._client_left()
        finally:
            self.owner._leave()

    def _respond(self, body: dict[str, Any], fault: str | None) -> None:
        given = self.headers.get("Authorization", "")
        if fault is None:
            self._send(*self._judged(body), self.owner.dialect.headers(body))
        elif fault[:3].isdigit():
            status, _, wait = fault.partition(" retry-after ")
            headers = {"Retry-After": wait} if wait else {}
            if status.startswith("3"):
                headers["Location"] = self.owner.elsewhere
            self._send(int(status), self.owner.dialect.refusal(f"told to answer {status}"), headers)
        elif fault == "echo":
            refusal = self.owner.dialect.refusal(f"invalid api token: {given}")
            self._send(401, refusal, {"X-Received": given})
        elif fault == "echo score":
            _, answer = self._judged(body)
            for result in results_of(answer):
                result.update(relevance_score=given, score=given)
            self._send(200, answer)
        elif fault == "silence":
            self._wait_until_left()
        elif fault == "trickle":
            self._trickle()
        elif fault == "hang up":
            self._send(200, self._judged(body)[1], cut=True)
        elif fault == "endless":
            self._send(200, " " * (64 << 20))
        elif fault == "html":
            self._send(200, "<html>a proxy's greeting</html>", {"Content-Type": "text/html; charset=utf-8"})
        elif fault == "plain":
            self._send(200, self._judged(body)[1], {"Content-Type": "text/plain"})
        elif fault == "error body":
            self._send(200, self.owner.dialect.refusal("the model is loading"))
        elif fault == "compressed":
            self._send(
                200, gzip.compress(json.dumps(self._judged(body)[1]).encode()), {"Content-Encoding": "gzip"}
            )
        else:
            self._send(200, MALFORMED[fault](self._judged(body)[1]))

    def _judged(self, body: dict[str, Any]) -> tuple[int, Any]:
        """What the real server would answer."""
        dialect = self.owner.dialect
        wrong = [name for name, value in body.items() if not isinstance(value, dialect.takes.get(name, ()))]
        documents = body.get("documents", body.get("texts", []))
        if self.path != dialect.path:
            return 404, dialect.refusal(f"no such endpoint: {self.path}")
        if self.owner.key is not None and self.headers.get("Authorization") != f"Bearer {self.owner.key}":
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
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
