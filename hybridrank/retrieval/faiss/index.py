"""Vectors in FAISS's indexes: exact while that is fast, then approximate, with measured recall."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from math import sqrt
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hybridrank.component.protocols import Embedder
from hybridrank.component.stored_names import current_names
from hybridrank.component.validation import validate_vectors
from hybridrank.errors import BackendResponseError, InputError, StorageError
from hybridrank.retrieval.faiss.component import Faiss
from hybridrank.retrieval.faiss.factory import bound_allocations, check_factory, faiss, inverted, reason
from hybridrank.retrieval.faiss.growth import Built, build, list_count, rebuild, tune
from hybridrank.retrieval.faiss.row_vectors import Floats, Rows, Vectors
from hybridrank.retrieval.ids import IdTable
from hybridrank.runtime import fork
from hybridrank.types import Document, Progress, Query, Ranking

__all__ = ["FaissIndex"]

_CHUNK = 256  # documents embedded between two calls of `progress`
_ONE_BY_ONE = 2**15  # a filter of no more documents is ranked without FAISS's search: exactly, whatever the index
_FORMAT = 2


class FaissIndex:
    """Vectors in rows known by document id: a base that `improve` builds, and later additions.

    A deleted row stays, and searches skip it with a bitmap, until `improve` finds that more than a twentieth of
    the rows are dead. Many threads may search concurrently, and encode and improve meanwhile; `add`, `delete` and
    the final step of `improve` exclude searches and each other, which the caller ensures.
    """

    EXACT: ClassVar[int] = 100_000
    """Up to so many vectors ``factory="auto"`` stays exact: at 384 dimensions some 15 ms on two cores."""

    _RECALL_TARGET = 0.95

    def __init__(self, component: Faiss) -> None:
        self.component = component
        self._checking = fork.new_lock()
        self._dim: int | None = None  # that the factory was checked for
        self._vectors: Vectors | None = None  # made when the first vectors say their dimension
        self._ids = IdTable()
        self._empty = b""  # the base, trained and without vectors
        self._built: Built | None = None  # how the base was, if it is approximate

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, doc_id: object, /) -> bool:
        return doc_id in self._ids

    @property
    def embedder(self) -> Embedder:
        """The embedder that produced the vectors."""
        return self.component.embedder

    @property
    def dim(self) -> int | None:
        """Dimension of the vectors; None while there are none."""
        return None if self._vectors is None else self._vectors.dim

    def encode(self, documents: Sequence[Document], *, progress: Progress | None = None) -> Floats:
        """Embed the documents: shape (len(documents), dim), unit length.

        Raises:
            BackendResponseError: the embedder returned no unit vectors, or of another dimension than the index.
            ConfigError: FAISS does not know the factory or a search parameter, or such an index cannot be added
                to, filtered, or give its vectors back.
        """
        if not documents:
            return np.empty((0, self.dim or 0), np.float32)
        dim = self.dim
        chunks: list[Floats] = []
        for start in range(0, len(documents), _CHUNK):
            texts = [document.content for document in documents[start : start + _CHUNK]]
            chunks.append(self._embed(texts, "document", dim))
            dim = chunks[0].shape[1]
            self._check(dim)
            if progress is not None:
                progress(start + len(texts), len(documents))
        return np.concatenate(chunks)

    def add(self, ids: Sequence[str], encoded: Floats) -> None:
        """Add the vectors under `ids` (distinct), replacing vectors with the same ids."""
        if not ids:
            return
        if self._vectors is None:
            self._check(encoded.shape[1])
            self._vectors = Vectors(encoded.shape[1])
        if encoded.shape != (len(ids), self._vectors.dim):
            raise BackendResponseError(f"{len(ids)} ids for vectors of shape {encoded.shape}, dim {self.dim}")
        self._vectors.add(np.ascontiguousarray(encoded, np.float32))
        self._ids.append(ids)

    def delete(self, ids: Collection[str]) -> None:
        """Delete these documents; unknown ids are ignored."""
        self._ids.bury(ids)

    def vectors(self, ids: Sequence[str]) -> Floats:
        """The vectors of these documents (distinct) as stored, shape (len(ids), dim); zeros for unknown ids.

        A quantized index returns its quantized vectors, of nearly unit length.
        """
        given = np.zeros((len(ids), self.dim or 0), np.float32)
        rows = self._ids.rows(ids)
        if self._vectors is not None and len(rows):
            place = {doc_id: number for number, doc_id in enumerate(ids)}
            given[[place[doc_id] for doc_id in self._ids.names(rows)]] = self._vectors.of(rows)
        return given

    def retrieve(self, queries: Sequence[Query], *, k: int) -> list[Ranking]:
        """Rank the `k` documents nearest to each query; scores are cosines, independent of the batch.

        Queries with a vector (of any length except zero) are not embedded; the others are, in one call.

        Raises:
            InputError: `k` < 1, or a query's vector is zero or of another dimension than the index.
            BackendResponseError: the embedder returned no unit vectors, or of another dimension than the index.
        """
        if k < 1:
            raise InputError(f"k must be at least 1, not {k}")
        rankings = [Ranking()] * len(queries)
        if not len(self._ids) or self._vectors is None:
            return rankings
        points = self._query_vectors(queries, self._vectors.dim)
        by_filter: dict[frozenset[str] | None, list[int]] = {}
        for position, query in enumerate(queries):
            by_filter.setdefault(query.ids, []).append(position)
        for ids, positions in by_filter.items():
            found = self._nearest(self._vectors, points[positions] if len(by_filter) > 1 else points, ids, k)
            for position, ranking in zip(positions, found, strict=True):
                rankings[position] = ranking
        return rankings

    def _embed(self, texts: list[str], role: Any, dim: int | None) -> Floats:
        embedder = self.component.embedder
        source = f'the embedder "{getattr(embedder, "use", type(embedder).__name__)}"'
        return validate_vectors(embedder.embed(texts, role=role), count=len(texts), source=source, dim=dim)

    def _check(self, dim: int) -> None:
        """Check the factory before anything is stored."""
        with self._checking:
            if self._dim != dim:
                if self.component.factory != "auto":
                    check_factory(self.component.factory, dim, self.component.search)
                self._dim = dim

    def _query_vectors(self, queries: Sequence[Query], dim: int) -> Floats:
        vectors = np.empty((len(queries), dim), np.float32)
        to_embed = []
        for position, query in enumerate(queries):
            if query.vector is None:
                to_embed.append(position)
                continue
            vector = query.vector.astype(np.float64)  # in which no square of a float32 is lost
            if len(vector) != dim:
                raise InputError(f"the vector of query {query.text!r:.80} has {len(vector)} dimensions, not {dim}")
            if not (length := sqrt(vector @ vector)):
                raise InputError(f"the vector of query {query.text!r:.80} is zero: it has no direction")
            vectors[position] = vector / length
        if to_embed:
            vectors[to_embed] = self._embed([queries[p].text for p in to_embed], "query", dim)
        return vectors

    def _nearest(self, vectors: Vectors, points: Floats, ids: frozenset[str] | None, k: int) -> list[Ranking]:
        """Rank the best `k` of `ids`, or of all, for each row of `points`.

        FAISS's scores differ in their last bits between one query and many, and between equal vectors in
        different rows. So the candidates, and all that may tie with the last of them, are scored again, each by
        the same operations wherever it lies.
        """
        total = self._ids.total
        if ids is None:
            allowed = None if len(self._ids) == total else self._ids.alive
        else:
            chosen = self._ids.select(ids)
            if len(chosen) <= _ONE_BY_ONE:
                candidates = vectors.of(chosen)
                return [self._ranked(point, chosen, candidates, k) for point in points]
            allowed = np.zeros(total, bool)
            allowed[chosen] = True
        found = vectors.candidates(points, k, allowed)
        return [self._ranked(point, rows, vectors.of(rows), k) for point, rows in zip(points, found, strict=True)]

    def _ranked(self, point: Floats, rows: NDArray[np.integer], candidates: Floats, k: int) -> Ranking:
        scores = np.einsum("ij,j->i", candidates, point)
        if len(rows) > k:
            keep = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
            rows, scores = rows[keep], scores[keep]
        best = sorted(zip((-scores).tolist(), self._ids.names(rows), strict=True))[:k]
        return Ranking(tuple([doc_id for _, doc_id in best]), tuple([-negative for negative, _ in best]))

    # ── growing ──────────────────────────────────────────────────────────────────────────────────────────────

    def improve(self) -> Callable[[], None] | None:
        """Build, merge or tune the index after it has grown, and drop dead rows; returns the final step.

        The final step excludes searches. None if there is nothing to improve.
        """
        vectors = self._vectors
        if vectors is None:
            return None
        rows = np.flatnonzero(self._ids.alive)
        count, tail = len(rows), len(vectors) - vectors.split
        dead = self._ids.total - count
        factory = self._factory(count, vectors.dim)
        retrain = factory is not None and (self._built is None or count >= 4 * self._built.size)
        if factory is not None and self._built is not None and not retrain:
            factory = self._built.factory
        stale = dead * 20 > self._ids.total or (vectors.base is not None and tail * 20 > max(vectors.split, 2**16))
        target = self._target
        if factory is None:
            if not (stale or self._built is not None):
                return None
            exact = Vectors(vectors.dim)
            for _, block in vectors.blocks(rows):
                exact.add(block)
            return self._replacing(exact, rows, b"", None)
        if retrain or self._built is None:
            try:
                base, empty, built = build(
                    factory, vectors, rows, search=self.component.search, recall_target=target
                )
            except RuntimeError:  # too few vectors to train on: it stays as it is
                return None
            return self._replacing(Vectors(vectors.dim, base), rows, empty, built)
        moved = not self._built.tuned_at * 2 / 3 < count < self._built.tuned_at * 3 / 2
        if not stale and not moved:
            return None
        base = rebuild(self._empty, vectors, rows)
        self._set_search(base, self._built)
        built = self._built
        if moved:
            built = tune(base, built, Vectors(vectors.dim, base), np.arange(count), recall_target=target)
        return self._replacing(Vectors(vectors.dim, base), rows, self._empty, built)

    @property
    def _target(self) -> float | None:
        if self.component.factory != "auto":
            return None
        return self._RECALL_TARGET if self.component.recall_target is None else self.component.recall_target

    def _factory(self, count: int, dim: int) -> str | None:
        """The FAISS factory for this number of vectors; None for an exact index."""
        if self.component.factory != "auto":
            return None if self.component.factory == "Flat" or count < 2 else self.component.factory
        lists = f"IVF{list_count(count)}"
        quantize = self.component.quantize
        if quantize == "int8" and count >= 256:
            return "SQ8" if count <= self.EXACT else f"{lists},SQ8"
        if quantize == "pq" and count >= 2**14:
            parts = next(parts for parts in range(max(1, dim // 4), 0, -1) if dim % parts == 0)
            return f"{'IVF1' if count <= self.EXACT else lists},PQ{parts}"
        return None if quantize is not None or count <= self.EXACT else f"{lists},Flat"

    def _replacing(self, vectors: Vectors, rows: Rows, empty: bytes, built: Built | None) -> Callable[[], None]:
        """Prepare the step that puts these vectors, which are the living `rows`, in place."""
        ids = self._ids.keep(rows)

        def replace() -> None:
            self._vectors, self._ids, self._empty, self._built = vectors, ids, empty, built

        return replace

    def statistics(self) -> dict[str, Any]:
        """JSON values: the factory, and the measured recall.

        `recall` is recall@10 as it was last measured, 1.0 for an exact index; `rows` counts the dead ones too,
        and `tail` those that wait, exactly searched, to be merged.
        """
        vectors, built = self._vectors, self._built
        told: dict[str, Any] = {
            "factory": "Flat" if built is None else built.factory,
            "dim": self.dim,
            "rows": self._ids.total,
            "tail": 0 if vectors is None or built is None else len(vectors) - vectors.split,
            "recall": 1.0 if built is None else round(built.recall, 4),
        }
        if built is not None:
            told |= {"measured_on": built.queries, "measured_at": built.tuned_at}
            told |= {} if built.nprobe is None else {"nprobe": built.nprobe}
            if (target := self._target) is not None:
                told |= {"recall_target": target, "reached": built.recall >= target}
        return told

    # ── saving ───────────────────────────────────────────────────────────────────────────────────────────────

    def save(self, path: Path) -> None:
        """Write the index to `path`, a directory that must not exist yet.

        The files are JSON, arrays of the ids in NumPy's format, and FAISS's own.
        """
        path.mkdir(parents=True)
        vectors = self._vectors
        header = {
            "format": _FORMAT,
            "factory": self.component.factory,
            "quantize": self.component.quantize,
            "dim": self.dim,
            "split": None if vectors is None else vectors.split,
            "built": None if self._built is None else self._built.to_dict(),
        }
        (path / "index.json").write_text(json.dumps(header), encoding="utf-8")
        self._ids.save(path / "ids")
        try:
            if vectors is not None:
                faiss().write_index(vectors.tail, str(path / "tail.faiss"))
                if vectors.base is not None:
                    faiss().write_index(vectors.base, str(path / "base.faiss"))
        except RuntimeError as error:
            raise OSError(reason(error)) from error
        if self._empty:
            (path / "empty.faiss").write_bytes(self._empty)

    @classmethod
    def load(cls, path: Path, component: Faiss) -> FaissIndex:
        """Load what `save` wrote, to search it with these options.

        Raises:
            StorageError: the files are absent or damaged, or of another version or factory.
        """
        index = cls(component)
        index._load(path)
        return index

    def _load(self, path: Path) -> None:
        try:
            header = json.loads((path / "index.json").read_text(encoding="utf-8"))
            if header["format"] != _FORMAT:
                raise ValueError(f"format {header['format']!r} is not {_FORMAT}, which this version reads")
            header = current_names({"use": Faiss.use, **header})
            said = header["factory"], header["quantize"]
            if said != (self.component.factory, self.component.quantize):
                raise ValueError(f"it was built with the factory and quantization {said}")
            if header["dim"] is None:
                return
            ids = IdTable.load(path / "ids")
            mapped = faiss().IO_FLAG_MMAP_IFC
            if header["split"]:
                base, tail = _read(path / "base.faiss", mapped), _read(path / "tail.faiss", 0)
            else:
                base, tail = _read(path / "tail.faiss", mapped), None
            vectors = Vectors(header["dim"], base, tail)
            if not (base.d == header["dim"] == vectors.tail.d and ids.total == len(vectors)):
                raise ValueError("its files do not belong together")
            if header["built"]:
                self._empty = (path / "empty.faiss").read_bytes()
                self._built = Built(**header["built"])
                self._set_search(base, self._built)
        except (OSError, EOFError, ValueError, TypeError, LookupError, RuntimeError) as error:
            raise StorageError(f"the FAISS index at {path} cannot be used: {error}") from error
        self._vectors, self._ids, self._dim = vectors, ids, header["dim"]

    def _set_search(self, base: Any, built: Built) -> None:
        """Set the search parameters of an index."""
        for name, value in self.component.search.items():
            faiss().ParameterSpace().set_index_parameter(base, name, value)
        if built.nprobe is not None and (ivf := inverted(base)) is not None:
            ivf.nprobe = built.nprobe


def _read(path: Path, flags: int) -> Any:
    bound_allocations(path.stat().st_size)
    return faiss().read_index(str(path), flags)
