"""Opening a collection for a command, or creating it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridrank.cli.options import NewCollectionOptions
from hybridrank.cli.output import err, progress

if TYPE_CHECKING:
    from hybridrank.collection import Collection
    from hybridrank.collection.protocol import SearchableCollection
    from hybridrank.component.protocols import IndexedRetriever
    from hybridrank.filters.language import Filter

__all__ = [
    "hint_absent_fields",
    "is_collection",
    "open_documents",
    "open_if_possible",
    "open_indexes",
    "open_or_create",
]


def is_collection(path: Path) -> bool:
    """Whether a directory contains a collection, in any state."""
    return (path / "collection.db").is_file()


@contextmanager
def open_indexes(
    path: Path, *, trust: bool, retrievers: Mapping[str, IndexedRetriever] | None = None
) -> Iterator[Collection]:
    """A collection with its indexes, closed at the end; `retrievers` are the caller's own."""
    from hybridrank.collection import Collection

    with progress("building indexes") as bar:
        collection = Collection.open(path, retrievers, trust=trust, progress=bar)
    with collection:
        yield collection


@contextmanager
def open_documents(path: Path) -> Iterator[Collection]:
    """A collection's documents without its indexes, closed at the end; nothing is built."""
    from hybridrank.collection import Collection

    with Collection.open(path, {}) as collection:
        yield collection


@contextmanager
def open_if_possible(path: Path, *, trust: bool) -> Iterator[Collection]:
    """A collection with its indexes; if they cannot be built, only its documents, and a note with the reason."""
    from hybridrank.errors import ConfigError, MissingDependencyError, ModelError

    with ExitStack() as stack:
        try:
            collection = stack.enter_context(open_indexes(path, trust=trust))
        except (ConfigError, MissingDependencyError, ModelError) as error:
            err(f"the indexes are left alone: {error}")
            collection = stack.enter_context(open_documents(path))
        yield collection


@contextmanager
def open_or_create(path: Path, new: NewCollectionOptions, *, trust: bool) -> Iterator[Collection]:
    """The collection in a directory, created if there is none.

    Raises:
        ConfigError: there is one, and it was made with another configuration than is given now.
    """
    from hybridrank.collection import Collection
    from hybridrank.errors import ConfigError, StorageError
    from hybridrank.pipeline.pipeline import Pipeline
    from hybridrank.pipeline.setup import indexed_retrievers

    settings = new.settings()
    chosen = new.config is not None or new.preset is not None
    if not is_collection(path):
        try:
            Pipeline.build([], path=path, config=settings).close()
            trust = True  # we have just written what is stored there
        except StorageError:
            if not is_collection(path):  # else another process has made it meanwhile
                raise
    wanted = settings.nameable()
    if settings.splitter == "auto":  # it was chosen when the collection was built
        del wanted["splitter"]
    stored = Collection.stored_config(path)
    whole = "--preset" if new.config is None else "--config"
    compared = dict.fromkeys(wanted, whole) if chosen else new.given
    if other := [name for name in compared if not _same(name, wanted[name], stored)]:
        raise ConfigError(
            f"{path} was built with other {', '.join(other)}; leave the option out, change that with hybridrank "
            "reindex, or build another",
            path=compared[other[0]],
        )
    arms = indexed_retrievers(settings)
    with open_indexes(path, trust=trust or chosen, retrievers=arms if chosen else None) as collection:
        yield collection


def _same(name: str, wanted: Any, stored: Mapping[str, Any]) -> bool:
    """Whether a stored field says what is wanted: as it is written, or once defaults of today are filled in."""
    from hybridrank.errors import ConfigError
    from hybridrank.pipeline.config import PipelineConfig

    said = {field: part for field, part in stored.items() if part is not None}
    if wanted in (None, {}, [], ()) and (name not in said or name == "relevance"):
        return True  # what calibrate stored later is no other way of building
    if name in said and json.loads(json.dumps(wanted)) == said[name]:
        return True
    try:
        built = PipelineConfig.load_stored(said, source="it", only_made=PipelineConfig.model_fields)
        return bool(built.nameable()[name] == wanted)
    except ConfigError:  # it names what may not be made, and is not what is wanted
        return False


def hint_absent_fields(collection: SearchableCollection, filters: Filter | None) -> None:
    """Say which fields of a filter that matched nothing no document has: they may be misspelled."""
    from hybridrank.filters.expressions import conditions_of

    if filters is None or not len(collection):
        return
    for name in dict.fromkeys(condition.field for condition in conditions_of(filters.expression)):
        if not collection.count({name: {"$exists": True}}):
            err(f"no document has the field {name!r}")
