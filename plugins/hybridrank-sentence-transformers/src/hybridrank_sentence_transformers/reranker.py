"""Any single-score CrossEncoder as a reranker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt, ValidationInfo, field_validator

from hybridrank.component import once
from hybridrank.errors import BackendError, ModelError
from hybridrank.models import files_digest
from hybridrank.rerank import Activation, OnLong, PairTokenizer, scores_of_best_windows
from hybridrank.types import Candidates, Scores
from hybridrank_sentence_transformers.torch_model import TorchModel, not_installed, out_of_memory

if TYPE_CHECKING:
    from hybridrank.models import Tokens

__all__ = ["SentenceTransformerReranker"]

_RUNTIME = ("torch", "transformers", "sentence-transformers", "tokenizers")


class SentenceTransformerReranker(TorchModel):
    """Scores each document by reading it together with the query (Nogueira and Cho, 2019), on torch.

    `activation` ``"none"`` gives the model's raw logit, unbounded; ``"sigmoid"`` maps it to 0..1, in the same
    order. What the model's own configuration says about an activation is not applied on top.

    `on_long` says what happens to a document that does not fit into the window besides the query:
    ``"window"`` reads it in overlapping windows (by an eighth) and takes the best window's score; of more than
    `max_windows` (None: 8), it reads those with most of the query's tokens;
    ``"truncate"`` reads its beginning, ``"raise"`` refuses it. A query gets at most half of the window. Each
    `Scores.details` has ``tokens_read`` and ``tokens_total`` (of the documents), ``windows``, ``truncated``
    (documents not read as a whole) and ``query_tokens_cut``. The best window of a document that is read in several
    is its span.

    `metadata_fields` are read between title and text, as `Candidates.contents` renders them. `instruction` is put
    before each query as it is, in place of the model's default prompt, for models that were trained with one.
    """

    use = "sentence-transformers"
    pointwise: ClassVar[bool] = True

    model: str = "cross-encoder/ms-marco-MiniLM-L6-v2"
    activation: Activation = "none"
    on_long: OnLong = "window"
    max_windows: PositiveInt | None = None
    metadata_fields: tuple[str, ...] = ()
    instruction: str | None = None

    _class: ClassVar[str] = "CrossEncoder"

    @field_validator("max_windows")
    @classmethod
    def _of_windows(cls, max_windows: int | None, info: ValidationInfo) -> int | None:
        if max_windows is not None and info.data.get("on_long") != "window":
            raise ValueError('max_windows has a meaning only with on_long="window"')
        return max_windows

    def _check(self, model: Any) -> None:
        if model.num_labels != 1:
            raise ModelError(
                f"{self.model!r} gives {model.num_labels} scores for a pair (a classifier); a reranker needs one"
            )
        if "message" in model.modalities:
            raise ModelError(f"{self.model!r} reads chat messages, not pairs of texts, which is not supported")
        if not getattr(model.tokenizer, "is_fast", False):
            raise ModelError(f"{self.model!r} has no fast tokenizer (tokenizer.json), which windows need")
        network = model.transformers_model
        heads = getattr(network.config, "architectures", None) or []
        adapted = getattr(network, "peft_config", None)
        classifies = adapted or any(head.endswith("ForSequenceClassification") for head in heads)
        if model[0].transformer_task == "sequence-classification" and not classifies:
            raise ModelError(
                f"{self.model!r} ({', '.join(heads) or 'no architecture'}) has no classification head, so its "
                "scores would be random: name a cross-encoder, or fine-tune this model into one first"
            )
        try:  # once, of pairs of two lengths: what fails here fails in every search
            model.predict([("a", "a"), ("a", "a a a")], batch_size=2, show_progress_bar=False)
        except Exception as error:
            if out_of_memory(error):
                raise BackendError(f"{self.model!r} does not fit in memory") from error
            raise ModelError(
                f"{self.model!r} cannot score pairs of different lengths together: {error}"
            ) from error

    def trust_needed(self) -> Mapping[str, str]:
        """Code of the model's own, a model that is not on this machine by its id, and one named by a path."""
        return self._trust_needed()

    @property
    def identity(self) -> str:
        """What decides the score of a pair, as configured: rerankers of equal identity give equal scores."""
        options = self.model_dump(exclude={"batch_size", "device"}, exclude_none=True)
        if not self.metadata_fields:
            del options["metadata_fields"]
        return f"{self.use} {json.dumps(options, sort_keys=True)}"

    @once
    def fingerprint(self) -> str:
        """What decides the score of a pair besides the configuration: the model's files, and what runs them.

        The model is not loaded for it.

        Raises:
            MissingDependencyError: torch or sentence-transformers is not installed.
            ModelError: the model cannot be found.
        """
        try:
            versions = [f"{name} {version(name)}" for name in _RUNTIME]
        except PackageNotFoundError as error:
            raise not_installed(error) from error
        directory, names = self._find()
        return " ".join([files_digest(directory, names), *versions])

    def score(self, batch: Sequence[Candidates]) -> Sequence[Scores]:
        """One score per document, in the documents' order, for each of the batch; higher is better.

        Scores are comparable across queries as far as the model makes them so.

        Raises:
            InputError: a document or a query is too long, and `on_long` is ``"raise"``.
            ModelError, ConfigError, MissingDependencyError: the model cannot be loaded.
            BackendTimeoutError: the deadline has passed.
            BackendError: the model failed, or ran out of memory.
        """
        tokenizer = self._tokenizer
        pairs = [tokenizer.encode(candidates) for candidates in batch]
        sequences = [window for each in pairs for windows in each.windows for window in windows]
        if not sequences:
            return [Scores(details=each.details) for each in pairs]
        logits = self.loaded.run(
            sequences,
            lengths=[len(sequence.ids) for sequence in sequences],
            collate=self._pad,
            output="scores",
            batch_size=self.batch_size,
        ).reshape(len(sequences))
        return scores_of_best_windows(logits, pairs, activation=self.activation)

    @once
    def _tokenizer(self) -> PairTokenizer:
        model = self.loaded.model
        # A copy: transformers sets truncation and padding at every call in the tokenizer that all threads share.
        backend = model.tokenizer.backend_tokenizer
        tokenizer = type(backend).from_str(backend.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return PairTokenizer(
            tokenizer,
            prompt=self._prompt(model),
            metadata_fields=self.metadata_fields,
            window=self.loaded.window,
            on_long=self.on_long,
            max_windows=self.max_windows,
            model=self.model,
        )

    def _prompt(self, model: Any) -> str:
        if self.instruction is not None:
            return self.instruction
        return model.prompts.get(model.default_prompt_name) or ""

    def _pad(self, batch: Sequence[Tokens]) -> dict[str, Any]:
        """The model's features: tensors of shape (batch, longest)."""
        tokenizer = self.loaded.model.tokenizer
        columns = {
            "input_ids": [tokens.ids.tolist() for tokens in batch],
            "token_type_ids": [tokens.type_ids.tolist() for tokens in batch],
            "attention_mask": [[1] * len(tokens.ids) for tokens in batch],
        }
        wanted = {name: columns[name] for name in tokenizer.model_input_names if name in columns}
        return dict(tokenizer.pad(wanted, return_tensors="pt"))
