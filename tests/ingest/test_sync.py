"""Synchronization with files, from Python and on the command line."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hybridrank import Collection, Pipeline
from hybridrank.cli.output import ProgressLines
from hybridrank.errors import InputError
from hybridrank.retrieval import BM25

_BLOCKING = """
import time
from pathlib import Path
import numpy as np
from hybridrank import register
from hybridrank.component import Component

class Blocking(Component):
    use = "blocking"

    def embed(self, texts, *, role):
        with Path("embedded").open("a") as file:
            file.writelines(f"{text.split()[0]}\\n" for text in texts)
        if any("wait" in text for text in texts) and not Path("go").exists():
            time.sleep(3)
        return np.full((len(texts), 4), 0.5, np.float32)

register("embedder", "blocking", Blocking)
"""


@pytest.fixture
def notes(tmp_path):
    root = tmp_path / "notes"
    root.mkdir()
    (root / "a.md").write_text("# Soil\nWorms make it rich.")
    (root / "rows.jsonl").write_text('{"id": "r1", "text": "Wood burns."}\n{"id": "r2"}\n')
    return root


@pytest.fixture
def collection(tmp_path):
    with Collection.create(tmp_path / "col", {"bm25": BM25()}) as made:
        yield made


def names(paths):
    return [Path(path).name for path in paths]


def test_the_report_has_every_file_by_its_outcome(collection, notes):
    first = collection.sync(notes)
    assert (names(first.added), first.documents_stored) == (["a.md", "rows.jsonl"], 2)
    assert not first.complete
    ((path, (reason,)),) = first.left_out.items()
    assert Path(path).name == "rows.jsonl"
    assert "2" in reason
    assert "added=2" in repr(first)
    assert json.loads(json.dumps(first.to_dict()))["added"] == first.added

    (notes / "a.md").write_text("# Soil\nRoots hold it.")
    (notes / "rows.jsonl").unlink()
    second = collection.sync([notes], prune=True)
    assert (names(second.changed), names(second.removed), second.documents_removed) == (
        ["a.md"],
        ["rows.jsonl"],
        1,
    )
    assert second.complete
    assert list(collection) == ["a.md"]


def test_progress_counts_files_and_documents(collection, notes):
    seen = []
    collection.sync(notes, progress=seen.append)
    assert (seen[0].files_done, seen[0].files) == (0, 2)
    assert seen[-1].files_done == 2
    assert {(Path(at.path).name, at.documents) for at in seen if at.documents} == {("a.md", 1), ("rows.jsonl", 1)}


def test_what_was_stored_before_an_exception_is_kept(collection, notes):
    def stop(at):
        if at.files_done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collection.sync(notes, progress=stop)
    assert list(collection) == ["a.md"]
    again = collection.sync(notes)
    assert (names(again.unchanged), names(again.added)) == (["a.md"], ["rows.jsonl"])


@pytest.fixture
def two(tmp_path):
    for root, text in (("docs", "Soil is rich."), ("notes", "Wood burns.")):
        (tmp_path / "two" / root).mkdir(parents=True)
        (tmp_path / "two" / root / "readme.md").write_text(text)
    return tmp_path / "two" / "docs", tmp_path / "two" / "notes"


def test_names_that_collide_get_the_name_of_their_root_and_keep_it(collection, two):
    docs, notes = two
    collection.sync(docs)
    assert len(collection.sync(notes).added) == 1
    ids = {"readme.md": "Soil is rich.", "notes/readme.md": "Wood burns."}
    assert {doc_id: each.text for doc_id, each in collection.get(list(collection)).items()} == ids
    for order in ([notes, docs], [docs, notes], [notes], [docs]):
        assert len(collection.sync(order).unchanged) == len(order)
    (docs / "readme.md").unlink()
    assert len(collection.sync([docs, notes], prune=True).removed) == 1
    assert collection.sync(notes).complete
    assert list(collection) == ["notes/readme.md"]


def test_roots_of_one_name_get_further_names(collection, tmp_path):
    roots = [tmp_path / name / "docs" for name in ("a", "b", "c")]
    for root in roots:
        root.mkdir(parents=True)
        (root / "x.md").write_text(f"of {root.parent.name}")
    assert collection.sync(roots).complete
    assert sorted(collection) == ["c/docs/x.md", "docs/x.md", "x.md"]
    assert len(collection.sync(roots[::-1]).unchanged) == 3


def test_a_path_that_does_not_exist_is_an_error(collection, tmp_path):
    with pytest.raises(InputError, match="there is no file or directory"):
        collection.sync(tmp_path / "absent")


def test_an_interrupted_command_says_what_it_has_kept_and_goes_on(tmp_path):
    (tmp_path / "notes").mkdir()
    for name in ("a", "b"):
        (tmp_path / "notes" / f"{name}.txt").write_text(f"{name} is short")
    (tmp_path / "notes" / "c.txt").write_text("c has to wait")
    (tmp_path / "blocking.py").write_text(_BLOCKING)
    (tmp_path / "config.toml").write_text('[retrievers.dense]\nuse = "faiss"\nembedder = "blocking"\n')
    command = [sys.executable, "-c", "from hybridrank.cli import main; main()", "index", "notes", "--into", "col"]
    command += ["--import", "blocking.py", "--trust"]
    first = subprocess.Popen(
        [*command, "--config", "config.toml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    embedded = tmp_path / "embedded"
    while first.poll() is None and not (embedded.exists() and "c\n" in embedded.read_text()):
        pass
    assert first.poll() is None, first.communicate()
    os.kill(first.pid, signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert err == (
        "interrupted: 2 of 3 files done, 2 documents stored; the same command goes on where it stopped\n"
    )
    (tmp_path / "go").touch()
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert second.stdout.startswith("1 file added, 0 changed (1 document stored), 2 unchanged")
    assert embedded.read_text().split().count("a") == 1


def test_lines_of_progress_come_every_ten_seconds(capsys):
    now = 0.0
    lines = ProgressLines(["files", "documents"], clock=lambda: now)
    lines.advance("files", 1, 40)
    now = 9.0
    lines.advance("documents", 5, 9000)
    assert capsys.readouterr().err == ""
    now = 10.0
    lines.advance("files", 2, 40)
    assert capsys.readouterr().err == "files 2 of 40, documents 5 of 9,000; about 0:03:10 left\n"
    now = 19.0
    lines.advance("files", 3, 40)
    assert capsys.readouterr().err == ""


def test_a_watched_folder_is_followed_until_the_event_is_set(collection, notes):
    stop = threading.Event()
    reports = collection.watch(notes, stop=stop, prune=True)
    assert len(next(reports).added) == 2
    (notes / "half.docx").write_bytes(b"PK")
    assert names(next(reports).failed) == ["half.docx"]
    (notes / "half.docx").unlink()
    (notes / "b.md").write_text("Wood burns.")
    seen = next(reports)
    while "b.md" not in names(seen.added):
        seen = next(reports)
    (notes / "b.md").unlink()
    assert names(next(reports).removed) == ["b.md"]
    stop.set()
    assert list(reports) == []


def test_the_command_line_watches_until_it_is_interrupted(tmp_path, notes):
    (tmp_path / "config.toml").write_text('[retrievers.bm25]\nuse = "bm25"\n')
    command = [sys.executable, "-c", "from hybridrank.cli import main; main()", "index", "notes", "--into", "col"]
    running = subprocess.Popen(
        [*command, "--config", "config.toml", "--watch", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert running.stdout is not None
        assert running.stderr is not None
        assert len(json.loads(running.stdout.readline())["added"]) == 2
        assert running.stderr.readline() == "watching 1 path; Ctrl-C stops\n"
        (notes / "new.md").write_text("Wood burns.")
        assert names(json.loads(running.stdout.readline())["added"]) == ["new.md"]
        os.kill(running.pid, signal.SIGINT)
        _, err = running.communicate(timeout=60)
        assert (running.returncode, err) == (0, "stopped watching\n")
    finally:
        running.kill()


def test_a_pipeline_syncs_unless_it_is_scoped_or_in_memory(tmp_path, notes):
    with Pipeline.build([], path=tmp_path / "pipe", retrievers={"bm25": BM25()}, reranker=None) as pipeline:
        assert len(pipeline.sync(notes, metadata={"tenant": "a"}).added) == 2
        assert pipeline.scoped({"tenant": "a"}).search("worms").hits[0].id == "a.md"
        with pytest.raises(InputError, match="scoped pipeline cannot sync"):
            pipeline.scoped({"tenant": "a"}).sync(notes)
    with pytest.raises(InputError, match="in memory cannot sync"):
        Pipeline.build([], retrievers={"bm25": BM25()}, reranker=None).sync(notes)
