"""One training: its directory while it runs, what an interrupted one goes on from, and the trainer's settings.

Work is in ``NAME.training`` next to the directory NAME that is to be made; NAME appears when it is whole. The same
call goes on with a training that was interrupted, from its last whole checkpoint.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridrank.errors import BackendError, ConfigError, InputError, MissingDependencyError, StorageError
from hybridrank.runtime import replace_file
from hybridrank.types import Progress
from hybridrank_sentence_transformers.training.options import TrainingOptions
from hybridrank_sentence_transformers.training.scoring import METRIC

if TYPE_CHECKING:
    from transformers import TrainerCallback

__all__ = ["Work", "callbacks", "check_installed", "check_precision", "trained", "trainer_arguments"]

EXTRA = 'pip install "hybridrank-sentence-transformers[train]"'


def check_installed() -> None:
    """Say what to install, where something is missing that training takes.

    Raises:
        MissingDependencyError: something is missing.
    """
    try:
        import accelerate  # noqa: F401
        import datasets  # noqa: F401
        import ir_measures  # noqa: F401
        import scipy  # noqa: F401
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"training needs more packages ({error}); {EXTRA}") from error


def check_precision(options: TrainingOptions) -> None:
    """Refuse what this machine cannot do.

    Raises:
        ConfigError: mixed precision is asked for without a GPU.
    """
    import torch

    if options.precision != "float32" and (options.device == "cpu" or not torch.accelerator.is_available()):
        raise ConfigError("mixed precision takes a GPU; leave it float32", path="$.precision")


class Work:
    """The directory of a training that runs, or that was interrupted.

    Raises:
        InputError: the result is there already, or a training with other settings was interrupted here.
    """

    def __init__(self, into: Path, settings: Mapping[str, Any]) -> None:
        if into.exists():
            raise InputError(f"{into} is there already; give another directory, or remove it")
        self._into = into
        self.path = into.with_name(f"{into.name}.training")
        self.checkpoints = self.path / "checkpoints"
        settings = json.loads(json.dumps(settings))
        known = self.remembered("settings")
        if known is None and any(not each.name.startswith(".") for each in self.path.glob("*")):
            raise InputError(f"{self.path} is in the way, and is no interrupted training; remove it")
        if known is not None and known != settings:
            other = sorted(name for name in {*known, *settings} if known.get(name) != settings.get(name))
            raise InputError(
                f"a training with other settings ({', '.join(other)}) was interrupted here; remove {self.path} to "
                "start over, or give the settings again to go on"
            )
        self.remember("settings", settings)

    def remembered(self, name: str) -> Any:
        """What was remembered under a name; None where nothing was."""
        try:
            return json.loads((self.path / f"{name}.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def remember(self, name: str, value: Any) -> None:
        """Keep a JSON value for a training that goes on with this one."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            replace_file(self.path / f"{name}.json", json.dumps(value, ensure_ascii=False, indent=2))
        except OSError as error:
            raise StorageError(f"cannot write {str(self.path)!r}: {error.strerror}") from error

    def last_checkpoint(self) -> Path | None:
        """The last whole checkpoint, all those behind it removed; None where there is none."""
        found = sorted(self.checkpoints.glob("checkpoint-*"), key=_step, reverse=True)
        for checkpoint in found:
            if _is_whole(checkpoint):
                return checkpoint
            shutil.rmtree(checkpoint)
        return None

    def finish(self, write: Callable[[Path], None]) -> Path:
        """Have the result written to a directory, move it to where it belongs, and clear the work away."""
        draft = self.path / "result"
        shutil.rmtree(draft, ignore_errors=True)
        try:
            draft.mkdir()
            write(draft)
            draft.replace(self._into)
        except OSError as error:
            raise StorageError(f"cannot write {str(self._into)!r}: {error.strerror}") from error
        shutil.rmtree(self.path, ignore_errors=True)
        return self._into


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1


def _is_whole(checkpoint: Path) -> bool:
    """Its state is written last: where that can be read, everything is there."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    return True


def trainer_arguments(work: Work, options: TrainingOptions, *, rows: int, dev: bool) -> dict[str, Any]:
    """What the trainers of sentence-transformers take, for so many rows of training data."""
    steps = max(1, math.ceil(math.ceil(rows / options.batch_size) / options.accumulate * options.epochs))
    every = max(1, steps // options.evaluations)
    return {
        "output_dir": str(work.checkpoints),
        "num_train_epochs": options.epochs,
        "per_device_train_batch_size": options.batch_size,
        "gradient_accumulation_steps": options.accumulate,
        "learning_rate": options.learning_rate,
        "warmup_steps": options.warmup,
        "weight_decay": options.weight_decay,
        "seed": options.seed,
        "data_seed": options.seed,
        "eval_strategy": "steps" if dev else "no",
        "eval_steps": every if dev else None,
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        "load_best_model_at_end": dev,
        "metric_for_best_model": f"eval_{METRIC}" if dev else None,
        "greater_is_better": True if dev else None,
        "logging_steps": every,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": options.device == "cpu",
        "dataloader_pin_memory": False,
        "bf16": options.precision == "bfloat16",
        "fp16": options.precision == "float16",
    }


def callbacks(options: TrainingOptions, *, dev: bool, progress: Progress | None) -> list[TrainerCallback]:
    """Early stopping, and progress in steps."""
    from transformers import EarlyStoppingCallback, TrainerCallback

    class Told(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            if progress is not None:
                progress(state.global_step, state.max_steps)

    chosen: list[TrainerCallback] = [Told()]
    if dev:
        chosen.append(EarlyStoppingCallback(early_stopping_patience=options.patience))
    return chosen


def trained(trainer: Any, work: Work) -> dict[str, Any]:
    """Train, from the last whole checkpoint if there is one. Returns what came of it, as JSON values.

    Raises:
        BackendError: the device ran out of memory, or the training failed.
    """
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    checkpoint = work.last_checkpoint()
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except (RuntimeError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BackendError(
            f"training failed: {reason}; where memory is short, lower batch_size or max_tokens, and raise "
            "accumulate"
        ) from error
    state = trainer.state
    history = [
        {"step": entry["step"], **{name: entry[name] for name in entry if name.startswith("eval_dev")}}
        for entry in state.log_history
        if any(name.startswith("eval_dev") for name in entry)
    ]
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    result: dict[str, Any] = {
        "steps": state.global_step,
        "planned_steps": state.max_steps,
        "resumed_at": 0 if checkpoint is None else _step(checkpoint),
        "dev": history,
    }
    with suppress(IndexError):
        result["last_loss"] = losses[-1]
    if state.best_metric is not None:
        result["best_dev"] = state.best_metric
        result["best_step"] = _step(Path(state.best_model_checkpoint or "-0"))
    return result
