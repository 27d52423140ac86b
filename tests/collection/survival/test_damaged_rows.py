"""Values that hybridrank never writes, in every column of the database: our own error, or right answers.

One process tries many of them, under limits of time and memory that none of them may reach.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from collection.survival.common import arms, child, times

from hybridrank import Document, Pipeline
from hybridrank.collection import Collection
from hybridrank.errors import HybridrankError
from hybridrank.ingest.splitting.splitter import Splitter

pytestmark = pytest.mark.stress

VALUES: list[Any] = [
    None, 0, -1, 7, 2_000_000_000, 2**62, 2**63 - 1, -(2**63), 0.5, 1e300, "", "text", "[]", "{}", '"a"', "[1]",
    '{"a":', '{"a":NaN}', "[" * 5000, "../../escaped", "/etc", "3-0123456789ab", b"", b"\xff\xfe\x00", b"[]",
    bytes(256),
]  # fmt: skip
SECONDS = 60.0
BYTES = 3 << 30  # of address space, beyond what is in use


def make(path: Path, *, splits: bool) -> None:
    """A collection that has something in every table, and saved indexes that are behind."""
    splitter = Splitter(max_tokens=32, overlap=0) if splits else None
    with Collection.create(path, arms(), splitter=splitter, indexed_fields=["year"]) as collection:
        collection.put_source("file", "digest", [Document("s", "# Wings\n\ncopy s of a source " + "wing " * 60)])
        collection.add(
            [Document(f"d{n}", f"copy d{n} " + "wing flap. " * 30, metadata={"year": n}) for n in range(6)]
        )
        other = None if splits else Splitter(max_tokens=32, overlap=0)
        collection.reindex(splitter=other, retrievers={"bm25": arms()["bm25"]})
        collection.rollback(retrievers=arms())
        collection.delete(["d1"])
        collection.add([Document("late", "copy late", title="Late", metadata={"year": 3, "tag": "x"})])


def damages(path: Path) -> Iterator[tuple[str, Any]]:
    """Each column of each table, with each value that it can be made to hold."""
    with closing(sqlite3.connect(path / "collection.db")) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                for value in VALUES:
                    for which in ("min", "max"):
                        one = f"(SELECT {which}({column}) FROM {table})"
                        yield f"UPDATE {table} SET {column} = ? WHERE {column} = {one}", value


def use(path: Path) -> list[str]:
    """Do everything with a collection; returns what raised an error that is not ours, or gave a wrong answer."""
    wrong: list[str] = []

    def attempt(name: str, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except HybridrankError:
            return None
        except Exception:
            wrong.append(f"{name}: {traceback.format_exc(limit=-4)}")
            return None

    pipeline = attempt("open", lambda: Pipeline.open(path, retrievers=arms(), reranker=None))
    if pipeline is None:
        return wrong
    collection = pipeline.collection
    listed = attempt("documents", lambda: list(collection.documents()))
    count = attempt("len", lambda: len(collection))
    ids = attempt("ids", lambda: list(collection))
    if listed is not None and count is not None and ids is not None:
        if not len(listed) == count == len(ids):
            wrong.append(f"{len(listed)} documents, {len(ids)} ids, counted {count}")
        held = {document.id: document for document in listed}
        if (got := attempt("get", lambda: collection.get(ids))) is not None and got != held:
            wrong.append(f"got {got}, listed {held}")
    attempt("count", lambda: collection.count({"year": {"$gte": 2}, "tag": "x"}))
    attempt("filtered", lambda: pipeline.search("wing", filters={"$not": {"year": 2}}))
    attempt("chosen", lambda: pipeline.search("wing", filters={"year": 2}))
    attempt("sources", collection.sources)
    attempt("units", lambda: list(collection.units()))
    attempt("statistics", collection.statistics)
    attempt("search", lambda: pipeline.search("copy d3 wing", per_document=True))
    attempt("update", lambda: collection.update_metadata({"d0": {"year": 5}}))
    attempt("add", lambda: pipeline.add([Document("new", "copy new"), Document("d2", "copy d2 again")]))
    attempt("delete", lambda: pipeline.delete(["d0", "late"]))
    attempt("put", lambda: collection.put_source("file", "other", [Document("s2", "copy s2")]))
    attempt("snapshot", lambda: collection.snapshot(path.parent / "snapshot"))
    attempt("compact", collection.compact)
    attempt("roll back", lambda: collection.rollback(retrievers={"bm25": arms()["bm25"]}))
    attempt("rolled back", lambda: pipeline.search("copy"))
    attempt("finish", collection.finish_reindex)
    attempt("after", lambda: pipeline.search("copy"))
    attempt("close", pipeline.close)
    return wrong


def try_all(folder: Path, step: int, first: int) -> None:
    """Run as a script: prints a line for each damage that is not taken well."""
    for splits in (False, True):
        template, path = folder / f"template-{splits}", folder / "copy"
        make(template, splits=splits)
        size = Path("/proc/self/statm")
        if size.exists():
            used = int(size.read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, resource.RLIM_INFINITY))
        for number, (statement, value) in enumerate(damages(template)):
            if number % step != first:
                continue
            shutil.copytree(template, path)
            try:
                with closing(sqlite3.connect(path / "collection.db")) as connection:
                    changed = connection.execute(statement, [value]).rowcount
                    connection.commit()
            except sqlite3.Error:  # a constraint: this cannot be there
                changed = 0
            if changed:
                faulthandler.dump_traceback_later(SECONDS, exit=True)
                sys.stderr.write(f"{statement} {value!r:.40}\n")
                for problem in use(path):
                    sys.stdout.write(json.dumps([splits, statement, repr(value)[:40], problem]) + "\n")
                faulthandler.cancel_dump_traceback_later()
            shutil.rmtree(path)
            shutil.rmtree(folder / "snapshot", ignore_errors=True)


def test_every_column(tmp_path: Path) -> None:
    step = times(1, 41)
    with (tmp_path / "log").open("w") as file:
        process = child("test_damaged_rows.py", tmp_path, step, 0, stdout=subprocess.PIPE, stderr=file)
        problems, _ = process.communicate()
    log = (tmp_path / "log").read_text()
    assert process.returncode == 0, log[-3000:]
    assert problems == ""
    assert log.count("UPDATE") > 10


if __name__ == "__main__":
    try_all(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
