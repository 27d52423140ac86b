"""Any SentenceTransformer as an embedder."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from hybridrank.component import once
from hybridrank.errors import ModelError
from hybridrank.models import KNOWN, Known, files_digest
from hybridrank.runtime import new_lock
from hybridrank.types import Role
from hybridrank_sentence_transformers.torch_model import TorchModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SentenceTransformerEmbedder"]

_PROMPTS = {"query": ("query",), "document": ("document", "passage", "corpus")}
"""The names that models give their prompts, in the order that `encode_query` and `encode_document` try them."""


class SentenceTransformerEmbedder(TorchModel):
    """Texts -> unit vectors, by a SentenceTransformer (Reimers and Gurevych, 2019) on torch.

    Queries and documents get the prompts that the model brings for them, or that hybridrank knows for its id;
    `query_prefix` and `document_prefix` replace those (an empty string: no prompt). A text longer than the
    model's window is cut to it: split long documents before you index them.
    """

    use = "sentence-transformers"

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    query_prefix: str | None = None
    document_prefix: str | None = None

    _class: ClassVar[str] = "SentenceTransformer"

    @property
    def fingerprint(self) -> str | None:
        """What decides the vector of a text, by content, whatever the model is called; None if it is not here."""
        try:
            return self._contents
        except ModelError:
            return None

    @once
    def _contents(self) -> str:
        directory, names = self._find(download=False)
        known = KNOWN.get(self.model, Known("embedder"))  # what stands in for prompts that the files do not hold
        options = self.model_dump(exclude={"model", "revision", "batch_size", "device"}, exclude_none=True)
        reads = json.dumps([options, known.query_prefix, known.document_prefix], sort_keys=True)
        return f"{files_digest(directory, names)} {reads}"

    def trust_needed(self) -> Mapping[str, str]:
        """Code of the model's own, a model that is not on this machine by its id, and one named by a path."""
        return self._trust_needed()

    @property
    def identity(self) -> str:
        """What decides the vector of a text, as configured: embedders of equal identity give equal vectors."""
        options = self.model_dump(exclude={"batch_size", "device"}, exclude_none=True)
        return f"{self.use} {json.dumps(options, sort_keys=True)}"

    def embed(self, texts: Sequence[str], *, role: Role) -> NDArray[np.float32]:
        """Float32, shape (len(texts), dim), rows in the order of `texts`, each of unit length.

        Raises:
            ModelError, ConfigError, MissingDependencyError: the model cannot be loaded.
            BackendTimeoutError: the deadline has passed.
            BackendError: the model failed, or ran out of memory.
        """
        import numpy as np

        loaded = self.loaded
        if not texts:
            return np.empty((0, loaded.model.get_embedding_dimension()), dtype=np.float32)
        prompt = self._prompt(role)

        def collate(batch: list[str]) -> dict[str, Any]:
            with self._tokenizing:
                features: dict[str, Any] = loaded.model.preprocess(batch, prompt=prompt, task=role)
            return features

        vectors = loaded.run(
            texts,
            lengths=[len(text) for text in texts],
            collate=collate,
            output="sentence_embedding",
            batch_size=self.batch_size,
            task=role,
        )
        vectors = vectors[:, : loaded.model.truncate_dim]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        empty = lengths[:, 0] == 0  # a model without special tokens has nothing to say about a blank text
        vectors[empty], lengths[empty] = 1.0, vectors.shape[1] ** 0.5
        return np.ascontiguousarray(vectors / lengths, dtype=np.float32)

    @once
    def _tokenizing(self) -> threading.Lock:
        """One thread at a time: every call sets padding and truncation in a tokenizer that all share."""
        return new_lock()

    def _prompt(self, role: Role) -> str:
        given = self.query_prefix if role == "query" else self.document_prefix
        if given is not None:
            return given
        prompts = self.loaded.model.prompts
        for name in _PROMPTS[role]:
            if prompts.get(name):
                return str(prompts[name])
        known = KNOWN.get(self.model, Known("embedder"))
        return known.query_prefix if role == "query" else known.document_prefix
