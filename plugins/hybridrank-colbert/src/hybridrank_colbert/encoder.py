"""A late-interaction model on a device: loading it, and encoding texts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hybridrank.errors import BackendError, BackendTimeoutError, ConfigError, MissingDependencyError, ModelError
from hybridrank.runtime import check, hold_forks, new_lock, remaining

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Encoding, Tokenizer

__all__ = ["Encoder", "Runtime", "Side", "load", "versions"]

Runtime: TypeAlias = Literal["pylate", "sentence-transformers"]
"""Which library runs the model."""

_PACKAGES = {
    "pylate": ("pylate", "sentence-transformers", "transformers", "tokenizers", "torch"),
    "sentence-transformers": ("sentence-transformers", "transformers", "tokenizers", "torch"),
}
_CLASSES = {
    "pylate": ("pylate.models", "ColBERT"),
    "sentence-transformers": ("sentence_transformers", "MultiVectorEncoder"),
}
_UNBOUNDED = 1_000_000
"""Tokens: the window of a model that names none."""


@dataclass(frozen=True, slots=True)
class Side:
    """How the model reads queries, or documents: what it puts before each, and how many tokens fit with that."""

    prompt: str
    room: int
    run: Callable[[list[str]], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Encoder:
    """A model shared by threads. They take turns in it: it sets truncation and padding in one tokenizer at each
    call.

    `tokenizer` is a copy that nobody changes, so counting needs no turn.
    """

    name: str
    device: str
    tokenizer: Tokenizer
    query: Side
    document: Side
    turn: threading.Lock = field(default_factory=new_lock)

    def tokens(self, text: str) -> Encoding:
        """A text's tokens, without special ones and the prompt."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def room(self, side: Side) -> int:
        """The number of tokens of a text that the model reads."""
        return side.room - len(self.tokens(side.prompt).ids)

    def encode(self, side: Side, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Token vectors, float32 of shape (tokens, dim), of each text of one batch.

        Raises:
            BackendTimeoutError: the deadline has passed.
            BackendError: the device ran out of memory, or the model failed.
        """
        import numpy as np

        with self._its_turn():
            check(f"{self.name!r}")
            try:
                with hold_forks():
                    made = side.run(list(texts))
            except (RuntimeError, MemoryError) as error:
                if _out_of_memory(error):
                    raise BackendError(
                        f"{self.name!r} ran out of memory on {self.device} with {len(texts)} texts in a batch; "
                        "lower batch_size or max_tokens"
                    ) from error
                raise BackendError(f"{self.name!r} failed on {self.device}: {error}") from error
        return [np.asarray(vectors, dtype=np.float32) for vectors in made]

    @contextmanager
    def _its_turn(self) -> Iterator[None]:
        left = remaining()
        if not self.turn.acquire(timeout=-1 if left is None else left):
            raise BackendTimeoutError(f"{self.name!r}: the deadline has passed")
        try:
            yield
        finally:
            self.turn.release()


def versions(runtime: Runtime) -> str:
    """The libraries that run the model, with versions.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return " ".join(f"{name} {version(name)}" for name in _PACKAGES[runtime])
    except PackageNotFoundError as error:
        raise _not_installed(runtime, error) from error


def load(
    name: str, directory: Path, *, runtime: Runtime, device: str | None, max_tokens: int | None, batch_size: int
) -> Encoder:
    """Load the model from a directory.

    Raises:
        MissingDependencyError: what runs it is not installed.
        ConfigError: this machine has no such device, or `max_tokens` is more than the model can read.
        ModelError: it cannot be loaded.
        BackendError: it does not fit in memory.
    """
    running = versions(runtime)
    try:
        import torch
        from sentence_transformers.util import get_device_name

        package, kind = _CLASSES[runtime]
        model_class = getattr(import_module(package), kind, None)
    except ImportError as error:
        raise _not_installed(runtime, error) from error
    if model_class is None:
        raise _not_installed(runtime, ImportError(f"{package} has no {kind}"))
    try:
        chosen = str(torch.device(device or get_device_name()))
        torch.zeros(1, device=chosen).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f'torch {torch.__version__} cannot use the device "{device}" here ({reason}); '
            "leave it out to take the best that there is",
            path="$.device",
        ) from error
    try:
        model = model_class(str(directory), device=chosen)
    except Exception as error:
        if _out_of_memory(error):
            raise BackendError(f"{name!r} does not fit in the memory of {chosen}") from error
        raise ModelError(f"{name!r} cannot be loaded ({running}): {type(error).__name__}: {error}") from error
    if not getattr(model.tokenizer, "is_fast", False):
        raise ModelError(f"{name!r} has no fast tokenizer (tokenizer.json), which windows need")
    if max_tokens is not None and max_tokens > (most := _positions(model)):
        raise ConfigError(f"{name!r} reads at most {most} tokens", path="$.max_tokens")
    backend = model.tokenizer.backend_tokenizer
    tokenizer: Tokenizer = type(backend).from_str(backend.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special = tokenizer.num_special_tokens_to_add(is_pair=False)
    sides = _pylate_sides if runtime == "pylate" else _sentence_transformers_sides
    query, document = sides(model, special, max_tokens, batch_size)
    return Encoder(name=name, device=chosen, tokenizer=tokenizer, query=query, document=document)


def _pylate_sides(model: Any, special: int, max_tokens: int | None, batch_size: int) -> tuple[Side, Side]:
    """PyLate's ColBERT inserts a token for the side, and puts its default prompt before both."""
    model.document_length = max_tokens or min(model.document_length, _positions(model))
    prompt = model.prompts.get(model.default_prompt_name) or ""

    def side(is_query: bool) -> Side:
        length = model.query_length if is_query else model.document_length
        prefix = model.query_prefix_id if is_query else model.document_prefix_id

        def run(texts: list[str]) -> Sequence[Any]:
            vectors: Sequence[Any] = model.encode(
                texts, is_query=is_query, batch_size=batch_size, show_progress_bar=False
            )
            return vectors

        return Side(prompt, length - special - (prefix is not None), run)

    return side(True), side(False)


def _sentence_transformers_sides(
    model: Any, special: int, max_tokens: int | None, batch_size: int
) -> tuple[Side, Side]:
    """Sentence Transformers' MultiVectorEncoder writes what stands for the side into the text, as a prompt."""
    reader = model[0]
    longest = min(model.max_seq_length or _UNBOUNDED, _positions(model))
    reader.document_length = max_tokens or min(reader.document_length or longest, _positions(model))
    expansion = reader.query_expansion
    query_length = max(reader.query_length or 0, (expansion or {}).get("length") or 0) or longest
    if expansion and expansion.get("strategy") == "fixed":
        query_length = expansion["length"]

    def prompt(*names: str) -> str:
        return next((model.prompts[name] for name in names if model.prompts.get(name) is not None), "")

    def side(encode: Callable[..., Any], before: str, length: int) -> Side:
        def run(texts: list[str]) -> Sequence[Any]:
            vectors: Sequence[Any] = encode(
                texts, prompt=before, batch_size=batch_size, show_progress_bar=False, convert_to_numpy=True
            )
            return vectors

        return Side(before, length - special, run)

    return (
        side(model.encode_query, prompt("query"), query_length),
        side(model.encode_document, prompt("document", "passage", "corpus"), reader.document_length),
    )


def _positions(model: Any) -> int:
    """How many tokens the model has positions for.

    RoBERTa and its kin number positions from padding_idx + 1, so fewer are usable than their table holds.
    """
    import torch

    for module in model.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, torch.nn.Embedding):
            return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    stated = getattr(model[0].auto_model.config, "max_position_embeddings", None)
    return stated if isinstance(stated, int) and stated > 0 else _UNBOUNDED


def _out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in ("out of memory", "can't allocate memory"))
    )


def _not_installed(runtime: Runtime, error: ImportError) -> MissingDependencyError:
    other = "sentence-transformers" if runtime == "pylate" else "pylate"
    return MissingDependencyError(
        f'"colbert" with runtime="{runtime}" needs what is not installed ({error}); '
        f'pip install "hybridrank-colbert[{runtime}]", or set runtime="{other}" if you have that'
    )
