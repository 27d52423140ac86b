"""A wall clock that jumps moves no deadline, no rest and no wait: nothing that waits reads it."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest
from support import SharedWords

from hybridrank import Document, Pipeline
from hybridrank.errors import BackendUnavailableError
from hybridrank.rerank import Fallback
from hybridrank.retrieval import BM25

ROOT = Path(__file__).parents[3]
SOURCES = sorted([*ROOT.glob("hybridrank/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")])

READERS = {  # and what for
    "hybridrank/adjust/recency.py",  # how old a document is
    "hybridrank/collection/locks.py",  # since when a writer is at work, for people to read
    "hybridrank/runtime/files.py",  # since when a writer of a file is at work, for people to read
    "hybridrank/models/digests.py",  # whether a file is so new that it could change within its time's resolution
    "hybridrank/remote/http_errors.py",  # a Retry-After that is a date
}
WALL_CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}


def reads_wall_clock(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in WALL_CLOCK:
            return True
        if isinstance(node, ast.ImportFrom) and {f"{node.module}.{each.name}" for each in node.names} & WALL_CLOCK:
            return True
    return False


def test_only_what_is_meant_to_reads_the_wall_clock():
    library = [path for path in SOURCES if path.name != "testing.py" and "testing" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in library if reads_wall_clock(path)} == READERS


@pytest.fixture(params=[86_400.0, -86_400.0], ids=["forward", "back"])
def jumping(request, monkeypatch):
    """The wall clock goes on by a day, or back, each time that somebody looks at it."""
    real, looks = time.time, []

    def jumped():
        looks.append(None)
        return real() + len(looks) * request.param

    monkeypatch.setattr(time, "time", jumped)
    assert abs(time.time() - time.time()) > 80_000


class Gone(SharedWords):
    asked = 0

    def score(self, batch):
        type(self).asked += 1
        raise BackendUnavailableError("gone")


def test_a_search_with_a_deadline_and_a_circuit_breaker(jumping):
    documents = [Document(f"d{n}", f"waste number {n}") for n in range(5)]
    Gone.asked = 0
    fallback = Fallback(rerankers=[Gone(), SharedWords()], failure_threshold=1, cooldown=3600.0)
    pipeline = Pipeline.build(documents, retrievers={"bm25": BM25()}, reranker=fallback)
    for _ in range(3):
        result = pipeline.search("waste", deadline=60.0)
        assert result.degraded == {}
        assert result.trace.stage("rerank").details["used"] == "SharedWords"
    assert Gone.asked == 1  # its circuit is open for an hour, whatever the day
    assert 0 <= result.trace.seconds < 60
