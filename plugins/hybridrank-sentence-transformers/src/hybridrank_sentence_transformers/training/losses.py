"""The losses that a training knows by name, and the examples that each of them reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hybridrank.errors import ConfigError, InputError
from hybridrank.training import Example

__all__ = ["CONTRASTIVE", "RERANKER_LOSSES", "Loss", "columns", "reranker_loss"]


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss: our name for it, its class in sentence-transformers, its examples' form, and whose word they carry.

    Forms: ``list`` (a query, its documents, a label each), ``pair`` (a query, a document, a label), ``triplet`` (a
    query, a relevant document, another, and where a teacher teaches the difference of its scores).
    """

    name: str
    kind: str
    form: Literal["list", "pair", "triplet"]
    learns_from: Literal["judgments", "teacher"]
    told: str


_KNOWN = (
    Loss("lambda", "LambdaLoss", "list", "judgments", "listwise, for nDCG (Wang et al., 2018)"),
    Loss("listnet", "ListNetLoss", "list", "judgments", "listwise (Cao et al., 2007)"),
    Loss("plistmle", "PListMLELoss", "list", "judgments", "listwise, by position (Lan et al., 2014)"),
    Loss("ranknet", "RankNetLoss", "list", "judgments", "pairwise (Burges et al., 2005)"),
    Loss("bce", "BinaryCrossEntropyLoss", "pair", "judgments", "each pair for itself, cross-entropy"),
    Loss("distil-listnet", "ListNetLoss", "list", "teacher", "listwise (Cao et al., 2007)"),
    Loss("distil-margin", "MarginMSELoss", "triplet", "teacher", "pairwise, margins (Hofstätter et al., 2020)"),
)
RERANKER_LOSSES: Mapping[str, Loss] = {loss.name: loss for loss in _KNOWN}
"""What a reranker can learn by, by name."""

CONTRASTIVE = Loss(
    "contrastive",
    "MultipleNegativesRankingLoss",
    "triplet",
    "judgments",
    "in-batch and hard negatives (Henderson et al., 2017)",
)
"""What an embedder learns by."""


def reranker_loss(name: str) -> Loss:
    """The loss of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in RERANKER_LOSSES:
        raise ConfigError(f'there is no loss "{name}"; losses: {", ".join(RERANKER_LOSSES)}', path="$.loss")
    return RERANKER_LOSSES[name]


def columns(examples: Sequence[Example], loss: Loss) -> dict[str, list[Any]]:
    """The examples as columns of the form that the loss reads; their order is what it goes by.

    Raises:
        InputError: the loss learns from a teacher, and none has scored the examples.
    """
    if loss.learns_from == "teacher" and any(example.teacher is None for example in examples):
        raise InputError(
            "this loss learns from a teacher's scores, and these were mined without; give mine a teacher"
        )
    if loss.form == "list":
        return {
            "query": [example.query for example in examples],
            "documents": [list(example.texts) for example in examples],
            "labels": [list(_labels(example, loss)) for example in examples],
        }
    if loss.form == "pair":
        pairs = [
            (e.query, text, float(label > 0))
            for e in examples
            for text, label in zip(e.texts, e.labels, strict=True)
        ]
        return dict(zip(("query", "document", "label"), map(list, zip(*pairs, strict=True)), strict=True))
    return _triplets(examples, loss)


def _labels(example: Example, loss: Loss) -> Sequence[float]:
    return example.labels if loss.learns_from == "judgments" else example.teacher or ()


def _triplets(examples: Sequence[Example], loss: Loss) -> dict[str, list[Any]]:
    """Each negative with one of the positives, in turn; and no positive without."""
    rows: dict[str, list[Any]] = {"query": [], "positive": [], "negative": []}
    margins: list[float] = []
    for example in examples:
        good = example.positives
        bad = len(example.texts) - good
        for number in range(max(good, bad)):
            first, second = number % good, good + number % bad
            rows["query"].append(example.query)
            rows["positive"].append(example.texts[first])
            rows["negative"].append(example.texts[second])
            if example.teacher is not None:
                margins.append(example.teacher[first] - example.teacher[second])
    return {**rows, "label": margins} if loss.learns_from == "teacher" else rows
