"""A real HTTP server that fails on request: the base of the plugins' test servers."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self

__all__ = ["FaultyHandler", "FaultyServer", "Received"]

_MOMENT = 0.01  # seconds
_MEETING = 10.0  # seconds that a request waits at the rendezvous, before its connection ends


@dataclass(frozen=True, slots=True)
class Received:
    """A request as the server saw it: seconds of a monotonic clock, a number per connection, the JSON body."""

    seconds: float
    connection: int
    body: dict[str, Any]


class FaultyServer:
    """A server on a free port of 127.0.0.1, running inside its context.

    `key` is the bearer token that requests must have; None accepts any. `faults` apply to the next requests, one
    each; `fault` to every request when `faults` is empty. `received` holds every request, in the order of
    arrival, `peak` the maximum number of concurrent requests, `left` the number of clients that disconnected
    while waiting (`left_one` is set by each). Requests wait for one another at the `rendezvous`, if there is one,
    before they are answered. `connections` is the number of connections opened, `living` the number of open ones.
    """

    handler: ClassVar[type[FaultyHandler]]

    def __init__(self, *, key: str | None = None) -> None:
        self.key = key
        self.faults: deque[str] = deque()
        self.fault: str | None = None
        self.received: list[Received] = []
        self.peak = self.left = self.connections = self.living = 0
        self.left_one = threading.Event()
        self.rendezvous: threading.Barrier | None = None
        self.closing = threading.Event()
        self._open = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._http = _Server(("127.0.0.1", 0), type("Handler", (self.handler,), {"owner": self}))
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": _MOMENT}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its URL, without a path."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def arrive(self, connection: int, body: dict[str, Any]) -> str | None:
        """Record a request, and return the fault for it."""
        with self._lock:
            self.received.append(Received(time.monotonic(), connection, body))
            self._open += 1
            self.peak = max(self.peak, self._open)
            return self.faults.popleft() if self.faults else self.fault

    def leave(self) -> None:
        """Record that a request is finished."""
        with self._lock:
            self._open -= 1

    def client_left(self) -> None:
        """Record that a client disconnected before its response."""
        with self._lock:
            self.left += 1
        self.left_one.set()

    def connect(self) -> int:
        """Record a connection, and number it."""
        with self._lock:
            self.connections += 1
            self.living += 1
            return self.connections

    def disconnect(self) -> None:
        """Record that a connection has ended."""
        with self._lock:
            self.living -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect, which many faults cause."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class FaultyHandler(BaseHTTPRequestHandler):
    """One connection. A server implements `respond`, and `refusal` if its errors have another form.

    `respond` sends the responses that `fails` has not sent, and rejects requests that are not `authorized`.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: Any

    def respond(self, body: dict[str, Any], fault: str | None) -> None:
        """Respond to a request, with `fault`, if any."""
        raise NotImplementedError

    def refusal(self, message: str) -> Any:
        """The body of an error."""
        return {"message": message}

    @property
    def authorized(self) -> bool:
        """Whether the request has the server's key, or the server has none."""
        return bool(self.headers.get("Authorization") == (self.owner.key and f"Bearer {self.owner.key}"))

    def setup(self) -> None:
        """Count the connection."""
        super().setup()
        self.connection_number = self.owner.connect()

    def finish(self) -> None:
        """Stop counting the connection."""
        super().finish()
        self.owner.disconnect()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Do nothing: `BaseHTTPRequestHandler` would write to stderr."""

    def do_POST(self) -> None:
        """Answer one request, or fail as requested."""
        try:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        except ValueError:  # the client left in the middle of its request
            self.close_connection = True
            return
        fault = self.owner.arrive(self.connection_number, body)
        self._waits = True
        try:
            if self.owner.rendezvous is not None:
                self.owner.rendezvous.wait(timeout=_MEETING)
            self.respond(body, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            self.owner.client_left()
        except threading.BrokenBarrierError:
            self.close_connection = True
        finally:
            self._answered()

    def _answered(self) -> None:
        if self._waits:
            self._waits = False
            self.owner.leave()

    def fails(self, fault: str) -> bool:
        """Produce the faults that every service can have, and return whether `fault` was one of them.

        That is a status, perhaps with Retry-After; ``echo``, which gives the key back; ``silence`` until the
        client leaves or the server closes; ``trickle``, a byte at a time without an end; ``hang up`` in the
        middle of an answer; ``not json``, a page of HTML.
        """
        if fault[:3].isdigit():
            status, _, wait = fault.partition(" retry-after ")
            headers = {"Retry-After": wait} if wait else {}
            self.send(int(status), self.refusal(f"told to answer {status}"), headers)
        elif fault == "echo":
            given = self.headers.get("Authorization", "")
            self.send(401, self.refusal(f"invalid api token: {given}"), {"X-Received": given})
        elif fault == "silence":
            self._wait_until_left()
        elif fault == "trickle":
            self._trickle()
        elif fault == "hang up":
            self.send(200, self.refusal("told to hang up"), cut=True)
        elif fault == "not json":
            self.send(200, "<html>a proxy's greeting</html>")
        else:
            return False
        return True

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        """Send JSON, or text or bytes unchanged; `cut` ends the connection before the end."""
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self._answered()  # before the client can know, and send another request
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut

    def _wait_until_left(self) -> None:
        self.connection.settimeout(_MOMENT)
        while not self.owner.closing.is_set():
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
        while not self.owner.closing.wait(_MOMENT):
            self.wfile.write(b" ")
        self.close_connection = True
