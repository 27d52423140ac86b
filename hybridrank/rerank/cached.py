"""A cache of scores on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field

from hybridrank.blend import confidence_range_of
from hybridrank.component.base import Component, once
from hybridrank.component.protocols import CalibratedReranker, FittedReranker
from hybridrank.component.registry import RerankerOption, create
from hybridrank.errors import InputError, StorageError
from hybridrank.models.digests import cache_folder
from hybridrank.rerank.members import (
    ascore_member,
    identity_of,
    is_pointwise,
    metadata_fields_of,
    names_of,
    provenance_of,
    score_member,
)
from hybridrank.rerank.score_store import KEY_BYTES, Entry, ScoreStore
from hybridrank.runtime.threads import in_thread
from hybridrank.types import Candidates, Scores

if TYPE_CHECKING:
    from hybridrank.component.protocols import Reranker

__all__ = ["Cached"]


class _Asked(NamedTuple):
    """The pairs of a search, and their known scores."""

    batch: Sequence[Candidates]
    keys: Sequence[Sequence[bytes]]  # a key for each document of each of the batch
    known: Mapping[bytes, Entry]
    missing: Sequence[Candidates]  # of those of the batch that miss something, each pair once
    rows: Sequence[int]  # which those are
    problem: str | None


class Cached(Component):
    """Caches the scores of `reranker`, and calls it only for unknown pairs.

    The key of a score and its spans consists of what determines the reranker's scores, the query's text, and the
    document's `content` with the `metadata_fields` that the reranker declares: the reranker must read nothing
    else, and be `pointwise`. Its scores are determined by its `identity`, or its whole configuration, and those
    of its members, by the versions of their distributions, and, if they have a `fingerprint`, by the content of
    their models' files and the kind of CPU: another model, option, file or release finds no stale scores. A
    change of a remote service behind one model name cannot be detected.

    `path` is a directory (None: ``hybridrank/scores`` in the user's cache directory), shared by any number of
    threads and processes; it holds digests and scores, no texts. `max_bytes` bounds its size; the least recently
    used entries are evicted first, approximately (see `score_store`). If the cache is damaged, full or
    unwritable, only cached scores are lost: they are computed again, and a damaged file is set aside and
    replaced.

    Keys are 128 bits of BLAKE2b instead of a faster hash such as xxHash: documents are untrusted, and their
    authors could construct collisions, so that one document gets the other's score. Scores and spans are restored
    exactly.

    The details are the reranker's, if it was called, with ``cache_hits`` and ``cache_misses``, in documents, and
    ``cache_error``, if there was one.

    Raises:
        InputError: nothing tells what decides the reranker's scores, or it is not pointwise.
    """

    use: ClassVar[str] = "cached"
    pointwise: ClassVar[bool] = True

    reranker: RerankerOption = Field(default_factory=lambda: create("reranker", "cross-encoder"))
    path: str | None = None
    max_bytes: int = Field(default=256 * 2**20, ge=2**20)

    if TYPE_CHECKING:  # callers may give names and tables

        def __init__(
            self,
            *,
            reranker: Reranker | str | Mapping[str, Any] = ...,
            path: str | None = None,
            max_bytes: int = 256 * 2**20,
        ) -> None: ...

    else:

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            identity_of(self.reranker)
            (name,) = names_of([self.reranker])
            if not is_pointwise(self.reranker):
                raise InputError(
                    f'"{name}" does not say that it scores each document for itself (`pointwise`), so its scores '
                    f'cannot be kept; where it holds rerankers, put "{self.use}" around those'
                )

    @property
    def identity(self) -> str:
        """The reranker's identity: caching does not change scores."""
        return identity_of(self.reranker)

    @property
    def confidence_range(self) -> tuple[float, float] | None:
        """The reranker's range."""
        return confidence_range_of(self.reranker)

    @property
    def calibrated(self) -> bool:
        """Whether the scores are probabilities: as the reranker says."""
        return isinstance(self.reranker, CalibratedReranker) and self.reranker.calibrated

    @property
    def fitted_relevance(self) -> Sequence[Mapping[str, Any]]:
        """What the reranker brings."""
        return self.reranker.fitted_relevance if isinstance(self.reranker, FittedReranker) else ()

    @property
    def metadata_fields(self) -> tuple[str, ...]:
        """The reranker's fields."""
        return metadata_fields_of(self.reranker)

    def trust_needed(self) -> Mapping[str, str]:
        """A separate path, and another size for the shared cache. The reranker is checked itself."""
        if self.path is not None:
            return {"path": f"it keeps scores in {self.path!r:.200}"}
        if self.max_bytes != type(self).model_fields["max_bytes"].default:
            return {"max_bytes": f"it lets the cache of all your scores have {self.max_bytes} bytes, and no more"}
        return {}

    def score(self, batch: Sequence[Candidates]) -> list[Scores]:
        """The reranker's scores, cached or new.

        Raises:
            HybridrankError: the reranker failed, with what it raised.
        """
        asked = self._look_up(batch)
        rows = score_member(self.reranker, asked.missing, name=self._name) if asked.missing else []
        return self._answer(asked, rows)

    async def ascore(self, batch: Sequence[Candidates]) -> list[Scores]:
        """Like `score`; the cache is read and written in a thread."""
        asked = await in_thread(partial(self._look_up, batch), None, backend=None, purpose="cache")
        if not asked.missing:
            return self._answer(asked, [])
        rows = await ascore_member(self.reranker, asked.missing, name=self._name)
        return await in_thread(partial(self._answer, asked, rows), None, backend=None, purpose="cache")

    def _look_up(self, batch: Sequence[Candidates]) -> _Asked:
        keys = [self._keys(candidates) for candidates in batch]
        distinct = list(dict.fromkeys(key for row in keys for key in row))
        known: Mapping[bytes, Entry] = {}
        problem = None
        try:
            known = self._store.get(distinct) if distinct else {}
        except StorageError as error:
            problem = str(error)
        wanted = set(distinct).difference(known)
        missing, rows = [], []
        for number, (candidates, row) in enumerate(zip(batch, keys, strict=True)):
            documents = []
            for key, document in zip(row, candidates.documents, strict=True):
                if key in wanted:
                    wanted.remove(key)
                    documents.append(document)
            if documents:
                missing.append(Candidates(candidates.query, documents))
                rows.append(number)
        return _Asked(batch, keys, known, missing, rows, problem)

    def _answer(self, asked: _Asked, rows: Sequence[Scores]) -> list[Scores]:
        """Combine the new scores with the cached ones, and store them."""
        new: dict[bytes, Entry] = {}
        for number, row in zip(asked.rows, rows, strict=True):
            made = map(Entry, row, row.spans)
            for key in asked.keys[number]:
                if key not in asked.known and key not in new:
                    new[key] = next(made)
        problem = asked.problem
        if new:
            try:
                self._store.put(new)
            except StorageError as error:
                problem = problem or str(error)
        notes = {"cache_error": problem} if problem else {}
        details = dict(zip(asked.rows, (row.details for row in rows), strict=True))
        answers = []
        for number, row_keys in enumerate(asked.keys):
            hits = sum(key in asked.known for key in row_keys)
            counts = {"cache_hits": hits, "cache_misses": len(row_keys) - hits}
            entries = [asked.known.get(key) or new[key] for key in row_keys]
            answers.append(
                Scores(
                    [entry.score for entry in entries],
                    details={**details.get(number, {}), **counts, **notes},
                    spans=[entry.spans for entry in entries],
                )
            )
        return answers

    def _keys(self, candidates: Candidates) -> list[bytes]:
        """A key per document. Identity and query are preceded by their lengths, so that keys are unambiguous."""
        query = candidates.query.text.encode()
        start = self._digest.copy()
        start.update(len(query).to_bytes(8, "little") + query)
        keys = []
        for content in candidates.contents(self.metadata_fields):
            digest = start.copy()
            digest.update(content.encode())
            keys.append(digest.digest())
        return keys

    @once
    def _name(self) -> str:
        return names_of([self.reranker])[0]

    @once
    def _digest(self) -> blake2b:
        identity = json.dumps([identity_of(self.reranker), *provenance_of(self.reranker)]).encode()
        return blake2b(len(identity).to_bytes(8, "little") + identity, digest_size=KEY_BYTES)

    @once
    def _store(self) -> ScoreStore:
        folder = Path(self.path) if self.path is not None else cache_folder() / "hybridrank" / "scores"
        return ScoreStore(folder, max_bytes=self.max_bytes)
