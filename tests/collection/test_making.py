"""A collection, or a snapshot, is in its directory whole or not at all, whichever process is killed or comes in
between.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support import TOPICS, NgramEmbedder

from hybridrank import Collection, Document
from hybridrank.collection import folder
from hybridrank.errors import InputError, StorageError
from hybridrank.retrieval import BM25, Faiss

ARMS = {"bm25": BM25(), "dense": Faiss(embedder=NgramEmbedder())}


def killed_in(name: str, work: Callable[[], object]) -> None:
    """Do the work in a forked child that is killed where it calls a function of `folder`."""
    pid = os.fork()
    if pid == 0:
        setattr(folder, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        work()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("name", ["create_tables", "Writer"])
def test_where_one_was_killed_another_makes_it(tmp_path: Path, name: str) -> None:
    killed_in(name, lambda: Collection.create(tmp_path / "c", ARMS))

    with pytest.raises(StorageError, match="there is no collection in"):
        Collection.open(tmp_path / "c", ARMS)
    with Collection.create(tmp_path / "c", ARMS) as collection:
        collection.add(TOPICS)
        assert len(collection) == len(TOPICS)


def test_where_a_snapshot_was_killed_another_is_made(tmp_path: Path) -> None:
    with Collection.create(tmp_path / "c", ARMS) as collection:
        collection.add(TOPICS)
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / ".collection.db").write_bytes(b"half a page")
        (tmp_path / "s" / ".collection.db-journal").write_bytes(b"of another")
        collection.snapshot(tmp_path / "s")
    with Collection.open(tmp_path / "s", ARMS) as copy:
        assert list(copy.documents()) == TOPICS


def test_of_many_who_make_it_at_once_one_does(tmp_path: Path) -> None:
    together = threading.Barrier(8)
    made: list[Collection] = []
    refused: list[StorageError] = []

    def make() -> None:
        together.wait()
        try:
            made.append(Collection.create(tmp_path / "c", ARMS))
        except StorageError as error:
            refused.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 7)
    assert all("already holds a collection: open it" in str(error) for error in refused)
    made[0].add(TOPICS)
    with Collection.open(tmp_path / "c", ARMS) as again:
        assert list(again.documents()) == TOPICS
    made[0].close()


@pytest.mark.parametrize("name", ["$year", "\ud800", 7])
def test_a_field_that_no_filter_can_name_is_not_declared(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="a field's name"):
        Collection.create(tmp_path / "c", ARMS, indexed_fields=[name])
    assert not (tmp_path / "c").exists()


def test_a_file_stands_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dear")
    with pytest.raises(StorageError, match="no collection can be made in"):
        Collection.create(tmp_path / "file", ARMS)
    with Collection.create(tmp_path / "c", ARMS) as collection:
        with pytest.raises(StorageError, match="no snapshot can be made in"):
            collection.snapshot(tmp_path / "file")
        with pytest.raises(StorageError, match="no snapshot can be made in"):
            collection.snapshot(tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "dear"


def test_what_a_failure_left_out_can_be_made_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(folder, "create_tables", fail)
        with pytest.raises(StorageError, match="No space left"):
            Collection.create(tmp_path / "c", ARMS)
    assert not (tmp_path / "c").exists()
    with Collection.create(tmp_path / "c", ARMS) as collection:
        collection.add([Document("a", "text")])
