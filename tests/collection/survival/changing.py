"""Run as a script: changes a collection until it is killed, and says in a log what it is at.

python changing.py COLLECTION SNAPSHOTS LOG SEED FIRST
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

from collection.survival.changes import change, make
from collection.survival.common import arms

from hybridrank.collection import Collection


def main(path: str, snapshots: str, log: str, seed: str, first: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    collection = Collection.open(path, arms())
    os.write(descriptor, b"ready\n")
    for number in itertools.count(int(first)):
        this = change(int(seed), number)
        os.write(descriptor, f"begin {number} {this.kind}\n".encode())
        make(collection, this, Path(snapshots))
        os.write(descriptor, f"done {number}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
