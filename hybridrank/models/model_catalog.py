"""The catalog: models worth choosing between, with published figures, in ``catalog.toml``."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Literal, NamedTuple, TypeAlias

from hybridrank.models.resolution import offered

__all__ = ["CatalogModel", "Whereabouts", "catalog", "whereabouts"]

Whereabouts: TypeAlias = Literal["installed", "cached", "hub"]
"""Where a model is: in an installed distribution, in the Hugging Face cache, or only on the hub."""


class CatalogModel(NamedTuple):
    """A model of the catalog.

    `parameters` are in millions; `languages` is one language, or about how many there are; `take_for` says when to
    choose it. `quality` is a published figure in [0, 1] for `measure`, higher is better, from `source`. Figures
    compare only if their measure is the same.
    """

    id: str
    kind: Literal["embedder", "reranker"]
    parameters: int
    license: str
    languages: str
    take_for: str
    quality: float | None = None
    measure: str | None = None
    source: str | None = None


def catalog() -> list[CatalogModel]:
    """Every model of the catalog: the embedders, then the rerankers."""
    text = resources.files(__package__).joinpath("catalog.toml").read_text(encoding="utf-8")
    return [CatalogModel(model, **table) for model, table in tomllib.loads(text).items()]


def whereabouts() -> dict[str, Whereabouts]:
    """Where each model of the catalog is, by id. The hub is not asked."""
    import huggingface_hub as hub

    usable = {model.id for model in offered() if model.path is not None}
    found: dict[str, Whereabouts] = {}
    for model in catalog():
        cached = isinstance(hub.try_to_load_from_cache(model.id, "tokenizer.json"), str)
        found[model.id] = "installed" if model.id in usable else "cached" if cached else "hub"
    return found
