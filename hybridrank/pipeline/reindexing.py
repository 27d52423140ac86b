"""Reindex the collection of a pipeline, whose whole configuration is stored with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from hybridrank.collection.protocol import SearchableCollection
from hybridrank.errors import ConfigError, InputError
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.pipeline.setup import Setup, check_setup, indexed_retrievers, with_layout
from hybridrank.types import Progress

if TYPE_CHECKING:
    from hybridrank.collection import Collection, ReindexReport

__all__ = ["reindex", "reindexable"]

_OF_LAYOUT = ("splitter", "indexed_fields")


def reindexable(collection: SearchableCollection) -> Collection:
    """The collection, if it can be reindexed.

    Raises:
        InputError: it is in memory.
    """
    if "reindex" not in collection.capabilities:
        raise InputError("a pipeline in memory cannot be reindexed: build another one")
    return cast("Collection", collection)


def reindex(
    setup: Setup,
    options: Mapping[str, Any],
    *,
    gate: Callable[[PipelineConfig, Collection], Any] | None,
    dry_run: bool,
    progress: Progress | None,
) -> tuple[ReindexReport, Setup]:
    """Reindex the collection of a pipeline; `Pipeline.reindex` describes it. Returns the setup from now on, too.

    `gate` is called with the new configuration, and the collection in its other layout.
    """
    collection = reindexable(setup.collection)
    if "fields" in options:
        raise ConfigError("types of fields are declared by collection.declare_fields()", path="$.fields")
    kept = {name: getattr(setup.config, name) for name in PipelineConfig.model_fields}
    wanted, _ = PipelineConfig(**{**kept, **options}).with_splitter()
    check_setup(wanted)
    named = wanted.nameable()
    stored = {name: named[name] for name in options if name not in _OF_LAYOUT}
    layout: dict[str, Any] = {name: getattr(wanted, name) for name in _OF_LAYOUT if name in options}
    if "retrievers" in options:
        layout["retrievers"] = indexed_retrievers(wanted)

    ask = None if gate is None else partial(gate, wanted)
    report = collection.reindex(config=stored, gate=ask, dry_run=dry_run, progress=progress, **layout)
    if report.switched:
        setup = Setup(with_layout(wanted, collection.layout), collection, setup.shared, collection.layout)
    return report, setup
