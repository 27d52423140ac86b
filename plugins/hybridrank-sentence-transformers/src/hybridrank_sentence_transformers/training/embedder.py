"""Fine-tuning an embedder on the same mined data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridrank.models import KNOWN, Known
from hybridrank.training import Mined, MinedQuery
from hybridrank.types import Progress
from hybridrank_sentence_transformers.training.losses import CONTRASTIVE
from hybridrank_sentence_transformers.training.options import TrainingOptions
from hybridrank_sentence_transformers.training.outcome import Tuned
from hybridrank_sentence_transformers.training.run import (
    Work,
    callbacks,
    check_installed,
    trained,
    trainer_arguments,
)
from hybridrank_sentence_transformers.training.scoring import dev_evaluator, retrieved
from hybridrank_sentence_transformers.training.session import tuned
from hybridrank_sentence_transformers.training.start import Start

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["train_embedder"]


def train_embedder(
    mined: Mined | str | PathLike[str],
    into: str | PathLike[str],
    *,
    model: str = "sentence-transformers/all-MiniLM-L6-v2",
    revision: str | None = None,
    options: TrainingOptions | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Fine-tune an embedder on mined data, and write it to the new directory `into`.

    It learns by contrast: each relevant document against a mined negative and those of the others in its batch. A
    teacher is of use here in that it filters the negatives. Without `options`, batches are of 32, with 1 negative
    and at most 2 relevant documents a query. Prompts that hybridrank knows for `model` are learned with, and kept.

    The dev queries, ranked among the documents that were mined for them, say when to stop; the test queries are
    ranked among all documents of the mined file, before and after. Otherwise as `train_reranker`.

    Raises:
        MissingDependencyError, InputError, ConfigError, ModelError, BackendError: as `train_reranker`.
    """
    check_installed()
    settings = options or TrainingOptions(batch_size=32, negatives=1, positives=2)
    data = mined if isinstance(mined, Mined) else Mined.read(mined)
    order = partial(retrieved, batch_size=max(32, settings.batch_size))

    def train(network: SentenceTransformer, columns: Mapping[str, list[Any]], work: Work) -> Mapping[str, Any]:
        from datasets import Dataset
        from sentence_transformers.sentence_transformer import (
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
            losses,
        )

        dev = data.of("dev")
        rows = Dataset.from_dict(dict(columns))
        document = network.prompts["document"]
        prompts = {"query": network.prompts["query"], "positive": document, "negative": document}
        dev_order = partial(order, documents=_documents(dev))
        trainer = SentenceTransformerTrainer(
            model=network,
            args=SentenceTransformerTrainingArguments(
                **trainer_arguments(work, settings, rows=len(rows), dev=bool(dev)),
                batch_sampler="no_duplicates",  # what answers another query of the batch, too, is no negative
                prompts={name: prompt for name, prompt in prompts.items() if prompt} or None,
            ),
            train_dataset=rows,
            loss=getattr(losses, CONTRASTIVE.kind)(network),
            evaluator=dev_evaluator(data, dev_order) if dev else None,
            callbacks=callbacks(settings, dev=bool(dev), progress=progress),
        )
        return trained(trainer, work)

    return tuned(
        data,
        Path(into),
        Start(model, revision),
        kind="embedder",
        loss=CONTRASTIVE,
        options=settings,
        make=partial(_embedder, known=KNOWN.get(model, Known("embedder")), device=settings.device),
        order=partial(order, documents=_documents(data.queries)),
        train=train,
    )


def _embedder(directory: str, *, known: Known, device: str | None) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(directory, device=device)
    for name, prefix in (("query", known.query_prefix), ("document", known.document_prefix)):
        if not model.prompts.get(name):
            model.prompts[name] = prefix
    return model


def _documents(queries: Sequence[MinedQuery]) -> list[tuple[str, str]]:
    """What was mined for these queries: each text once, with the id that it is judged under."""
    found = {each.read: each.doc_id for query in queries for each in query.candidates}
    return [(doc_id, read) for read, doc_id in found.items()]
