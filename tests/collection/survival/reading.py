"""Run as a script: looks for markers until the board says that the writer has finished.

python reading.py COLLECTION BOARD NUMBER
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from collection.survival.common import arms
from collection.survival.markers import Board, look

from hybridrank import Pipeline


def main(path: str, board_file: str, number: str) -> None:
    board, rng = Board(Path(board_file)), random.Random(number)
    with Pipeline.open(path, retrievers=arms(), reranker=None) as pipeline:
        while not board.finished[0]:
            look(pipeline, board, rng)
            board.searches[int(number)] += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
