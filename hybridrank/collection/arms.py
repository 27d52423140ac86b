"""The arms of a collection: as they are configured, and whose vectors they hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from hybridrank.component import Component, dumped
from hybridrank.errors import ConfigError
from hybridrank.protocols import Indexer, VectorIndex
from hybridrank.registry import RetrieverOption, create
from hybridrank.splitting import Splitter
from hybridrank.trust import build_stored

__all__ = ["configured", "default_retrievers", "embedder_numbers", "identities", "named"]


def default_retrievers() -> dict[str, Indexer]:
    """BM25 and FAISS with their defaults."""
    return {"bm25": create("retriever", "bm25"), "dense": create("retriever", "faiss")}


def named(arm: Indexer) -> dict[str, Any] | None:
    """An arm's configuration, or None where it has no name to be found by."""
    try:
        return arm.to_config() if isinstance(arm, Component) else None
    except ConfigError:
        return None


class _Arms(BaseModel):
    """What of a stored configuration a collection without a pipeline builds."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retrievers: Mapping[str, RetrieverOption]
    splitter: Splitter | None = None


def configured(config: Mapping[str, Any], *, source: str, trust: bool) -> dict[str, Indexer]:
    """The local arms of a stored configuration.

    Raises:
        UntrustedConfigError: building them takes `trust`.
        ConfigError: they had no registered name.
    """
    stored = config["retrievers"]
    if stored is None or None in stored.values():
        raise ConfigError(
            "the collection was made with retrievers that no name is registered for; give them again",
            path="$.retrievers",
        )
    arms = {name: options for name, options in config.items() if name in _Arms.model_fields}
    arms = stored if trust else build_stored(_Arms, arms, source=source)["retrievers"]
    arms = {name: arm if isinstance(arm, Component) else create("retriever", arm) for name, arm in arms.items()}
    return {name: arm for name, arm in arms.items() if isinstance(arm, Indexer)}


def _identity(embedder: Any) -> str:
    """What decides an embedder's vectors, as far as can be told."""
    if isinstance(told_by_itself := getattr(embedder, "identity", None), str):
        return told_by_itself
    if isinstance(embedder, Component):
        return json.dumps({"use": embedder.use, **dumped(embedder)}, sort_keys=True)
    return f"{type(embedder).__module__}.{type(embedder).__qualname__}"


def embedder_numbers(retrievers: Mapping[str, Indexer], stored: Mapping[str, int]) -> dict[str, int]:
    """For each arm that holds vectors, the number of its embedder."""
    numbers = {}
    for name, retriever in retrievers.items():
        index = retriever.create_index()
        if isinstance(index, VectorIndex):
            identity = _identity(index.embedder)
            if identity not in stored:
                raise ConfigError(
                    f"the collection has no vectors of the embedder {identity} "
                    f"(it has: {', '.join(stored) or 'none'}); build it anew to change the embedder",
                    path=f"$.retrievers.{name}.embedder",
                )
            numbers[name] = stored[identity]
    return numbers


def identities(retrievers: Iterable[Indexer]) -> list[str]:
    """Identities of the embedders whose vectors the arms' indexes hold, each once."""
    indexes = [retriever.create_index() for retriever in retrievers]
    return list(dict.fromkeys(_identity(each.embedder) for each in indexes if isinstance(each, VectorIndex)))
