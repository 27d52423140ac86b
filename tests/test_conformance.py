"""Every backend of the core keeps its contract: the kit that plugin authors use, used on ourselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from hybridrank.adjust import MMR, Recency
from hybridrank.component.base import Component
from hybridrank.component.registry import create, registered
from hybridrank.testing import Check, Tolerances, checks, parametrize

VARIANTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "bm25": [{"variant": "okapi"}, {"variant": "bm25l"}, {"variant": "bm25+"}, {"language": None}],
    "faiss": [{"factory": "HNSW32"}],
    "onnx": [{"pooling": "mean", "max_tokens": 64}],
    "rrf": [{"weights": {"dense": 2.0}}],
    "score": [
        {"normalize": normalize, "combine": combine}
        for normalize in ("min-max", "z-score", "dbsf")
        for combine in ("sum", "max", "mnz")
    ],
    "splitter": [{"tokenizer": "words"}, {"tokenizer": "words", "keep_whole": 512}],
    "cross-encoder": [{"activation": "sigmoid", "max_tokens": 64}],
}
"""Configurations besides the default one, by name."""


ADJUSTERS = [
    *(MMR(weight=weight) for weight in (0.7, 0.0, 1.0)),
    *(Recency(field="year", half_life=half_life, now="2024-03-31") for half_life in (7, 20_000)),
    Recency(field="date", half_life=7, weight=1.0),
]


COMPOSITES = {"cached", "calibrated", "cascade", "fallback"}
"""They need members: their own tests check them, around small models."""


def core(kind: str) -> list[Component]:
    """Everything that the core registers as a `kind`, in its default configuration and its variants."""
    ours = {name for name, entry in registered(kind).items() if entry.distribution == "hybridrank"}
    names = sorted(ours - COMPOSITES)
    return [create(kind, {"use": name, **options}) for name in names for options in ({}, *VARIANTS.get(name, ()))]


@parametrize("retriever", core("retriever"))
def test_retriever(component: Component, check: Check) -> None:
    check(component)


@parametrize("embedder", core("embedder"))
def test_embedder(component: Component, check: Check) -> None:
    check(component)


@parametrize("fusion", core("fusion"))
def test_fusion(component: Component, check: Check) -> None:
    check(component)


@parametrize("adjuster", ADJUSTERS)
def test_adjuster(component: Component, check: Check) -> None:
    check(component)


@parametrize("splitter", core("splitter"), tolerances=Tolerances(huge=100_000))
def test_splitter(component: Component, check: Check) -> None:
    check(component)


@parametrize("reranker", core("reranker"), tolerances=Tolerances(huge=20_000))  # read to the end, in windows
def test_reranker(component: Component, check: Check) -> None:
    check(component)


@pytest.mark.parametrize("on_long", ["truncate", "raise"])
def test_cross_encoder_takes_a_megabyte(on_long: str) -> None:
    (check,) = (check for check in checks("reranker") if check.name == "huge_document")
    check(create("reranker", {"use": "cross-encoder", "on_long": on_long}))
