"""Names -> components, through entry points, lazily.

Every backend, ours or yours, is registered the same way: an entry point in one of the `GROUPS`, whose name
is the component's `use` and whose value is its class. Looking a name up reads package metadata only; a
backend is imported when it is made, and never to say that another is missing.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from hybridrank.component.base import Component
from hybridrank.errors import ConfigError, MissingDependencyError, UnknownComponentError

if TYPE_CHECKING:
    from hybridrank.component.protocols import Adjuster, Embedder, Fusion, IndexedRetriever, Reranker, Retriever

__all__ = [
    "GROUPS",
    "AdjusterOption",
    "EmbedderOption",
    "FusionOption",
    "PartOption",
    "RerankerOption",
    "RetrieverOption",
    "component_class",
    "create",
    "registered",
]

GROUPS: Mapping[str, str] = {
    "retriever": "hybridrank.retrievers",
    "embedder": "hybridrank.embedders",
    "fusion": "hybridrank.fusions",
    "reranker": "hybridrank.rerankers",
    "adjuster": "hybridrank.adjusters",
}
"""What a component is -> the entry-point group that it is registered in."""

_METHODS: Mapping[str, tuple[str, ...]] = {
    "retriever": ("retrieve", "create_index"),
    "embedder": ("embed",),
    "fusion": ("fuse",),
    "reranker": ("score",),
    "adjuster": ("adjust",),
}

_OUR_PLUGINS: Mapping[tuple[str, str], str] = {
    ("embedder", "sentence-transformers"): "hybridrank-sentence-transformers",
    ("reranker", "sentence-transformers"): "hybridrank-sentence-transformers",
    ("reranker", "cohere"): "hybridrank-cohere",
    ("reranker", "http"): "hybridrank-http",
    ("reranker", "llm"): "hybridrank-llm",
}


@functools.cache
def registered(kind: str) -> Mapping[str, EntryPoint]:
    """Everything registered as a `kind` (a key of `GROUPS`), by name, without importing any of it.

    Raises:
        ConfigError: two distributions claim one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUPS[kind]), key=lambda entry: entry.name):
        if (other := found.get(entry.name)) is not None and other.value != entry.value:
            claims = sorted(f"{e.dist.name if e.dist else '?'} ({e.value})" for e in (other, entry))
            raise ConfigError(
                f'two distributions register the {kind} "{entry.name}": {" and ".join(claims)}; uninstall one'
            )
        found[entry.name] = entry
    return found


def component_class(kind: str, name: str) -> type[Component]:
    """Import the component registered as `name`.

    Raises:
        UnknownComponentError: nothing is registered as `name`; the message holds the nearest name.
        MissingDependencyError: a package that it needs is absent.
        ConfigError: what is registered is not a component, or calls itself otherwise.
    """
    known = registered(kind)
    if name not in known:
        raise UnknownComponentError(_unknown(kind, name, list(known)))
    entry = known[name]
    try:
        loaded = entry.load()
    except ImportError as error:
        owner = entry.dist.name if entry.dist else entry.value
        raise MissingDependencyError(
            f'the {kind} "{name}" of {owner} cannot be imported ({error}); pip install --upgrade "{owner}"'
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Component)):
        raise ConfigError(f'the {kind} "{name}" ({entry.value}) is not a subclass of hybridrank.Component')
    if (said := getattr(loaded, "use", None)) != name:
        what = f'says use = "{said}"' if isinstance(said, str) else f'does not name itself: give it use = "{name}"'
        raise ConfigError(f'{entry.value} is registered as "{name}" but {what}')
    return loaded


def _unknown(kind: str, name: str, known: list[str]) -> str:
    problem = f'no {kind} is registered as "{name}"'
    if plugin := _OUR_PLUGINS.get((kind, name)):
        problem += f'; it comes with a plugin: pip install "{plugin}"'
    elif near := get_close_matches(name, known, n=1):
        problem += f'; did you mean "{near[0]}"?'
    return f"{problem} (installed: {', '.join(known) or 'none'})"


def create(kind: str, config: str | Mapping[str, Any]) -> Any:
    """Make a component from its name, or from a mapping of ``use`` and its options.

    >>> create("fusion", {"use": "rrf", "k": 10})
    RRF(k=10, weights={})

    Raises:
        ConfigError: as `component_class`, or an option is unknown or wrong.
    """
    if isinstance(config, str):
        return component_class(kind, config)()
    options = dict(config)
    use = options.pop("use", None)
    if not isinstance(use, str):
        raise ConfigError(f'say which {kind}: use = "…" (installed: {", ".join(registered(kind))})', path="$.use")
    return component_class(kind, use)(**options)


@dataclass(frozen=True)
class PartOption:
    """A pydantic field that takes a registered name, a config table, or an object with the right method."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate, serialization=core_schema.plain_serializer_function_ser_schema(self._serialize)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        table = {"type": "object", "properties": {"use": {"type": "string"}}, "required": ["use"]}
        return {"anyOf": [{"type": "string"}, table], "description": f"a registered {self.kind}"}

    def _validate(self, value: Any) -> Any:
        if isinstance(value, (str, Mapping)):
            return create(self.kind, value)
        if isinstance(value, type) or not any(callable(getattr(value, m, None)) for m in _METHODS[self.kind]):
            needs = " or ".join(f"{method}()" for method in _METHODS[self.kind])
            raise ConfigError(f"{value!r:.80} is no {self.kind}: give a name, a table, or an object with {needs}")
        return value

    def _serialize(self, value: Any) -> dict[str, Any]:
        if isinstance(value, Component):
            return value.to_config()
        raise ConfigError(
            f"{type(value).__name__} is not a registered component, so a configuration cannot name it; "
            "subclass hybridrank.Component and register it under an entry point"
        )


if TYPE_CHECKING:
    RetrieverOption: TypeAlias = IndexedRetriever | Retriever
    EmbedderOption: TypeAlias = Embedder
    FusionOption: TypeAlias = Fusion
    RerankerOption: TypeAlias = Reranker
    AdjusterOption: TypeAlias = Adjuster
else:
    RetrieverOption = Annotated[Any, PartOption("retriever")]
    EmbedderOption = Annotated[Any, PartOption("embedder")]
    FusionOption = Annotated[Any, PartOption("fusion")]
    RerankerOption = Annotated[Any, PartOption("reranker")]
    AdjusterOption = Annotated[Any, PartOption("adjuster")]
