"""The arms of a collection: their configurations, and the embedders of their vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from hybridrank.component.base import Component, dumped
from hybridrank.component.protocols import IndexedRetriever, VectorRetriever
from hybridrank.component.registry import RetrieverOption, create
from hybridrank.component.trust import build_stored
from hybridrank.errors import ConfigError
from hybridrank.ingest.splitting.option import SplitterField

__all__ = [
    "check_fingerprint",
    "configured",
    "default_retrievers",
    "embedder_numbers",
    "fingerprint",
    "identities",
    "identities_of",
    "named",
]


def default_retrievers() -> dict[str, IndexedRetriever]:
    """BM25 and FAISS with their defaults."""
    return {"bm25": create("retriever", "bm25"), "dense": create("retriever", "faiss")}


def named(arm: IndexedRetriever) -> dict[str, Any] | None:
    """An arm's configuration, or None if it has no registered name."""
    try:
        return arm.to_config() if isinstance(arm, Component) else None
    except ConfigError:
        return None


class _Arms(BaseModel):
    """What of a stored configuration a collection without a pipeline builds."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retrievers: Mapping[str, RetrieverOption]
    splitter: SplitterField = None


def configured(config: Mapping[str, Any], *, source: str, trust: bool) -> dict[str, IndexedRetriever]:
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
    return {name: arm for name, arm in arms.items() if isinstance(arm, IndexedRetriever)}


def _identity(embedder: Any) -> str:
    """The identity of an embedder: the configuration that determines its vectors."""
    if isinstance(told_by_itself := getattr(embedder, "identity", None), str):
        return told_by_itself
    if isinstance(embedder, Component):
        return json.dumps({"use": embedder.use, **dumped(embedder)}, sort_keys=True)
    return f"{type(embedder).__module__}.{type(embedder).__qualname__}"


def fingerprint(embedder: Any) -> str | None:
    """The content that determines an embedder's vectors, if it declares it and has its model on this machine."""
    told = getattr(embedder, "fingerprint", None)
    return told if isinstance(told, str) else None


def check_fingerprint(embedder: Any, stored: str | None, *, arm: str) -> None:
    """Check that an embedder of a known name is unchanged.

    Raises:
        ConfigError: its model holds something else.
    """
    if not _is_like(embedder, stored):
        raise ConfigError(
            f"the files of the embedder {_identity(embedder)} are not those that made the collection's vectors: "
            "a model was replaced, or reads texts in another way. Give it the former files, or build the "
            "collection again with these",
            path=f"$.retrievers.{arm}.embedder",
        )


def _is_like(embedder: Any, stored: str | None) -> bool:
    now = fingerprint(embedder)
    if stored is None or now is None or stored == now:
        return True
    alike = getattr(embedder, "is_like", None)
    return callable(alike) and bool(alike(stored))


def embedder_numbers(
    retrievers: Mapping[str, IndexedRetriever], stored: Mapping[str, int], fingerprints: Mapping[int, str]
) -> dict[str, int]:
    """For each arm that holds vectors, the number of its embedder, by name or by content.

    Raises:
        ConfigError: there is none, or the one of its name had another content.
    """
    numbers = {}
    for name, retriever in retrievers.items():
        if isinstance(retriever, VectorRetriever):
            embedder = retriever.embedder
            number = stored.get(_identity(embedder))
            if number is None or not _is_like(embedder, fingerprints.get(number)):
                now = fingerprint(embedder)
                same = [other for other in stored.values() if now is not None and fingerprints.get(other) == now]
                if number is not None and not same:
                    check_fingerprint(embedder, fingerprints[number], arm=name)
                number = same[0] if same else None
            if number is None:
                raise ConfigError(
                    f"the collection has no vectors of the embedder {_identity(embedder)} "
                    f"(it has: {', '.join(stored) or 'none'}); reindex it to change the embedder",
                    path=f"$.retrievers.{name}.embedder",
                )
            numbers[name] = number
    return numbers


def identities(retrievers: Iterable[IndexedRetriever]) -> dict[str, str | None]:
    """Names of the embedders of the arms' vectors, without duplicates, with their fingerprints."""
    return identities_of([each.embedder for each in retrievers if isinstance(each, VectorRetriever)])


def identities_of(embedders: Iterable[Any]) -> dict[str, str | None]:
    """Names of embedders, without duplicates, with their fingerprints."""
    return {_identity(embedder): fingerprint(embedder) for embedder in embedders}
