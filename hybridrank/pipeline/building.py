"""Build a collection for a pipeline, or open one with the configuration that is stored in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import fspath
from typing import TYPE_CHECKING, Any

from hybridrank.collection.protocol import SearchableCollection
from hybridrank.errors import ConfigError, HybridrankError
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.pipeline.setup import check_setup, indexed_retrievers, with_layout
from hybridrank.types import Document, Progress

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

    from hybridrank.collection import Collection

__all__ = ["BUILT_IN", "build_collection", "open_collection"]

BUILT_IN = ("splitter", "indexed_fields", "fields")
"""Options that a collection keeps as it was built."""

_OBJECTS = ("retrievers", "expand", "fusion", "reranker", "adjust")
"""Options that may be objects without a registered name, which no stored configuration can hold."""


def build_collection(
    settings: PipelineConfig,
    documents: Iterable[Document],
    *,
    path: str | PathLike[str] | None,
    vectors: Mapping[str, NDArray[np.float32]] | None,
    progress: Progress | None,
) -> tuple[PipelineConfig, SearchableCollection]:
    """Index documents: in memory, or in the new directory `path`, which is removed again on failure.

    Also returns the configuration, with the splitter that was chosen.
    """
    local = indexed_retrievers(settings)
    settings, splitter = settings.with_splitter(vectors=bool(vectors))
    if path is None:
        from hybridrank.collection.memory import MemoryCollection

        memory = MemoryCollection(
            {name: arm.create_index() for name, arm in local.items()},
            splitter=splitter,
            fields=settings.fields,
        )
        memory.add(documents, vectors=vectors, progress=progress)
        return settings, memory
    from hybridrank.collection.durable import Collection

    collection = Collection.create(
        path,
        local,
        splitter=splitter,
        indexed_fields=settings.indexed_fields,
        fields=settings.fields,
        config=settings.nameable(),
    )
    try:
        collection.add(documents, vectors=vectors, progress=progress)
    except BaseException as error:
        _discard(collection, error)
        raise
    return settings, collection


def open_collection(
    path: str | PathLike[str], *, trust: bool, progress: Progress | None, options: Mapping[str, Any]
) -> tuple[PipelineConfig, SearchableCollection]:
    """Open the collection at `path`; also returns its configuration, which `options` override."""
    from hybridrank.collection.durable import Collection
    from hybridrank.collection.folder import locate

    for fixed in BUILT_IN:
        if fixed in options:
            raise ConfigError(
                "a collection keeps what it was built with: open it, and change that with reindex()",
                path=f"$.{fixed}",
            )
    stored = Collection.stored_config(path)
    for part in _OBJECTS:
        if part in stored and stored[part] is None and part not in options:
            raise ConfigError(
                "it was an object that has no registered name when this was built; give it again", path=f"$.{part}"
            )
    source = f"the collection at {fspath(path)}"
    settings = PipelineConfig.load_stored(stored, source=source, trust=trust, **options)
    check_setup(settings)
    local = indexed_retrievers(settings)
    collection = Collection._open(
        locate(path), local, given="retrievers" in options, trust=trust, progress=progress
    )
    if collection.layout.retrievers != local:  # it was reindexed since its configuration was read
        settings = with_layout(settings, collection.layout)
    return settings, collection


def _discard(collection: Collection, error: BaseException) -> None:
    """Remove a collection that could not be filled; if it stays, the exception says so."""
    reason = "others have written to it meanwhile"
    try:
        if collection.discard():
            return
    except HybridrankError as problem:
        reason = str(problem)
        collection.close()
    error.add_note(f"the collection at {collection.path} was not removed: {reason}")
