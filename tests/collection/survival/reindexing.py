"""Child process: reindexes a collection again and again, until it is killed."""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from pathlib import Path

from collection.survival.common import arms

from hybridrank.collection import Collection
from hybridrank.errors import InputError
from hybridrank.ingest.splitting.splitter import Splitter
from hybridrank.retrieval import BM25

SPLITTERS = [None, Splitter(max_tokens=32, overlap=0), Splitter(max_tokens=64, overlap=8)]


def main(path: Path, log: Path, seed: str) -> None:
    rng = random.Random(seed)
    with Collection.open(path, arms()) as collection:
        while True:
            work = rng.choice(["reindex", "reindex", "reindex", "rollback", "finish", "refuse"])
            with log.open("a") as file:
                file.write(f"{work}\n")
            retrievers = {**arms(), "bm25": BM25(k1=rng.choice([1.2, 2.0]))}
            with suppress(InputError):  # there is nothing to go back to, and the like
                match work:
                    case "finish":
                        collection.finish_reindex()
                    case "rollback":
                        collection.rollback(retrievers=arms())
                    case _:
                        collection.reindex(
                            splitter=rng.choice(SPLITTERS),
                            retrievers=retrievers,
                            gate=None if work == "reindex" else lambda built: False,
                        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
