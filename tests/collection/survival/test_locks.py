"""One writer at a time, in whatever process; a writer that dies leaves nothing locked; a forked child goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from collection.survival.common import arms, assert_whole, child, times

from hybridrank import Document, Pipeline
from hybridrank.collection import Collection
from hybridrank.errors import LockedError

pytestmark = pytest.mark.stress


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Collection.create(tmp_path / "collection", arms()).close()
    return tmp_path / "collection"


def held_up(collection: Collection, waiting: Callable[[], object]) -> None:
    """Be in the middle of a change while `waiting` runs."""
    with collection._live.changing("dropping sources"):
        waiting()


def hold(path: str) -> None:
    """Run as a script: be in the middle of a change, until a line comes in."""

    def wait() -> None:
        sys.stdout.write("holding\n")
        sys.stdout.flush()
        sys.stdin.readline()

    with Collection.open(path, arms()) as collection:
        held_up(collection, wait)


def impatient(collection: Collection) -> None:
    """Let a writer wait for less than the minute that is otherwise its patience."""
    collection._live._writer.timeout = 0.2


@contextmanager
def another_writer(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = child("test_locks.py", path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_writer_waits_and_is_told_who_writes(path: Path) -> None:
    with another_writer(path) as process, Collection.open(path, arms()) as collection:
        impatient(collection)
        for change in (
            lambda: collection.add([Document("a", "copy a")]),
            lambda: collection.delete(["a"]),
            lambda: collection.update_metadata({"a": {"b": 1}}),
            lambda: collection.put_source("s", "1", [Document("a", "copy a")]),
            lambda: collection.drop_sources(["s"]),
            collection.compact,
        ):
            with pytest.raises(LockedError, match=rf"process {process.pid} on .*dropping sources") as caught:
                change()
            assert str(process.pid) in caught.value.holder
        assert_whole(collection, {})  # reading waits for nobody


def test_a_second_writer_gets_its_turn(path: Path) -> None:
    with another_writer(path) as process, Collection.open(path, arms()) as collection:
        adding = threading.Thread(target=collection.add, args=[[Document("a", "copy a")]])
        adding.start()
        adding.join(0.3)
        assert adding.is_alive()
        assert len(collection) == 0
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        adding.join()
        assert_whole(collection, {"a": Document("a", "copy a")})


def test_a_writer_that_is_killed_leaves_nothing_locked(path: Path) -> None:
    with Collection.open(path, arms()) as collection:
        with another_writer(path) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
            impatient(collection)
            collection.add([Document("a", "copy a")])
        assert_whole(collection, {"a": Document("a", "copy a")})


def test_threads_are_told_of_each_other(path: Path) -> None:
    with Collection.open(path, arms()) as collection:
        impatient(collection)
        failures: list[LockedError] = []

        def add() -> None:
            try:
                collection.add([Document("a", "copy a")])
            except LockedError as error:
                failures.append(error)

        def try_to_add() -> None:
            thread = threading.Thread(target=add)
            thread.start()
            thread.join()

        held_up(collection, try_to_add)
        assert "another thread of this process (dropping sources)" in failures[0].holder


def in_a_fork(work: Callable[[], None]) -> int:
    """The exit status of a forked child: 0 if the work succeeded, that of SIGALRM if it hung."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(40)  # to hang is to fail
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_child_searches_and_adds(path: Path) -> None:
    documents = {f"d{number}": Document(f"d{number}", f"copy d{number}") for number in range(50)}
    with Pipeline.open(path, retrievers=arms(), reranker=None) as pipeline:
        pipeline.add(documents.values())
        assert pipeline.search("copy d7").hits[0].document.id == "d7"

        def work() -> None:
            assert pipeline.search("copy d7").hits[0].document.id == "d7"
            pipeline.add([Document("child", "copy of a child")])
            assert pipeline.search("child").hits[0].document.id == "child"
            pipeline.delete(["d8"])
            pipeline.collection.compact()

        assert in_a_fork(work) == 0
        assert pipeline.search("child").hits[0].document.id == "child"
        pipeline.add([Document("parent", "copy of a parent")])
        new = [Document("child", "copy of a child"), Document("parent", "copy of a parent")]
        expected = {**documents, **{each.id: each for each in new}}
        del expected["d8"]
        assert_whole(pipeline.collection, expected)


def test_what_a_forked_child_adds_outlives_its_parents_connections(path: Path) -> None:
    documents = {name: Document(name, f"copy {name}") for name in ("parent", "child")}
    collection = Collection.open(path, arms())
    collection.add([documents["parent"]])
    reading, has_read = os.pipe()
    waiting, going = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(going)
        if len(collection) == 1:
            os.write(has_read, b"1")
        os.read(waiting, 1)
        collection.add([documents["child"]])
        os._exit(0)
    assert os.read(reading, 1) == b"1"  # the child has connections of its own now
    collection.close()
    os.close(going)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with Collection.open(path, arms()) as collection:
        assert_whole(collection, documents)


def test_forks_while_threads_search_and_write(path: Path) -> None:
    with Pipeline.open(path, retrievers=arms(), reranker=None) as pipeline:
        pipeline.add([Document(f"d{number}", f"copy d{number}") for number in range(50)])
        done = threading.Event()
        added = 0

        def write() -> None:
            nonlocal added
            while not done.is_set():
                pipeline.add([Document(f"thread{added}", f"copy thread{added}")])
                added += 1

        def search() -> None:
            while not done.is_set():
                pipeline.search("copy d7", filters={"$not": {"a": 1}})

        threads = [threading.Thread(target=write), threading.Thread(target=search)]
        for thread in threads:
            thread.start()
        forks = times(60, 4)
        statuses = []
        try:
            for number in range(forks):

                def work(number: int = number) -> None:
                    pipeline.add([Document(f"fork{number}", f"copy fork{number}")])
                    assert pipeline.search(f"fork{number}").hits[0].document.id == f"fork{number}"

                statuses.append(in_a_fork(work))
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert statuses == [0] * forks
        names = [f"d{n}" for n in range(50)]
        names += [f"thread{n}" for n in range(added)] + [f"fork{n}" for n in range(forks)]
        assert_whole(pipeline.collection, {i: Document(i, f"copy {i}") for i in names})


if __name__ == "__main__":
    hold(sys.argv[1])
