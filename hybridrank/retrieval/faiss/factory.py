"""FAISS indexes by their factory strings: validation, search parameters, and the cost of a search."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridrank.errors import ConfigError
from hybridrank.runtime import fork

__all__ = [
    "bound_allocations",
    "check_factory",
    "faiss",
    "inverted",
    "make_index",
    "parameters",
    "reason",
    "scanned",
    "threads_for",
    "unusual",
]

_largest = 0  # bytes
_bounding = fork.new_lock()
_MARGIN = 2**20  # bytes
_USUAL = re.compile(
    r"auto|(IVF[0-9]{1,5}(_HNSW[0-9]{1,2})?,)?(Flat|SQ[468]|SQ(fp|bf)16|PQ[0-9]{1,3}(x[4-8])?)|HNSW[0-9]{1,3}"
)
_USUAL_SEARCH = {"nprobe": 10**9, "efSearch": 10**4}  # no more lists are probed than there are
_SMALL = 2**26  # multiplications (some 20 ms) below which a search is not worth a thread pool


def faiss() -> Any:
    """FAISS, imported at first use; untyped, since its type stubs are incomplete."""
    if (library := sys.modules.get("faiss")) is None or not hasattr(library, "omp_set_num_threads"):
        with fork.hold_forks():  # a module that is just being imported is of no use to a child
            import faiss as library
    return library


def bound_allocations(size: int) -> None:
    """Before an index of this size is read: limit the memory of its arrays, whatever sizes the file claims.

    FAISS has one limit for all threads: that of the largest index so far.
    """
    global _largest
    with _bounding:
        _largest = max(_largest, size)
        faiss().set_deserialization_vector_byte_limit(4 * _largest + _MARGIN)


def reason(error: BaseException) -> str:
    """FAISS's message, without the C++ signature and source line before it."""
    return re.sub(r"(?s)^.*\.(cpp|h):\d+: (Error: )?", "", str(error)).strip()


def unusual(factory: str, search: Mapping[str, float]) -> dict[str, str]:
    """Options that require trust: some factories exhaust memory, train indefinitely, or crash FAISS."""
    needed = {}
    if not _USUAL.fullmatch(factory):
        needed["factory"] = f"FAISS makes of {factory!r:.80} an index that may take any amount of time and memory"
    for name, value in search.items():
        if value > _USUAL_SEARCH.get(name, 0):
            needed["search"] = f"a search with {name!r:.80} = {value} may take any amount of time and memory"
    return needed


def make_index(factory: str, dim: int, search: Mapping[str, float]) -> Any:
    """Create an untrained index for the inner product, with its search parameters set.

    Raises:
        ConfigError: FAISS does not know the factory or a parameter.
    """
    library = faiss()
    try:
        index = library.index_factory(dim, factory, library.METRIC_INNER_PRODUCT)
    except (RuntimeError, MemoryError) as error:
        raise ConfigError(
            f'FAISS makes no "{factory}" for the inner product of {dim} dimensions: {reason(error)}',
            path="$.factory",
        ) from error
    for name, value in search.items():
        try:
            library.ParameterSpace().set_index_parameter(index, name, value)
        except RuntimeError as error:
            raise ConfigError(
                f'"{factory}" has no such search parameter: {reason(error)}', path=f"$.search.{name}"
            ) from error
    return index


def check_factory(factory: str, dim: int, search: Mapping[str, float]) -> None:
    """Check on a small index of this kind that it can grow, be filtered, and return its vectors.

    The small one has a single inverted list, and is trained on a few random vectors.

    Raises:
        ConfigError: FAISS does not know the factory or a parameter, or the index would not do.
    """
    make_index(factory, dim, search)
    library = faiss()
    vectors = np.random.default_rng(0).standard_normal((4096, dim)).astype(np.float32)
    library.normalize_L2(vectors)
    index = make_index(re.sub(r"^(.*,)?IVF\d+", r"\1IVF1", factory), dim, search)
    try:
        for count in (256, len(vectors)):
            try:
                index.train(vectors[:count])
                break
            except RuntimeError:
                if count == len(vectors):
                    raise
        if (ivf := inverted(index)) is not None:
            ivf.make_direct_map()
        index.add(vectors[:1])
        index.reconstruct_batch(np.zeros(1, np.int64))
        index.search(vectors[:1], 1, params=parameters(index, np.ones(1, bool)))
    except (RuntimeError, MemoryError) as error:
        raise ConfigError(
            f'"{factory}" cannot be trained, filtered, or added to: {reason(error)}', path="$.factory"
        ) from error


def inverted(index: Any) -> Any:
    """The inverted lists somewhere inside an index; None where it has none."""
    return faiss().try_extract_index_ivf(index)


def parameters(index: Any, rows: NDArray[np.bool_] | None = None, *, widen: float = 1.0) -> Any:
    """Search parameters for `index` that find only `rows`, and are otherwise the index's own.

    `widen` times as many inverted lists are probed.
    """
    selector = None if rows is None else faiss().IDSelectorBitmap(np.packbits(rows, bitorder="little"))
    return _parameters(index, selector, widen)


def _parameters(index: Any, selector: Any, widen: float) -> Any:
    library = faiss()
    index = library.downcast_index(index)
    if isinstance(index, library.IndexPreTransform):
        return library.SearchParametersPreTransform(index_params=_parameters(index.index, selector, widen))
    if isinstance(index, library.IndexRefine):
        base = _parameters(index.base_index, selector, widen)
        return library.IndexRefineSearchParameters(base_index_params=base, k_factor=index.k_factor)
    if isinstance(index, library.IndexIVF):
        return library.SearchParametersIVF(sel=selector, nprobe=_probes(index, widen), max_codes=index.max_codes)
    if isinstance(index, library.IndexHNSW):
        return library.SearchParametersHNSW(sel=selector, efSearch=index.hnsw.efSearch)
    return library.SearchParameters(sel=selector)


def _probes(ivf: Any, widen: float) -> int:
    return int(min(ivf.nlist, ceil(ivf.nprobe * widen)))


def scanned(index: Any, count: int, *, widen: float = 1.0) -> int:
    """The approximate number of vectors, of `count` matching ones, that one query is compared with."""
    if (ivf := inverted(index)) is not None:
        return int(ivf.nlist + count * min(1.0, _probes(ivf, widen) / ivf.nlist))
    index = faiss().downcast_index(index)
    return int(min(count, 64 * index.hnsw.efSearch)) if isinstance(index, faiss().IndexHNSW) else count


@contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """Run a small search in the calling thread only: waking a thread pool would take longer than it saves.

    OpenMP stores the number per calling thread, so other threads' searches are not affected.
    """
    library = faiss()
    threads = library.omp_get_max_threads()
    if multiplications < _SMALL:
        library.omp_set_num_threads(1)
    try:
        yield
    finally:
        library.omp_set_num_threads(threads)


def _forked() -> None:
    """Have this thread search alone, in a child: OpenMP still counts on the threads that it had in the parent.

    OpenMP keeps a team of threads for each thread that calls it: the child's other threads, all new, get new ones.
    """
    if (library := sys.modules.get("faiss")) is not None and hasattr(library, "omp_set_num_threads"):
        library.omp_set_num_threads(1)


fork.in_child(_forked)
