"""Approximate indexes: trained on a sample, and tuned to a target of measured recall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np

from hybridrank.retrieval.faiss.factory import bound_allocations, faiss, inverted, make_index, parameters
from hybridrank.retrieval.faiss.row_vectors import Floats, Rows, Vectors

__all__ = ["Built", "build", "list_count", "rebuild", "tune"]

_POINTS_PER_LIST = 64  # to train on
_QUERIES = 256  # on which recall is measured: its standard error is 0.005 at a recall of 0.95
_DEPTH = 10  # recall@10
_FAR = 0.5  # of another vector, in a query to measure recall with


@dataclass(frozen=True, slots=True)
class Built:
    """How an approximate index was built for `size` vectors, and its recall when it held `tuned_at`.

    `recall` is recall@10 against exact search over `queries` queries, generated from stored vectors.
    """

    factory: str
    size: int
    tuned_at: int
    recall: float
    queries: int
    nprobe: int | None

    def to_dict(self) -> dict[str, Any]:
        """The values as JSON."""
        return asdict(self)


def list_count(size: int) -> int:
    """The number of inverted lists for this number of vectors."""
    return max(1, round(sqrt(size)))


def build(
    factory: str, vectors: Vectors, rows: Rows, *, search: Mapping[str, float], recall_target: float | None
) -> tuple[Any, bytes, Built]:
    """Train an index on a sample of some rows and fill it with all of them, renumbered from 0.

    Returns it, its serialized form trained and empty, and how it was built. Its probes are tuned if there is a
    recall target.

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
    """Fill a trained and empty index with some rows, renumbered from 0; inverted lists are copied."""
    library = faiss()
    bound_allocations(len(empty))
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
    """Measure the recall of an index that holds some rows; with a target, probe the fewest lists that reach it."""
    points = _queries(vectors, rows)
    truth = _exact(points, vectors, rows)  # in the index's own rows, which count from 0
    ivf = inverted(index)

    def recall() -> float:
        _, found = index.search(points, truth.shape[1], params=parameters(index))
        hits = sum(len(np.intersect1d(near, right)) for near, right in zip(found, truth, strict=True))
        return hits / truth.size

    if recall_target is None or ivf is None:
        nprobe = None if ivf is None else int(ivf.nprobe)
        return Built(built.factory, built.size, len(rows), recall(), len(points), nprobe)
    spread = sqrt(recall_target * (1 - recall_target) / truth.size)  # the sample's standard error
    wanted = min(1.0, recall_target + spread)
    ivf.nprobe, reached = _probes(ivf, points, truth, wanted)
    if not isinstance(
        faiss().downcast_index(ivf), faiss().IndexIVFFlat
    ):  # what quantizing loses shows in a search alone
        most = min(2 * ivf.nprobe, ivf.nlist)  # and more probes do not bring it back
        while (reached := recall()) < wanted and ivf.nprobe < most:
            ivf.nprobe = min(ivf.nprobe + ivf.nprobe // 4 + 1, most)
    return Built(built.factory, built.size, len(rows), reached, len(points), int(ivf.nprobe))


def _queries(vectors: Vectors, rows: Rows) -> Floats:
    """Queries for measuring recall: shape (up to 256, dim), unit length.

    Queries are further from their neighbors than documents are. Each is therefore a stored vector and half of
    another, drawn at random: of the mixtures tried, it needs the same number of probes as the real queries of
    four test collections, or slightly more (`benchmarks/recall.py`).
    """
    random = np.random.default_rng(len(rows))
    count = min(_QUERIES, len(rows))
    near, far = random.choice(len(rows), count, replace=False), random.integers(len(rows), size=count)
    points = vectors.of(rows[near]) + _FAR * vectors.of(rows[far])
    faiss().normalize_L2(points)
    return points


def _exact(points: Floats, vectors: Vectors, rows: Rows) -> Rows:
    """The nearest rows to each point, as positions in `rows`: shape (len(points), up to 10)."""
    k = min(_DEPTH, len(rows))
    scores = np.full((len(points), k), -np.inf, np.float32)
    places = np.zeros((len(points), k), np.int64)
    first = 0
    for _, block in vectors.blocks(rows):
        near = points @ block.T
        better = np.flatnonzero((near > scores.min(axis=1, keepdims=True)).any(axis=0))  # few, after some blocks
        scores = np.concatenate([scores, near[:, better]], axis=1)
        places = np.concatenate([places, np.broadcast_to(first + better, (len(points), len(better)))], axis=1)
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores, places = np.take_along_axis(scores, top, 1), np.take_along_axis(places, top, 1)
        first += len(block)
    return places


def _probes(ivf: Any, points: Floats, nearest: Rows, wanted: float) -> tuple[int, float]:
    """The number of inverted lists to probe so that they contain a share `wanted` of each point's `nearest` rows.

    Also returns the actual share, which is the recall of a search unless vectors are quantized. No search is
    needed: the lists of the rows are looked up, and lists are probed in the order of their centroids' distance to
    the point.
    """
    lists = faiss().vector_to_array(ivf.direct_map.array)[nearest] >> 32
    order = ivf.quantizer.search(points, ivf.nlist)[1]
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.broadcast_to(np.arange(1, ivf.nlist + 1), order.shape), 1)
    needed = np.sort(np.take_along_axis(places, lists, 1), axis=None)
    probes = int(needed[ceil(wanted * len(needed)) - 1])
    return probes, float(np.mean(needed <= probes))
