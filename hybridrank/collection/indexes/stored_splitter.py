"""The splitter of a stored configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from hybridrank.component.base import Component, local_only
from hybridrank.component.protocols import DocumentSplitter
from hybridrank.component.registry import create
from hybridrank.component.trust import build_stored
from hybridrank.errors import InputError
from hybridrank.ingest.splitting.option import SplitterField
from hybridrank.ingest.splitting.splitter import Splitter

__all__ = ["from_stored", "to_stored"]


class _Stored(BaseModel):
    splitter: SplitterField = None


def to_stored(splitter: DocumentSplitter | None) -> dict[str, Any] | None:
    """The configuration of a splitter, for a durable collection.

    Raises:
        InputError: it has none. Without it, the collection could not split what is added later.
    """
    if splitter is None:
        return None
    if not isinstance(splitter, Component):
        raise InputError(
            f"a durable collection stores its splitter's name and options; {type(splitter).__name__} has none: "
            'subclass hybridrank.Component and register it with hybridrank.register("splitter", …), or build the '
            "collection in memory (docs/splitting.md)"
        )
    return splitter.to_config()


def from_stored(config: Mapping[str, Any], *, source: str, trust: bool) -> DocumentSplitter | None:
    """The splitter of a stored configuration.

    Raises:
        UntrustedConfigError: it is another one than hybridrank's, and does not declare that it is harmless.
        ConfigError: it is not registered, or an option is wrong.
    """
    options = config.get("splitter")
    splitter: DocumentSplitter | None = None
    if options is None:
        return None
    if options.get("use", Splitter.use) == Splitter.use and not trust:
        with local_only():
            return Splitter.from_config(options)
    if trust:
        splitter = create("splitter", options)
    else:
        splitter = build_stored(_Stored, {"splitter": options}, source=source)["splitter"]
    return splitter
