"""The model that a training starts from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hybridrank.errors import ModelError
from hybridrank.models import file_names, files_digest, resolve
from hybridrank_sentence_transformers.files import torch_files
from hybridrank_sentence_transformers.torch_model import token_positions
from hybridrank_sentence_transformers.training.options import TrainingOptions

__all__ = ["Start"]

_TOKENIZERS = frozenset(
    {
        *("tokenizer.json", "vocab.txt", "vocab.json"),
        *("sentencepiece.bpe.model", "spiece.model", "tokenizer.model"),
    }
)


class Start:
    """Weights to start from, found; a `digest` of the files tells them from others.

    Raises:
        ModelError: they cannot be found, or come without a tokenizer.
    """

    def __init__(self, model: str, revision: str | None) -> None:
        choose = partial(torch_files, code=False)
        self.model = model
        self.directory = resolve(model, revision=revision, choose=choose)
        names = file_names(self.directory)
        if not _TOKENIZERS.intersection(name.rpartition("/")[2] for name in names):
            raise ModelError(
                f"{self.directory} has no tokenizer (tokenizer.json, or a vocabulary): copy it there from the "
                "model that this one was made of"
            )
        self.digest = files_digest(self.directory, choose(names))

    def load(self, make: Callable[[str], Any], options: TrainingOptions, directory: Path | None = None) -> Any:
        """What `make` makes of the weights, new parts (a head) drawn by the seed, with the window asked for.

        `directory` holds what a training has made of them, where there is such.

        Raises:
            ModelError: it cannot be loaded, or its tokenizer is of the slow kind.
        """
        from transformers import set_seed

        set_seed(options.seed)
        try:
            model = make(str(directory or self.directory))
        except Exception as error:
            raise ModelError(f"{self.model!r} cannot be loaded: {error}") from error
        if not getattr(model.tokenizer, "is_fast", False):
            raise ModelError(f"{self.model!r} has no fast tokenizer (tokenizer.json), which the result would need")
        model.max_seq_length = min(options.max_tokens, token_positions(model))
        return model
