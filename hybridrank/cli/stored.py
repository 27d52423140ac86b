"""What the commands on a collection have in common."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridrank.cli.output import progress

if TYPE_CHECKING:
    from hybridrank.collection import Collection
    from hybridrank.filters import Filter

__all__ = [
    "CollectionArgument",
    "ConfigOption",
    "FilterOption",
    "IndexFieldOption",
    "IntoOption",
    "is_collection",
    "made_or_opened",
    "opened",
    "parsed_filter",
]

CollectionArgument = Annotated[Path, typer.Argument(help="A collection's directory.")]
IntoOption = Annotated[Path, typer.Option("--into", help="The collection's directory; it is made if need be.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A pipeline's TOML file, for a new collection.")
]
IndexFieldOption = Annotated[
    list[str] | None,
    typer.Option("--index-field", help="A metadata field to index for quick filters; may be repeated."),
]
FilterOption = Annotated[
    str | None, typer.Option("--filter", help='Only documents whose metadata match, as {"year": {"$gte": 2020}}.')
]


def is_collection(path: Path) -> bool:
    """Whether there is a collection in a directory, whatever its state."""
    return (path / "collection.db").is_file()


def parsed_filter(text: str | None) -> Filter | None:
    """The filter that ``--filter`` says.

    Raises:
        InputError: it is not JSON, or no filter.
    """
    from hybridrank.errors import InputError
    from hybridrank.filters import Filter

    if text is None:
        return None
    try:
        return Filter.of(json.loads(text))
    except InputError as error:
        raise InputError(f"--filter: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"--filter: not JSON: {error}") from None


@contextmanager
def opened(path: Path) -> Iterator[Collection]:
    """A collection, closed at the end."""
    from hybridrank.collection import Collection

    with progress("making indexes again") as bar:
        collection = Collection.open(path, progress=bar)
    with collection:
        yield collection


@contextmanager
def made_or_opened(path: Path, config: Path | None, index_fields: Sequence[str] | None) -> Iterator[Collection]:
    """The collection in a directory, made where there is none.

    Raises:
        ConfigError: there is one, and it was made with another configuration than is given now.
    """
    from hybridrank.config import PipelineConfig
    from hybridrank.errors import ConfigError
    from hybridrank.pipeline import Pipeline

    fields: dict[str, Any] = {"indexed_fields": tuple(dict.fromkeys(index_fields))} if index_fields else {}
    settings = PipelineConfig.load(config, **fields)
    if not is_collection(path):
        Pipeline.build([], path=path, config=settings).close()
    with opened(path) as collection:
        wanted = settings.nameable()
        built = PipelineConfig.load(
            {n: part for n, part in collection.config.items() if part is not None}
        ).nameable()
        names = wanted if config is not None else fields
        if other := [name for name in names if wanted[name] != built[name]]:
            raise ConfigError(
                f"{path} was built with other {', '.join(other)}; leave the option out, or build another",
                path="--index-field" if config is None else "--config",
            )
        yield collection
