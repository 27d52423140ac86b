"""Many readers and one writer, processes and threads: no error, nothing stale, no arm without the other."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from pathlib import Path

import pytest
from collection.survival.common import arms, assert_whole, child, times
from collection.survival.markers import Board, look, write

from hybridrank import Pipeline
from hybridrank.collection import Collection

pytestmark = pytest.mark.stress


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Collection.create(tmp_path / "collection", arms()).close()
    return tmp_path / "collection"


def test_reader_processes_see_one_state_that_is_never_stale(path: Path, tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    readers = [
        child("reading.py", path, tmp_path / "board", number, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for number in range(8)
    ]
    try:
        while not board.searches[:8].all() and all(each.poll() is None for each in readers):
            time.sleep(0.01)
        with Pipeline.open(path, retrievers=arms(), reranker=None) as pipeline:
            held = write(pipeline, board, times(1500, 60), seed=1)
            assert_whole(pipeline.collection, held)
    finally:
        board.finished[0] = 1
        said = [each.communicate()[0] for each in readers]
    assert [each.returncode for each in readers] == [0] * 8, "\n".join(said)
    assert said == [""] * 8
    with Collection.open(path, arms()) as collection:
        assert_whole(collection, held)


def test_threads_see_one_state_that_is_never_stale(path: Path, tmp_path: Path) -> None:
    board = Board(tmp_path / "board")
    failures: list[BaseException] = []
    with Pipeline.open(path, retrievers=arms(), reranker=None) as pipeline:

        def read(number: int) -> None:
            rng = random.Random(number)
            try:
                while not board.finished[0]:
                    look(pipeline, board, rng)
                    board.searches[number] += 1
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=read, args=[number]) for number in range(32)]
        for thread in threads:
            thread.start()
        try:
            held = write(pipeline, board, times(150, 8), seed=2)
        finally:
            board.finished[0] = 1
            for thread in threads:
                thread.join()
        assert failures == []
        assert board.searches[:32].all()
        assert_whole(pipeline.collection, held)
    with Collection.open(path, arms()) as collection:
        assert_whole(collection, held)
