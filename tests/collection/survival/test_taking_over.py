"""An open collection takes over the indexes that another one saves, and misses no change while it does."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
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
            with reader.reading():  # follows, in this thread
                pass
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


def test_a_closed_collection_takes_over_nothing_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loading, go_on, loaded = threading.Event(), threading.Event(), threading.Event()
    with Collection.create(tmp_path / "collection", arms()) as writer:
        reader = Collection.open(writer.path, arms())
        load = reader._live.generations.load

        def slowly(*args: Any) -> Any:
            loading.set()
            go_on.wait(30)
            try:
                return load(*args)
            finally:
                loaded.set()

        writer.add([Document("d0", "copy d0")])
        reader.refresh()
        monkeypatch.setattr(reader._live.generations, "load", slowly)
        writer.compact()
        writer.add([Document("d1", "copy d1")])
        reader.refresh()
        assert loading.wait(30)
        thread, closing = taking_over(), threading.Thread(target=reader.close)
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()  # the other one still reads the files
        go_on.set()
        closing.join()
        assert loaded.is_set()
        thread.join()


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
