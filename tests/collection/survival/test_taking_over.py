"""An open collection takes over the indexes that another one saves, and misses no change while it does."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from collection.survival.common import arms, assert_whole

from hybridrank import Document
from hybridrank.collection import Collection


def taking_over() -> threading.Thread:
    (thread,) = (each for each in threading.enumerate() if each.name == "hybridrank-reload")
    return thread


def has_loaded(thread: threading.Thread) -> bool:
    """Whether it has the indexes that were saved, and waits for its turn to put them in place."""
    frame = sys._current_frames()[thread.ident]
    return frame.f_code.co_name == "_reload" and "indexes" in frame.f_locals


def test_what_is_deleted_and_compacted_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    documents = {f"d{n}": Document(f"d{n}", f"copy d{n}") for n in range(20)}
    with (
        Collection.create(tmp_path / "collection", arms()) as writer,
        Collection.open(writer.path, arms()) as reader,
    ):
        writer.add(list(documents.values())[1:])
        reader.refresh()
        writer.compact()
        writer.add([documents["d0"]])
        with reader._live._catching_up:  # as a search that follows a change holds it
            reader.refresh()
            thread = taking_over()
            while not has_loaded(thread):
                time.sleep(0.001)
            writer.delete(["d3"])
            writer.compact()
            del documents["d3"]
        thread.join()
        assert_whole(reader, documents)
        writer.add([Document("new", "copy new")])
        documents["new"] = Document("new", "copy new")
        assert_whole(reader, documents)


def test_who_missed_a_deletion_and_the_compaction_after_it_has_no_ghosts(tmp_path: Path) -> None:
    documents = {f"d{n}": Document(f"d{n}", f"copy d{n}") for n in range(20)}
    with (
        Collection.create(tmp_path / "collection", arms()) as writer,
        Collection.open(writer.path, arms()) as reader,
    ):
        writer.add(documents.values())
        assert_whole(reader, documents)
        writer.delete(["d3"])
        writer.compact()
        writer.add([Document("new", "copy new")])
        del documents["d3"]
        documents["new"] = Document("new", "copy new")
        assert_whole(reader, documents)
