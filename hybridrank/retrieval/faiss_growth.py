"""Approximate indexes: trained on a sample, and tuned until their measured recall is what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from hybridrank.retrieval.faiss_factory import faiss, inverted, make_index, parameters
from hybridrank.retrieval.faiss_vectors import Floats, Rows, Vectors

__all__ = ["Built", "build", "list_count", "rebuild", "tune"]

_POINTS_PER_LIST = 64  # to train on
_QUERIES = 256  # on which recall is measured: its standard error is 0.005 at a recall of 0.95
_DEPTH = 10  # recall@10
_BLOCK = 2**15


@dataclass(frozen=True, slots=True)
class Built:
    """How an approximate index was built, for `size` vectors, and how well it found when it held `tuned_at`.

    `recall` is recall@10 against exact search over `queries` of the stored vectors, each without itself.
    """

    factory: str
    size: int
    tuned_at: int
    recall: float
    queries: int
    nprobe: int | None

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return asdict(self)


def list_count(size: int) -> int:
    """Inverted lists for so many vectors."""
    return max(1, round(sqrt(size)))


def build(
    factory: str, vectors: Vectors, rows: Rows, *, search: Mapping[str, float], recall_target: float | None
) -> tuple[Any, bytes, Built]:
    """Train an index on a sample of some rows and fill it with all of them: rows count from 0 anew.

    Returns it, itself serialised when it was trained and empty, and how it was built. Its probes are tuned where
    there is a recall target.

    Raises:
        RuntimeError: FAISS cannot train it on so few vectors.
    """
    library = faiss()
    index = make_index(factory, vectors.dim, search)
    random = np.random.default_rng(len(rows))
    ivf = inverted(index)
    if ivf is not None:
        ivf.cp.niter = 10
        ivf.cp.max_points_per_centroid = _POINTS_PER_LIST
    wanted = max(2**14, _POINTS_PER_LIST * (ivf.nlist if ivf is not None else 1))
    sample = rows if len(rows) <= wanted else np.sort(random.choice(rows, wanted, replace=False))
    index.train(vectors.of(sample))
    if ivf is not None:
        ivf.make_direct_map()
    empty = library.serialize_index(index).tobytes()
    _fill(index, vectors, rows)
    built = Built(factory, len(rows), 0, 1.0, 0, None)
    return index, empty, tune(index, built, vectors, rows, recall_target=recall_target)


def rebuild(empty: bytes, vectors: Vectors, rows: Rows) -> Any:
    """Fill a trained and empty index with some rows, which count from 0 anew; inverted lists are copied."""
    library = faiss()
    index = library.deserialize_index(np.frombuffer(empty, np.uint8))
    old, new = (library.downcast_index(each) for each in (vectors.base, index))
    if not isinstance(new, library.IndexIVF):
        _fill(index, vectors, rows)
        return index
    places = np.full(len(vectors), -1, np.int64)
    places[rows] = np.arange(len(rows))
    late = rows[rows >= vectors.split]
    width = old.code_size
    for number in range(old.nlist):
        if size := old.invlists.list_size(number):
            ids = places[library.rev_swig_ptr(old.invlists.get_ids(number), size)]
            codes = library.rev_swig_ptr(old.invlists.get_codes(number), size * width).reshape(size, width)
            ids, codes = np.ascontiguousarray(ids[ids >= 0]), np.ascontiguousarray(codes[ids >= 0])
            if len(ids):
                new.invlists.add_entries(number, len(ids), library.swig_ptr(ids), library.swig_ptr(codes))
    new.ntotal = index.ntotal = len(rows) - len(late)
    new.set_direct_map_type(library.DirectMap.NoMap)
    new.make_direct_map()
    _fill(index, vectors, late)
    return index


def _fill(index: Any, vectors: Vectors, rows: Rows) -> None:
    for _, block in vectors.blocks(rows):
        index.add(block)


def tune(index: Any, built: Built, vectors: Vectors, rows: Rows, *, recall_target: float | None) -> Built:
    """Measure the recall of an index that holds some rows; with a target, probe as few lists as reach it."""
    random = np.random.default_rng(len(rows))
    queries = np.sort(random.choice(len(rows), min(_QUERIES, len(rows)), replace=False))
    points = vectors.of(rows[queries])
    truth = _exact(points, queries, vectors, rows)
    ivf = inverted(index)

    def recall(nprobe: int | None) -> float:
        if nprobe is not None:
            ivf.nprobe = nprobe
        _, found = index.search(points, truth.shape[1] + 1, params=parameters(index))
        hits = sum(
            len(np.intersect1d(near[near != own], right))
            for near, own, right in zip(found, queries, truth, strict=True)
        )
        return hits / max(1, truth.size)

    if recall_target is None or ivf is None:
        nprobe = None if ivf is None else int(ivf.nprobe)
        return Built(built.factory, built.size, len(rows), recall(None), len(queries), nprobe)
    spread = sqrt(recall_target * (1 - recall_target) / max(1, truth.size))  # the sample's standard error
    wanted = min(1.0, recall_target + spread)
    few, many = 0, 1
    while (reached := recall(many)) < wanted and many < ivf.nlist:
        few, many = many, min(2 * many, ivf.nlist)
    while reached >= wanted and many - few > max(1, few // 8):
        middle = (few + many) // 2
        if (better := recall(middle)) >= wanted:
            many, reached = middle, better
        else:
            few = middle
    ivf.nprobe = many
    return Built(built.factory, built.size, len(rows), reached, len(queries), many)


def _exact(points: Floats, own: Rows, vectors: Vectors, rows: Rows) -> Rows:
    """The nearest rows to each point but itself, places among `rows`: shape (len(points), up to 10)."""
    k = min(_DEPTH, len(rows) - 1)
    scores = np.full((len(points), k), -np.inf, np.float32)
    best = np.zeros((len(points), k), np.int64)
    first = 0
    for _, block in vectors.blocks(rows):
        near = points @ block.T
        mine = (own >= first) & (own < first + len(block))
        near[np.flatnonzero(mine), own[mine] - first] = -np.inf
        both = np.concatenate([scores, near], axis=1)
        places = np.concatenate([best, np.broadcast_to(np.arange(first, first + len(block)), near.shape)], axis=1)
        top = np.argpartition(-both, k - 1, axis=1)[:, :k] if k else np.zeros((len(points), 0), np.int64)
        scores, best = np.take_along_axis(both, top, 1), np.take_along_axis(places, top, 1)
        first += len(block)
    return best
