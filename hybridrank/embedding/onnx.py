"""Embedding on ONNX Runtime, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from hybridrank.component.base import Component, once
from hybridrank.component.protocols import TokenLimit
from hybridrank.errors import ModelError
from hybridrank.models import file_names, resolve
from hybridrank.models.digests import file_digest
from hybridrank.models.facts import Pooling, read_facts
from hybridrank.models.files import onnx_files, possible_graphs, with_weights
from hybridrank.models.onnx_runtime import Encoder, Tokens, trust_needed_to_run, window_of
from hybridrank.models.tokenizing import tokenize
from hybridrank.types import Progress, Role

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["OnnxEmbedder"]


class OnnxEmbedder(Component):
    """Embeds texts with any local or hub model that includes an ONNX graph (`model`: a directory or an id).

    `file` selects a graph of the model; None selects the one that is fastest on this CPU (`models.files` has the
    table). `pooling`, `query_prefix`, `document_prefix` and `max_tokens` override the values from the model's own
    files, or the known values for its id (`models.facts.KNOWN`); ``""`` means no prefix.

    A text longer than `max_tokens` (including special tokens) is truncated.

    `threads` is the maximum number of texts read concurrently (None: one per CPU). `batch_tokens` is the maximum
    size of a batch of texts, including padding; None means 512, or one text at a time for a graph that quantizes
    its activations dynamically, whose vectors would otherwise depend on the rest of the batch.
    """

    use: ClassVar[str] = "onnx"

    model: str = "BAAI/bge-small-en-v1.5"
    revision: str | None = None
    file: str | None = None
    pooling: Pooling | None = None
    query_prefix: str | None = None
    document_prefix: str | None = None
    max_tokens: int | None = Field(default=None, ge=16)
    batch_tokens: PositiveInt | None = None
    threads: PositiveInt | None = None

    @property
    def identity(self) -> str:
        """The configuration that determines a text's vector: embedders of equal identity give equal vectors."""
        options = self.model_dump(exclude={"batch_tokens", "threads"}, exclude_none=True)
        return f"{self.use} {json.dumps(options, sort_keys=True)}"

    @property
    def fingerprint(self) -> str | None:
        """The content that determines a text's vector, whatever the model's name; None if the model is not here.

        It consists of digests of the tokenizer and of every graph that any kind of CPU would load, and of how
        texts are read: pooling, prefixes and window.
        """
        try:
            return json.dumps(self._contents, sort_keys=True)
        except ModelError:
            return None

    def is_like(self, fingerprint: str) -> bool:
        """Whether a machine with another kind of CPU computed this fingerprint for the same model of the hub.

        A machine downloads only the graph of such a model that is fastest on it.
        """
        try:
            other, mine = json.loads(fingerprint), self._contents
            graphs, others = mine["graphs"], dict(other["graphs"])
            if self._directory.parent.name != "snapshots":  # in the hub's cache; elsewhere all graphs are present
                return False
        except (ValueError, TypeError, KeyError, RecursionError, ModelError):
            return False
        alike = {**mine, "graphs": None} == {**other, "graphs": None}
        return alike and graphs.keys().isdisjoint(others)

    @once
    def _contents(self) -> dict[str, Any]:
        return self._read_contents()

    def _read_contents(self) -> dict[str, Any]:
        directory = self._directory
        facts = read_facts(directory, self.model)
        graphs = possible_graphs(file_names(directory), file=self.file)
        return {
            "reads": {
                "pooling": self.pooling or facts.pooling,
                "query_prefix": facts.query_prefix if self.query_prefix is None else self.query_prefix,
                "document_prefix": facts.document_prefix if self.document_prefix is None else self.document_prefix,
                "max_tokens": self.max_tokens or facts.max_tokens,
            },
            "tokenizer": file_digest(directory / "tokenizer.json"),
            "graphs": {
                name: [file_digest(directory / each) for each in with_weights(directory, files)]
                for name, files in graphs.items()
            },
        }

    @property
    def _directory(self) -> Path:
        """The model's directory on this machine; nothing is downloaded."""
        return resolve(
            self.model,
            revision=self.revision,
            choose=partial(onnx_files, file=self.file),
            download=False,
            local_only=self.local_only,
        )

    def trust_needed(self) -> Mapping[str, str]:
        """A model that is not on this machine by its id, a model at a path, and very large batches."""
        return trust_needed_to_run(self)

    def token_limit(self) -> TokenLimit:
        """The window, less the document prefix.

        Raises:
            ModelError: the model cannot be found or read.
        """
        return TokenLimit(self._document_window, self.model)

    @once
    def _document_window(self) -> int:
        window, facts, tokenizer = window_of(self, kind="embedder", download=True)
        prefix = facts.document_prefix if self.document_prefix is None else self.document_prefix
        return window - len(tokenizer.encode(prefix, add_special_tokens=False))

    def embed(self, texts: Sequence[str], *, role: Role, progress: Progress | None = None) -> NDArray[np.float32]:
        """Unit vectors, shape (len(texts), dim), in the order of `texts`.

        Raises:
            ModelError: the model cannot be found or loaded, or its pooling is not known.
            BackendError: ONNX Runtime failed.
            BackendTimeoutError: the deadline has passed.
        """
        import numpy as np

        encoder, output, dim, pool = self._ready
        if not texts:
            return np.empty((0, dim), np.float32)
        tokenizer, graph, window, facts = encoder
        given, own = (
            (self.query_prefix, facts.query_prefix)
            if role == "query"
            else (self.document_prefix, facts.document_prefix)
        )
        prefix = own if given is None else given
        room = window - tokenizer.num_special_tokens_to_add(is_pair=False)
        sequences = []
        for text in texts:
            encoding = tokenize(tokenizer, prefix + text, most=room)
            sequences.append(Tokens.of(tokenizer.post_process(encoding)))
        return graph.run(sequences, output=output, reduce=pool, progress=progress)

    @once
    def _ready(self) -> tuple[Encoder, str, int, Callable[..., NDArray[np.float32]]]:
        encoder = Encoder.load(self)
        if "once _contents" in self.__dict__ and self._read_contents() != self._contents:
            raise ModelError(
                f"the files of {self.model} were replaced while it was in use; start again to use them"
            )
        pooling = self.pooling or encoder.facts.pooling
        if pooling is None:
            raise ModelError(f'{self.model} does not say how its tokens are pooled; give pooling="mean" or "cls"')
        outputs = encoder.graph.outputs
        output = next((name for name, shape in outputs.items() if len(shape) == 3), None)
        if output is None:
            raise ModelError(f"{encoder.graph.path} gives no vectors of tokens, only {', '.join(outputs)}")
        dim = outputs[output][2]
        return encoder, output, dim if isinstance(dim, int) else 0, _mean if pooling == "mean" else _first


def _first(vectors: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float32]:  # noqa: ARG001
    return _unit(vectors[:, 0])


def _mean(vectors: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    import numpy as np

    return _unit(np.einsum("bnd,bn->bd", vectors.astype(np.float32, copy=False), mask.astype(np.float32)))


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    import numpy as np

    vectors = vectors.astype(np.float32, copy=False)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
