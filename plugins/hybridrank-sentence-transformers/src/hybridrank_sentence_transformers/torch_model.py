"""A Sentence Transformers model on a device: its options, how it is loaded, how batches run through it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from hybridrank import Component
from hybridrank.component import once
from hybridrank.errors import (
    BackendError,
    ConfigError,
    HybridrankError,
    MissingDependencyError,
    ModelError,
)
from hybridrank.models import file_names, resolve, trust_needed_for
from hybridrank.runtime import check, hold_forks, new_lock
from hybridrank_sentence_transformers.files import torch_files

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["LoadedModel", "TorchModel", "not_installed", "out_of_memory", "token_positions"]

Row = TypeVar("Row")

_USUAL_BATCH = 512
_UNBOUNDED = 1_000_000
"""Tokens: the window of a model that names none (relative positions, or no transformer at all)."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A Sentence Transformers model on a device, shared by threads; `window` is the most tokens that it reads.

    Batches of several threads run concurrently; on MPS, where that is not known to be safe, they take turns.
    """

    name: str
    model: Any
    device: torch.device
    window: int
    running: threading.Lock = field(default_factory=new_lock)

    def run(
        self,
        rows: Sequence[Row],
        *,
        lengths: Sequence[int],
        collate: Callable[[list[Row]], dict[str, Any]],
        output: str,
        batch_size: int,
        **options: Any,
    ) -> NDArray[np.float32]:
        """Run the model on every row, longest first so that a batch pads little; results in the rows' order.

        `collate` makes the model's features from the rows of one batch; `output` names the feature to return;
        `options` go to the model's modules.

        Raises:
            BackendTimeoutError: the deadline has passed; it is looked at before each batch.
            BackendError: the device ran out of memory, or the forward pass failed.
        """
        import numpy as np
        import torch
        from sentence_transformers.util import batch_to_device

        order = np.argsort(-np.asarray(lengths), kind="stable")
        results: list[Any] = [None] * len(rows)
        for start in range(0, len(rows), batch_size):
            check(f"{self.name!r}")
            chosen = order[start : start + batch_size].tolist()
            try:
                features = collate([rows[at] for at in chosen])
                turn = self.running if self.device.type == "mps" else nullcontext()
                with turn, hold_forks(), torch.inference_mode():
                    made = self.model(batch_to_device(features, self.device), **options)[output].float().cpu()
            except HybridrankError:
                raise
            except Exception as error:  # torch, transformers and models of their own raise anything
                raise _run_error(error, self, len(chosen)) from error
            for at, row in zip(chosen, made.numpy(), strict=True):
                results[at] = row
        return np.array(results, dtype=np.float32)


class TorchModel(Component):
    """The options that every model here has.

    `model` is a model's id or a local directory, `revision` a branch, tag or commit of the id. `device` is a
    torch device (``"cpu"``, ``"cuda:1"``, ``"mps"``); None takes the best that torch finds. `dtype` None
    keeps the type that the weights were saved in. `max_tokens` narrows (or, up to the positions that the
    model was trained with, widens) the window that the model's own configuration asks for. A model that
    needs code from its repository is refused unless `trust_remote_code` is set.
    """

    model: str = Field(min_length=1)
    revision: str | None = None
    device: str | None = None
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    trust_remote_code: bool = False
    max_tokens: int | None = Field(default=None, ge=16)
    batch_size: int = Field(default=32, ge=1)

    _class: ClassVar[str]

    def _check(self, model: Any) -> None:
        """Refuse a model that loads but cannot do this component's work, with a ModelError."""

    @once
    def loaded(self) -> LoadedModel:
        """The model, loaded at first use.

        Raises:
            MissingDependencyError: torch or sentence-transformers is not installed.
            ConfigError: this machine has no such device, or `max_tokens` is more than the model can read.
            ModelError: the model cannot be found or loaded, or is of another kind.
            BackendError: it does not fit in memory.
        """
        try:
            import sentence_transformers
            import torch
        except ImportError as error:
            raise not_installed(error) from error
        device = _device(self.device)
        directory, _ = self._find()
        if not self.trust_remote_code:
            _check_is_no_code(self.model, directory)
        options: dict[str, Any] = {} if self.dtype is None else {"dtype": getattr(torch, self.dtype)}
        try:
            model = getattr(sentence_transformers, self._class)(
                str(directory),
                device=str(device),
                trust_remote_code=self.trust_remote_code,
                model_kwargs=options,
            )
            model.to(**options).eval()
        except Exception as error:
            if out_of_memory(error):
                raise BackendError(f"{self.model!r} does not fit in the memory of {device}") from error
            raise ModelError(f"{self.model!r} cannot be loaded as a {self._class}: {error}") from error
        _check_padding(self.model, model)
        self._check(model)
        model.max_seq_length = window = self._window(model)
        return LoadedModel(name=self.model, model=model, device=device, window=window)

    def _trust_needed(self) -> dict[str, str]:
        """What both components answer to `trust_needed`."""
        choose = partial(torch_files, code=self.trust_remote_code)
        needed = trust_needed_for(self.model, revision=self.revision, choose=choose)
        if self.trust_remote_code:
            needed["trust_remote_code"] = f"it runs code that comes with the model {self.model!r:.200}"
        if self.batch_size > _USUAL_BATCH:
            needed["batch_size"] = f"a batch of {self.batch_size} texts may take any amount of memory"
        return needed

    def _find(self, *, download: bool = True) -> tuple[Path, Sequence[str]]:
        """The model's directory, and the names of the files in it that torch needs."""
        choose = partial(torch_files, code=self.trust_remote_code)
        directory = resolve(
            self.model,
            revision=self.revision,
            choose=choose,
            download=download,
            local_only=self.local_only,
        )
        return directory, choose(file_names(directory))

    def _window(self, model: Any) -> int:
        positions = token_positions(model)
        if self.max_tokens is None:
            return min(model.max_seq_length or _UNBOUNDED, positions)
        if self.max_tokens > positions:
            raise ConfigError(f"{self.model!r} reads at most {positions} tokens", path="$.max_tokens")
        return self.max_tokens


