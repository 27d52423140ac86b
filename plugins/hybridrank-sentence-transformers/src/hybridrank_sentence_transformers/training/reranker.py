"""Fine-tuning a reranker."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridrank.training import Mined
from hybridrank.types import Progress
from hybridrank_sentence_transformers.training.losses import reranker_loss
from hybridrank_sentence_transformers.training.options import TrainingOptions
from hybridrank_sentence_transformers.training.outcome import Tuned
from hybridrank_sentence_transformers.training.run import (
    Work,
    callbacks,
    check_installed,
    trained,
    trainer_arguments,
)
from hybridrank_sentence_transformers.training.scoring import dev_evaluator, reranked
from hybridrank_sentence_transformers.training.session import tuned
from hybridrank_sentence_transformers.training.start import Start

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

__all__ = ["cross_encoder", "train_reranker"]

_AT_ONCE = 32
"""Pairs that a listwise loss reads in one forward pass."""


def train_reranker(
    mined: Mined | str | PathLike[str],
    into: str | PathLike[str],
    *,
    model: str = "cross-encoder/ms-marco-MiniLM-L6-v2",
    revision: str | None = None,
    loss: str = "lambda",
    options: TrainingOptions | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Fine-tune a cross-encoder on mined data, and write it to the new directory `into`.

    `model` is an id or a directory with weights for torch; one without a classification head, such as an
    embedder, gets a new one. `loss` is one of `losses.RERANKER_LOSSES`. The dev queries say when to stop and which
    checkpoint is best; the test queries are ranked before and after, and are looked at for nothing else.

    An interrupted call is resumed by the same call. On a CPU the same call gives the same weights. `progress`
    counts steps.

    Raises:
        MissingDependencyError: something is not installed that training takes.
        InputError: `into` exists, another training was interrupted here, or there is nothing to learn from.
        ConfigError: there is no such loss, or mixed precision is asked for without a GPU.
        ModelError: the model cannot be found or loaded, or comes without a tokenizer.
        BackendError: the training failed, or ran out of memory.
    """
    check_installed()
    chosen = reranker_loss(loss)
    settings = options or TrainingOptions()
    data = mined if isinstance(mined, Mined) else Mined.read(mined)
    order = partial(reranked, depth=settings.depth, batch_size=_AT_ONCE)

    def train(network: CrossEncoder, columns: Mapping[str, list[Any]], work: Work) -> Mapping[str, Any]:
        from datasets import Dataset
        from sentence_transformers.cross_encoder import (
            CrossEncoderTrainer,
            CrossEncoderTrainingArguments,
            losses,
        )

        dev = bool(data.of("dev"))
        rows = Dataset.from_dict(dict(columns))
        by_parts = {"mini_batch_size": _AT_ONCE} if chosen.form == "list" else {}
        trainer = CrossEncoderTrainer(
            model=network,
            args=CrossEncoderTrainingArguments(**trainer_arguments(work, settings, rows=len(rows), dev=dev)),
            train_dataset=rows,
            loss=getattr(losses, chosen.kind)(network, **by_parts),
            evaluator=dev_evaluator(data, order) if dev else None,
            callbacks=callbacks(settings, dev=dev, progress=progress),
        )
        return trained(trainer, work)

    return tuned(
        data,
        Path(into),
        Start(model, revision),
        kind="reranker",
        loss=chosen,
        options=settings,
        make=partial(cross_encoder, device=settings.device),
        order=order,
        train=train,
    )


def cross_encoder(directory: str, *, device: str | None) -> CrossEncoder:
    """The CrossEncoder of a directory's weights, with a new head where they have none; its scores are logits."""
    import torch
    from sentence_transformers import CrossEncoder

    made: CrossEncoder = CrossEncoder(directory, num_labels=1, device=device, activation_fn=torch.nn.Identity())
    return made
