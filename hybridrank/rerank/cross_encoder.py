"""A cross-encoder on ONNX Runtime, without torch: it reads query and document together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt, ValidationInfo, field_validator

from hybridrank.component.base import Component, once
from hybridrank.component.protocols import TokenLimit
from hybridrank.errors import ModelError
from hybridrank.models import file_names, resolve
from hybridrank.models.digests import files_digest
from hybridrank.models.files import cpu_features, onnx_files, with_weights
from hybridrank.models.onnx_runtime import Encoder, Graph, trust_needed_to_run, window_of
from hybridrank.relevance.shipped import shipped_calibrations
from hybridrank.rerank.pairs import Activation, OnLong, PairTokenizer, document_limit, scores_of_best_windows
from hybridrank.types import Candidates, Scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CrossEncoder"]

_SURE_BETWEEN = {"cross-encoder/ms-marco-MiniLM-L12-v2": (0.0, 9.0)}
"""Logits, by model."""


class CrossEncoder(Component):
    """Scores documents with any local or hub cross-encoder that ships an ONNX graph.

    `model` is a directory or an id; the default is the one that ``hybridrank-models`` brings for machines without
    a network. `file` names the graph within the model; None takes the one that this CPU runs best (`models.files`
    has the table).

    Scores are the model's logits as they are: higher is better, any real number, 0 is no threshold, comparable
    across queries as far as the model makes them so. `activation="sigmoid"` maps them into 0…1, in the same order.

    `max_tokens` is the window for query and document together, special tokens included (None: the model's). A
    document that does not fit with the query is read in overlapping windows, the overlap an eighth of what fits,
    and its score is that of its best window (`on_long="window"`); or its beginning is (`"truncate"`); or it is an
    error (`"raise"`). A query gets at most half of the window: a longer one is cut there, or is an error with
    `"raise"`. At most `max_windows` windows of a document are read (None: 8), those with most of the query's
    tokens, so that no single document takes a search. Each `Scores.details` has ``tokens_read`` and
    ``tokens_total`` (of the documents, overlaps counted once), ``windows`` (sequences that the model read),
    ``truncated`` (documents not read as a whole) and ``query_tokens_cut``.

    `metadata_fields` are read between title and text, as `Candidates.contents` renders them. The best window of a
    document that is read in several is its span.

    `threads` bounds how many sequences are read at once (None: one for each CPU). `batch_tokens` bounds a batch
    of sequences, padding included; None is 512, and one sequence at a time for a graph that quantizes its
    activations as it runs, whose scores would otherwise depend on the neighbors in the batch. Documents' tokens
    are kept for the next query, 4 million at most (16 MB), by content.

    An 8-bit graph's scores are those of its kind of CPU: products overflow on x86-64 without VNNI, which moves the
    default model's logits by some tenths.
    """

    use: ClassVar[str] = "cross-encoder"
    pointwise: ClassVar[bool] = True

    model: str = "cross-encoder/ms-marco-MiniLM-L12-v2"
    revision: str | None = None
    file: str | None = None
    on_long: OnLong = "window"
    activation: Activation = "none"
    max_tokens: int | None = Field(default=None, ge=16)
    max_windows: PositiveInt | None = None
    batch_tokens: PositiveInt | None = None
    threads: PositiveInt | None = None
    metadata_fields: tuple[str, ...] = ()

    @field_validator("max_windows")
    @classmethod
    def _of_windows(cls, max_windows: int | None, info: ValidationInfo) -> int | None:
        if max_windows is not None and info.data.get("on_long") != "window":
            raise ValueError('max_windows has a meaning only with on_long="window"')
        return max_windows

    @property
    def identity(self) -> str:
        """The configuration that determines a pair's score: cross-encoders of equal identity give equal scores."""
        options = self.model_dump(exclude={"threads"}, exclude_none=True)
        if not self.metadata_fields:
            del options["metadata_fields"]
        return f"{self.use} {json.dumps(options, sort_keys=True)}"

    @property
    def confidence_range(self) -> tuple[float, float] | None:
        """The range for models on whose logits it was measured (docs/blending.md); None for others."""
        return _SURE_BETWEEN.get(self.model) if self.activation == "none" else None

    @property
    def fitted_relevance(self) -> Sequence[Mapping[str, Any]]:
        """For models whose logits were calibrated (docs/relevance.md); empty for others."""
        if self.activation != "none" or self.metadata_fields:
            return ()
        return shipped_calibrations(self.model, identity=self.identity)

    def trust_needed(self) -> Mapping[str, str]:
        """A model that is not on this machine by its id, a model at a path, and very large batches."""
        return trust_needed_to_run(self)

    def token_limit(self) -> TokenLimit:
        """The window, less a query of 64 tokens; nothing is downloaded.

        Raises:
            ModelError: the model is not on this machine, or cannot be read.
        """
        window, _, tokenizer = window_of(self, kind="reranker", download=False)
        return TokenLimit(document_limit(tokenizer, window), self.model)

    @once
    def fingerprint(self) -> str:
        """What determines a pair's score besides the configuration: the model's files and the libraries.

        This includes the CPU: 8-bit products overflow without VNNI.
        """
        import onnxruntime
        import tokenizers

        choose = partial(onnx_files, file=self.file)
        directory = resolve(self.model, revision=self.revision, choose=choose, local_only=self.local_only)
        digest = files_digest(directory, with_weights(directory, choose(file_names(directory))))
        versions = f"onnxruntime {onnxruntime.__version__} tokenizers {tokenizers.__version__}"
        return f"{digest} {versions} {' '.join(sorted(cpu_features()))}"

    def score(self, batch: Sequence[Candidates]) -> list[Scores]:
        """One score per document, in the documents' order, for each query of the batch.

        Raises:
            InputError: a document or a query is too long, and `on_long` is "raise".
            ModelError: the model cannot be found or loaded, or does not give one logit for a pair.
            BackendError: ONNX Runtime failed.
            BackendTimeoutError: the deadline has passed: it is looked at before every sequence that is read.
        """
        graph, output, tokenizer = self._ready
        pairs = [tokenizer.encode(candidates) for candidates in batch]
        sequences = [window for each in pairs for windows in each.windows for window in windows]
        logits = graph.run(sequences, output=output, reduce=self._logits)
        return scores_of_best_windows(logits, pairs, activation=self.activation)

    @once
    def _ready(self) -> tuple[Graph, str, PairTokenizer]:
        tokenizer, graph, window, _ = Encoder.load(self, kind="reranker")
        outputs = graph.outputs
        output = "logits" if "logits" in outputs else next(iter(outputs))
        shape = outputs[output]
        if len(shape) > 2 or (len(shape) == 2 and isinstance(shape[1], int) and shape[1] != 1):
            raise ModelError(self._not_one_logit(shape))
        pairs = PairTokenizer(
            tokenizer,
            window=window,
            on_long=self.on_long,
            model=self.model,
            metadata_fields=self.metadata_fields,
            max_windows=self.max_windows,
        )
        return graph, output, pairs

    def _logits(self, values: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        if values.size != len(mask):
            raise ModelError(self._not_one_logit(list(values.shape)))
        logits: NDArray[np.float32] = values.reshape(len(mask))
        return logits

    def _not_one_logit(self, shape: list[Any]) -> str:
        return (
            f"{self.model} gives shape ({', '.join(map(str, shape))}), not one logit for each pair: "
            "it is no cross-encoder that ranks"
        )
