"""A ColBERT model as a reranker, on stored token vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from pydantic import Field

from hybridrank import Component
from hybridrank.component import once
from hybridrank.errors import BackendError, InputError, StorageError
from hybridrank.models import cache_folder, file_names, files_digest, resolve
from hybridrank.rerank import OnLong
from hybridrank.types import Candidates, Document, Progress, Scores
from hybridrank_colbert.encoder import Encoder, Runtime, load, versions
from hybridrank_colbert.files import check_is_colbert, colbert_files
from hybridrank_colbert.store import KEY_BYTES, TokenStore
from hybridrank_colbert.vectors import Kept, Precision, maxsim, pack, unpack
from hybridrank_colbert.windows import Windows, windows_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Colbert", "HoldsUnits"]

_LOOKED_UP = 1_000  # documents at once, when they are prepared


@runtime_checkable
class HoldsUnits(Protocol):
    """A collection."""

    def units(self) -> Iterator[Document]:
        """What a reranker reads of it: documents, or passages where they are split."""
        ...


class Colbert(Component):
    """Late interaction: the sum, over the query's tokens, of each one's best match in the document.

    That is MaxSim (Khattab and Zaharia, "ColBERT", 2020). Query and document are encoded separately, so a
    document's token vectors are computed once and stored, and a search encodes only the query. `precompute`
    computes them for a whole collection; other documents are encoded, and stored, when they first become
    candidates.

    A score lies between -n and n, where n is the number of the query's token vectors (32 for most models, which
    fill each query up with mask tokens); rounding may pass that by a thousandth. Scores are comparable across
    queries only as far as n and the model make them so.

    `model` is a model's id or a local directory, `revision` a branch, tag or commit of the id. `runtime` runs the
    model: ``"pylate"``, or ``"sentence-transformers"`` (6.2 or newer), with which PyLate cannot be installed.
    `device` is a torch device; None takes the best that torch finds. `max_tokens` is the window for documents, in
    tokens; None is the model's own. `on_long` handles longer documents: ``"window"`` reads all of a document in
    overlapping windows (by an eighth), whose vectors are all used, ``"truncate"`` reads its beginning,
    ``"raise"`` rejects it (and a query longer than the model's window for queries).

    Vectors are stored with `precision`, in the directory `path` (None: ``hybridrank/tokens`` in the user's cache
    directory), in at most `max_bytes`, under a digest of what determines them: the model's files, the versions of
    the libraries, the options, and the document's `content`. Any number of threads, processes and collections may
    share it. If it is full, damaged or unwritable, a search continues without it; ``store_error`` reports it.

    The details are ``documents_encoded`` (now) and ``documents_kept`` (found), ``tokens_read`` and
    ``tokens_total`` (of the documents, whenever they were encoded), ``truncated`` (documents not read to the
    end), ``query_tokens_cut``, and ``store_error`` if there was one.
    """

    use = "colbert"
    pointwise: ClassVar[bool] = True

    model: str = Field(default="lightonai/GTE-ModernColBERT-v1", min_length=1)
    revision: str | None = None
    runtime: Runtime = "pylate"
    device: str | None = None
    max_tokens: int | None = Field(default=None, ge=16)
    batch_size: int = Field(default=32, ge=1)
    on_long: OnLong = "window"
    precision: Precision = "float16"
    path: str | None = None
    max_bytes: int = Field(default=4 * 2**30, ge=2**20)

    def trust_needed(self) -> Mapping[str, str]:
        """All of it: PyLate loads the model, and token vectors fill the disk."""
        place = "the user's cache directory" if self.path is None else f"{self.path!r:.200}"
        return {"": f"it loads the model {self.model!r:.200} with torch, and keeps token vectors in {place}"}

    @property
    def identity(self) -> str:
        """The configuration that determines a pair's score: rerankers of equal identity give equal scores."""
        options = self.model_dump(exclude={"batch_size", "device", "path", "max_bytes"}, exclude_none=True)
        return f"{self.use} {json.dumps(options, sort_keys=True)}"

    @once
    def fingerprint(self) -> str:
        """What determines a pair's score besides the configuration: the model's files and the libraries.

        The model is not loaded for this.

        Raises:
            MissingDependencyError: what runs the model is not installed.
            ModelError: the model cannot be found.
        """
        running = versions(self.runtime)
        directory, names = self._find()
        return f"{files_digest(directory, names)} {running}"

    def score(self, batch: Sequence[Candidates]) -> list[Scores]:
        """One score per document, in the documents' order, for each query of the batch; higher is better.

        Raises:
            InputError: a document or a query is too long, and `on_long` is ``"raise"``.
            ModelError, ConfigError, MissingDependencyError: the model cannot be loaded.
            BackendTimeoutError: the deadline has passed. What was read until then is kept.
            BackendError: the model failed, or ran out of memory.
        """
        asked = [candidates for candidates in batch if candidates.documents]
        queries = self._query_vectors(dict.fromkeys(candidates.query.text for candidates in asked))
        return [
            self._score(candidates, *queries[candidates.query.text]) if candidates.documents else Scores()
            for candidates in batch
        ]

    def precompute(
        self,
        documents: HoldsUnits | Iterable[Document],
        *,
        prune: bool = False,
        progress: Progress | None = None,
    ) -> int:
        """Compute and store the token vectors of a collection, or of documents. Returns how many were computed.

        Only missing ones are computed; completed batches survive an interruption. `prune` then deletes all that
        these documents do not need, also those of other collections in the same `path`. `progress` counts
        documents; for it, an iterable without a length is first read to its end.

        Raises:
            StorageError: the vectors cannot be kept, or do not fit in `max_bytes`.
            InputError, ModelError, ConfigError, MissingDependencyError, BackendError: as `score`.
        """
        total = 0
        if isinstance(documents, HoldsUnits):
            if progress is not None:
                total = sum(1 for _ in documents.units())
            documents = documents.units()
        elif progress is not None:
            documents = list(documents)
            total = len(documents)
        made = done = 0
        needed: set[bytes] = set()
        source = iter(documents)
        while some := list(islice(source, _LOOKED_UP)):
            by_key = {self._key(each): each for each in some}
            held = self._store.held(list(by_key))
            left = len(by_key) - len(held)
            for values in self._read({key: each for key, each in by_key.items() if key not in held}):
                self._store.put(values)
                made += len(values)
                left -= len(values)
                if progress is not None and left:
                    progress(done + len(some) - left, total)
            done += len(some)
            if progress is not None:
                progress(done, max(done, total))
            if prune:
                needed.update(by_key)
        if prune:
            self._store.keep_only(needed)
        return made

    def _score(self, candidates: Candidates, query: NDArray[np.float32], cut: int) -> Scores:
        keys = [self._key(document) for document in candidates.documents]
        by_key = dict(zip(keys, candidates.documents, strict=True))
        found: dict[bytes, Kept] = {}
        problems = []
        try:
            for key, value in self._store.get(list(by_key)).items():
                if (kept := unpack(value, key=key)) is not None:
                    found[key] = kept
                else:
                    problems.append("a row is damaged; it was made again")
        except StorageError as error:
            problems.append(str(error))
        held = len(found)
        for values in self._read({key: each for key, each in by_key.items() if key not in found}):
            found.update((key, _unpacked(value, key)) for key, value in values.items())
            try:
                self._store.put(values)
            except StorageError as error:
                problems.append(str(error))
        read = [found[key] for key in keys]
        scores = {key: maxsim(query, kept.vectors) for key, kept in found.items()}
        return Scores(
            [scores[key] for key in keys],
            details={
                "documents_encoded": len(found) - held,
                "documents_kept": held,
                "tokens_read": sum(kept.read for kept in read),
                "tokens_total": sum(kept.total for kept in read),
                "truncated": sum(kept.read < kept.total for kept in read),
                "query_tokens_cut": cut,
                **({"store_error": problems[0]} if problems else {}),
            },
        )

    def _query_vectors(self, texts: Iterable[str]) -> Mapping[str, tuple[NDArray[np.float32], int]]:
        """Each query's token vectors, and how many of its tokens they leave out."""
        encoder = self._encoder
        wanted = list(texts)
        room = encoder.room(encoder.query)
        cut = [max(0, len(encoder.tokens(text).ids) - room) for text in wanted]
        for text, over in zip(wanted, cut, strict=True):
            if over and self.on_long == "raise":
                raise InputError(
                    f'the query has {room + over} tokens, and {self.model} reads {room} ("{text[:40]}…"); shorten '
                    'it, or set on_long="truncate"'
                )
        vectors: list[NDArray[np.float32]] = []
        for start in range(0, len(wanted), self.batch_size):
            vectors += encoder.encode(encoder.query, wanted[start : start + self.batch_size])
        return dict(zip(wanted, zip(vectors, cut, strict=True), strict=True))

    def _read(self, documents: Mapping[bytes, Document]) -> Iterator[dict[bytes, bytes]]:
        """Read documents, the shortest first, as many at a time as fill a batch; gives what is to be kept of each.

        Scores are made of what is kept, rounded as it is, so that they are the same at first sight and later.
        """
        if not documents:
            return
        import numpy as np

        encoder = self._encoder
        room = encoder.room(encoder.document)
        order = iter(sorted(documents.items(), key=lambda item: len(item[1].content)))
        while True:
            texts: list[str] = []
            parts: list[tuple[bytes, Windows]] = []
            for key, document in order:
                windows = windows_of(
                    document, encode=encoder.tokens, room=room, on_long=self.on_long, model=self.model
                )
                texts += windows.texts
                parts.append((key, windows))
                if len(texts) >= self.batch_size:
                    break
            if not parts:
                return
            vectors: list[NDArray[np.float32]] = []
            for start in range(0, len(texts), self.batch_size):
                vectors += encoder.encode(encoder.document, texts[start : start + self.batch_size])
            values, at = {}, 0
            for key, windows in parts:
                end = at + len(windows.texts)
                kept = Kept(np.concatenate(vectors[at:end]), windows.read, windows.total)
                values[key] = pack(kept, precision=self.precision, key=key)
                at = end
            yield values

    def _key(self, document: Document) -> bytes:
        """The key of the document's vectors: 128 bits that authors of documents cannot forge."""
        digest = self._digest.copy()
        digest.update(document.content.encode())
        return digest.digest()

    @once
    def _digest(self) -> blake2b:
        what = f"{self.identity}\n{self.fingerprint}".encode()
        return blake2b(len(what).to_bytes(8, "little") + what, digest_size=KEY_BYTES)

    @once
    def _store(self) -> TokenStore:
        folder = Path(self.path) if self.path is not None else cache_folder() / "hybridrank" / "tokens"
        return TokenStore(folder.expanduser(), max_bytes=self.max_bytes)

    @once
    def _encoder(self) -> Encoder:
        directory, _ = self._find()
        check_is_colbert(self.model, directory)
        return load(
            self.model,
            directory,
            runtime=self.runtime,
            device=self.device,
            max_tokens=self.max_tokens,
            batch_size=self.batch_size,
        )

    def _find(self) -> tuple[Path, Sequence[str]]:
        """The model's directory, and the names of the files in it that are needed."""
        directory = resolve(self.model, revision=self.revision, choose=colbert_files, local_only=self.local_only)
        return directory, colbert_files(file_names(directory))


def _unpacked(value: bytes, key: bytes) -> Kept:
    kept = unpack(value, key=key)
    if kept is None:
        raise BackendError("token vectors came out damaged; is this machine's memory sound?")
    return kept
