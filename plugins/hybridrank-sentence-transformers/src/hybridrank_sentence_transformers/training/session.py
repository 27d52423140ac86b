"""What the trainings of rerankers and embedders have in common, from mined data to a directory with proof."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

from hybridrank.training import Mined, select
from hybridrank_sentence_transformers.training.losses import Loss, columns
from hybridrank_sentence_transformers.training.options import TrainingOptions
from hybridrank_sentence_transformers.training.outcome import Tuned, judged, write_result
from hybridrank_sentence_transformers.training.run import Work, check_precision
from hybridrank_sentence_transformers.training.scoring import Order
from hybridrank_sentence_transformers.training.start import Start

__all__ = ["Training", "tuned"]

Training: TypeAlias = Callable[[Any, Mapping[str, list[Any]], Work], Mapping[str, Any]]
"""A model, the columns that it learns from, and where its checkpoints go -> what came of it, as JSON values."""


def tuned(
    mined: Mined,
    into: Path,
    start: Start,
    *,
    kind: str,
    loss: Loss,
    options: TrainingOptions,
    make: Callable[[str], Any],
    order: Order,
    train: Training,
) -> Tuned:
    """Train what `make` makes of the start, and have the test queries ranked by `order` before and after.

    Each step is remembered, so that the same call goes on where an interrupted one has come to.
    """
    check_precision(options)
    settings = {
        "kind": kind,
        "model": start.model,
        "weights": start.digest,
        "loss": loss.name,
        "options": options.model_dump(),
        "mined": mined.digest,
    }
    selected = select(
        mined,
        negatives=options.negatives,
        positives=options.positives,
        margin=options.margin,
        sampling=options.sampling,
        seed=options.seed,
    )
    rows = columns(selected.examples, loss)
    work = Work(into, settings)
    began = perf_counter()
    test = mined.of("test")
    before, outcome = work.remembered("before"), work.remembered("trained")
    if before is None or outcome is None:
        model = start.load(make, options)
        if before is None:
            before = order(model, mined, test)
            work.remember("before", before)
        outcome = train(model, rows, work)
        model.save_pretrained(str(work.path / "tuned"), create_model_card=False)
        work.remember("trained", outcome)
    else:
        model = start.load(make, options, work.path / "tuned")
    orders = {
        "fused": {query.id: list(query.found) for query in test},
        "untuned": before,
        "tuned": order(model, mined, test),
    }
    report = {
        **settings,
        "loss_told": loss.told,
        "selected": selected.counts(),
        "mining": {"settings": mined.settings, "counts": mined.counts},
        "training": outcome,
        "evaluation": judged(test, orders, seed=options.seed),
        "seconds": round(perf_counter() - began, 1),
    }
    return Tuned(work.finish(partial(write_result, model, report)), report)