def _check_is_no_code(name: str, directory: Path) -> None:
    """Refuse a model that names code of its own: Sentence Transformers before 6 runs what a directory holds."""
    path = directory / "modules.json"
    try:
        modules = json.loads(path.read_bytes()) if path.is_file() else []
        types = [str(module["type"]) for module in modules]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"cannot read {str(path)!r}: {error!r}") from error
    if own := [each for each in types if not each.startswith("sentence_transformers.")]:
        raise ModelError(
            f"{name!r} is made of {own[0]!r}, which is code of its own; read it, and set trust_remote_code=True"
        )


def _check_padding(name: str, model: Any) -> None:
    """Refuse a model that could not read texts of different lengths together: every search would fail."""
    if getattr(getattr(model, "tokenizer", None), "pad_token_id", 0) is None:
        raise ModelError(
            f"{name!r} has no padding token, as is usual for decoders, so it cannot read texts of different "
            "lengths together: set pad_token in its tokenizer, and pad_token_id in its config.json"
        )


def not_installed(error: ImportError) -> MissingDependencyError:
    """Say what to install."""
    return MissingDependencyError(
        f'"sentence-transformers" needs torch and sentence-transformers ({error}); '
        'pip install "hybridrank-sentence-transformers"'
    )


def token_positions(model: Any) -> int:
    """How many tokens the model has positions for.

    RoBERTa and its kin number positions from padding_idx + 1, so fewer are usable than their table holds.
    """
    import torch

    for module in model.modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, torch.nn.Embedding):
            return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    stated = getattr(model.config, "max_position_embeddings", None)
    return stated if isinstance(stated, int) and stated > 0 else _UNBOUNDED


def _device(name: str | None) -> torch.device:
    import torch
    from sentence_transformers.util import get_device_name

    try:
        device = torch.device(name or get_device_name())
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f'torch {torch.__version__} cannot use the device "{name}" here ({reason}); '
            "leave it out to take the best that there is",
            path="$.device",
        ) from error
    return device


def out_of_memory(error: BaseException) -> bool:
    """Whether a device, or this machine, ran out of memory."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in ("out of memory", "can't allocate memory"))
    )


def _run_error(error: BaseException, loaded: LoadedModel, rows: int) -> BackendError:
    if out_of_memory(error):
        return BackendError(
            f"{loaded.name!r} ran out of memory on {loaded.device} with {rows} texts in a batch; "
            "lower batch_size or max_tokens"
        )
    return BackendError(f"{loaded.name!r} failed on {loaded.device}: {error}")
