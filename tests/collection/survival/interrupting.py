"""Run as a script: search, add and delete while a signal handler raises at random, again and again.

Prints how often that happened, and "whole" if nothing was lost or half made and everything still works.
"""

from __future__ import annotations

import faulthandler
import random
import signal
import sys
import threading
from time import monotonic

from collection.survival.common import arms

from hybridrank import Document, Pipeline, Query


class Interrupted(BaseException):
    """As `KeyboardInterrupt`, but nobody else raises it."""


def _raise(*_: object) -> None:
    raise Interrupted


def main(kind: str, count: int, seed: int) -> None:
    faulthandler.dump_traceback_later(240, exit=True)  # to hang is to fail
    chance = random.Random(seed)
    documents = [Document(f"d{n}", f"copy d{n}") for n in range(60)]
    stored = {} if kind == "memory" else {"path": kind}
    pipeline = Pipeline.build(documents, retrievers=arms(), reranker=None, **stored)
    over = threading.Event()
    failures: list[BaseException] = []
    searched = 0

    def search() -> None:
        nonlocal searched
        while not over.is_set():
            try:
                assert pipeline.search("copy d7", k=3).hits[0].document.id == "d7"
                searched += 1
            except BaseException as error:
                failures.append(error)
                raise

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    signal.signal(signal.SIGALRM, _raise)
    interrupts, number, until = 0, 0, monotonic() + 150
    while interrupts < count and monotonic() < until:
        try:
            number += 1
            signal.setitimer(signal.ITIMER_REAL, chance.choice([0.0001, 0.001, 0.01]) * chance.uniform(0.1, 3.0))
            match number % 6:
                case 0:
                    pipeline.search("copy d9", k=3)
                case 1:
                    pipeline.add([Document(f"new{number}a", "a pair"), Document(f"new{number}b", "a pair")])
                case 2:
                    pipeline.delete([f"new{number - 1}a", f"new{number - 1}b"])
                case 3:
                    pipeline.collection.update_metadata({"d3": {"number": number}})
                case 4:
                    pipeline.search_many(["copy d9", "copy d8"], k=3)
                    pipeline.collection.statistics()
                case _:
                    pipeline.collection.compact()
        except Interrupted:
            interrupts += 1
        finally:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                signal.setitimer(signal.ITIMER_REAL, 0)
                interrupts += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    over.set()
    for thread in threads:
        thread.join()
    pipeline.add([Document("last", "copy last")])
    assert pipeline.search("copy last", k=1).hits[0].document.id == "last"
    assert not failures, failures
    assert searched
    held = set(pipeline.collection)
    assert held >= {"last", *(document.id for document in documents)}
    pairs = {unit[:-1] for unit in held if unit.startswith("new")}
    assert all({f"{pair}a", f"{pair}b"} <= held for pair in pairs), "a change was made half"
    for name, index in pipeline.retrievers.items():
        assert len(index) == len(held), name
        (ranking,) = index.retrieve([Query("copy a pair last")], k=len(held))
        assert set(ranking.ids) <= held, name
    pipeline.delete(held - {"last"})
    assert list(pipeline.collection) == ["last"]
    sys.stdout.write(f"{interrupts} whole\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
