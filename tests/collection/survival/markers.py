"""Documents whose versions tell how old what a reader finds is: no clock needed.

A board, shared by all processes, says for each marker the last version that was begun and the last that was
acknowledged. Marker *n* has two documents, ``left-n`` and ``right-n``, which change together. What a search finds
must be no older than what was acknowledged when it began, and no newer than what was begun when it ended.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from hybridrank import Document, Pipeline, Query
from hybridrank.collection import Collection

MARKERS = 12
READERS = 64
DELETED = 4  # every so many versions of a marker, it is deleted


class Board:
    """Counters in shared memory: each is written by one process or thread alone."""

    def __init__(self, file: Path) -> None:
        mode = "r+" if file.exists() else "w+"
        counters = np.memmap(file, np.int64, mode, shape=(2 * MARKERS + READERS + 1,))
        self.begun, self.acknowledged = counters[:MARKERS], counters[MARKERS : 2 * MARKERS]
        self.searches = counters[2 * MARKERS : -1]  # by each reader
        self.finished = counters[-1:]


def pair(marker: int, version: int) -> list[Document]:
    """The documents of a marker; none for a version in which it is deleted."""
    if version % DELETED == 0:
        return []
    return [
        Document(f"{side}-{marker}", f"marker{marker} {side} version{version}", metadata={"marker": marker})
        for side in ("left", "right")
    ]


def write(pipeline: Pipeline, board: Board, changes: int, seed: int) -> dict[str, Document]:
    """Add, replace and delete markers, with other documents coming and going; returns what is there at the end."""
    rng = random.Random(seed)
    collection = pipeline.collection
    assert isinstance(collection, Collection)
    held: dict[str, Document] = {}
    for number in range(changes):
        marker = rng.randrange(MARKERS)
        version = int(board.acknowledged[marker]) + 1
        documents = pair(marker, version)
        board.begun[marker] = version
        if documents:
            others = [
                Document(f"other-{rng.randrange(300)}", f"other {number}", metadata={"other": rng.randrange(9)})
                for _ in range(rng.choice((0, 0, 1, 200)))
            ]
            documents += {each.id: each for each in others}.values()
            pipeline.add(documents)
            held.update({each.id: each for each in documents})
        elif rng.random() < 0.5:
            pipeline.delete([f"left-{marker}", f"right-{marker}"])
        else:
            pipeline.delete(filters={"marker": marker})
        board.acknowledged[marker] = version
        if version % DELETED == 0:
            held.pop(f"left-{marker}", None)
            held.pop(f"right-{marker}", None)
        if number % 10 == 9:
            other = rng.randrange(9)
            pipeline.delete(filters={"other": other})
            held = {i: each for i, each in held.items() if each.metadata.get("other") != other}
        if number % 40 == 39:
            collection.compact()
    return held


def look(pipeline: Pipeline, board: Board, rng: random.Random) -> None:
    """Search for a marker, and see that what is found is of one state, and neither too old nor too new."""
    marker = rng.randrange(MARKERS)
    oldest = int(board.acknowledged[marker])
    match rng.randrange(4):
        case 0:
            with pipeline.collection.reading() as view:
                names = [f"left-{marker}", f"right-{marker}"]
                query = Query(f"marker{marker} version{oldest}")
                sizes = {len(index) for index in view.indexes.values()}
                assert len(sizes) == 1, sizes
                found = dict(view.units(names))
                for name, index in view.indexes.items():
                    assert [i for i in names if i in index] == [i for i in names if i in found], name
                    (ranking,) = index.retrieve([query], k=2000)
                    assert {i for i in ranking.ids if i in names} == found.keys(), name
                    assert view.units(ranking.ids).keys() == set(ranking.ids), name
        case 1:
            found = _of(marker, pipeline, f"marker{marker}", filters={"marker": marker})
        case 2:
            found = _of(marker, pipeline, f"marker{marker} left right", filters=None)
        case _:
            ids = frozenset([f"left-{marker}", f"right-{marker}", "other-1"])
            found = _of(marker, pipeline, Query(f"marker{marker}", ids=ids), filters=None)
    newest = int(board.begun[marker])
    possible = [{each.id: each for each in pair(marker, version)} for version in range(oldest, newest + 1)]
    assert found in possible, f"{found} is not of the versions {oldest} to {newest}"


def _of(
    marker: int, pipeline: Pipeline, query: str | Query, *, filters: dict[str, int] | None
) -> dict[str, Document]:
    result = pipeline.search(query, k=1000, filters=filters)
    assert not result.degraded
    found = {hit.document.id: hit.document for hit in result.hits}
    return {i: each for i, each in found.items() if each.metadata.get("marker") == marker}
