"""Run as a script: fork again and again while other threads are at work, and see what happens to the children.

Prints how many children answered rightly, of how many.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tiny_onnx
from collection.survival.common import arms

from hybridrank import Document, Pipeline, Query
from hybridrank.rerank import CrossEncoder
from hybridrank.result.hits import SearchResult
from hybridrank.retrieval import BM25

TEXTS = [f"copy d{n} organic waste and soil" for n in range(300)]


def first(results: Sequence[SearchResult]) -> list[str]:
    return [result.hits[0].document.id for result in results]


def main(kind: str, forks: int, path: str) -> None:
    stored: dict[str, Any] = {"path": str(Path(path) / "collection")} if kind == "disk" else {}
    model = Path(path) / "model"
    tiny_onnx.cross_encoder(model)
    retrievers = {"bm25": BM25()} if kind == "loading" else arms()
    reranker = None if kind in ("memory", "disk") else CrossEncoder(model=str(model), batch_tokens=64)
    documents = [Document(f"d{n}", text) for n, text in enumerate(TEXTS)]
    pipeline = Pipeline.build(documents, retrievers=retrievers, reranker=reranker, blend=0, **stored)
    queries = [f"copy d{n}" for n in range(40)]
    expected = [] if kind == "loading" else first(pipeline.search_many(queries, k=1))
    over = threading.Event()
    current = [pipeline]

    def search() -> None:
        while not over.is_set():
            current[0].search("copy d7 waste")

    def change() -> None:
        number = 0
        while not over.is_set():
            number += 1
            pipeline.add([Document(f"more{n}", f"gamma {number}") for n in range(50)])
            pipeline.delete([f"more{n}" for n in range(50)])

    def child(pipeline: Pipeline) -> bool:
        result = pipeline.search("copy d7", k=1)
        many = pipeline.search_many(queries, k=1)
        pipeline.add([Document("child", "copy child")])
        added = pipeline.search("child", k=1)
        arm = next(iter(pipeline.retrievers.values())).retrieve([Query("copy d9")], k=1)
        right = first(many) == expected if expected else all(first(many))
        if reranker is None:
            right = right and first([result, added]) == ["d7", "child"]
        right = right and arm[0].ids == ("d9",) and "child" in pipeline.collection
        return right and not any(each.degraded for each in (result, added, *many))

    threads = [threading.Thread(target=work, daemon=True) for work in (search, search, change)]
    for thread in threads:
        thread.start()
    sound = 0
    for number in range(forks):
        if kind == "loading":
            current[0] = pipeline.replace(reranker=CrossEncoder(model=str(model), batch_tokens=64 + number))
        time.sleep(0.002 * (number % 7))
        pid = os.fork()
        if not pid:
            signal.alarm(60)  # to hang is to fail
            right = False
            try:
                right = child(current[0])
            except BaseException as error:
                os.write(2, f"{error!r}\n".encode())
            finally:
                os._exit(0 if right else 1)
        sound += os.waitpid(pid, 0)[1] == 0
        if kind == "disk":
            pipeline.delete(["child"])
    over.set()
    os.write(1, f"{sound} of {forks}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
