from __future__ import annotations

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_an_example_runs(script):
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout


class Chat(BaseHTTPRequestHandler):
    """Streams one answer as OpenAI's chat completions do."""

    received: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
        for part in ("It is ", "composted [1", "], nobody knows [9].\x1b[2J"):
            event = {"choices": [{"delta": {"content": part}}]}
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b'data: {"choices": [], "usage": {}}\n\ndata: [DONE]\n\n')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def ask(tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "compost.md").write_text("# Composting\n\nOrganic waste is composted to nutrient-rich soil.\n")
    (notes / "plastic.md").write_text("# Plastic\n\nPlastic waste requires recycling facilities.\n")
    Chat.received.clear()
    with HTTPServer(("127.0.0.1", 0), Chat) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        (script,) = [path for path in SCRIPTS if path.name == "ask_my_docs.py"]
        where = {"CHAT_URL": f"http://127.0.0.1:{server.server_port}/v1/", "NO_PROXY": "127.0.0.1"}

        def ask(question: str, **variables: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, script, notes, question]
            env = {**os.environ, **where, **variables}
            return subprocess.run(command, capture_output=True, text=True, check=False, env=env)

        yield ask
        server.shutdown()


def test_a_chat_model_answers_from_a_folder_and_its_citations_are_resolved(ask):
    done = ask("How to process organic waste?")
    assert done.returncode == 0, done.stderr
    assert "It is composted [1], nobody knows [9]." in done.stdout
    assert "[1] compost.md" in done.stdout
    assert "\x1b" not in done.stdout
    assert "sources that do not exist: 9" in done.stderr
    (request,) = Chat.received
    assert "[1] Composting, compost.md" in request["messages"][1]["content"]
    assert request["stream"] is True


def test_a_question_that_the_folder_does_not_answer_reaches_no_model(ask):
    done = ask("Who won the world cup of 1974?")
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("Not found")
    assert not Chat.received


def test_the_tickets_of_another_tenant_are_not_found():
    (script,) = [path for path in SCRIPTS if path.name == "support_tickets.py"]
    out = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert "acme asks for globex's tickets: 0 found" in out
    acme = out[out.index("\nacme\n") : out.index("\nglobex\n")]
    assert "acme-102" in acme
    assert "globex" not in acme
    newest = out[out.index("acme, newer tickets preferred") :].splitlines()[1]
    assert "acme-102" in newest
