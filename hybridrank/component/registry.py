"""The registry: names -> components, through entry points, imported lazily.

Every backend, built-in or third-party, is registered the same way: an entry point in one of the `GROUPS`, whose
name is the component's `use` and whose value is its class. A script registers its own class with `register`.
Looking up a name reads package metadata only. A backend is imported when it is constructed, and not for an error
message about another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, overload

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, PydanticUserError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from hybridrank.component.base import C, Component
from hybridrank.errors import ConfigError, MissingDependencyError, UnknownComponentError
from hybridrank.runtime import fork
from hybridrank.values.printable import shown, suggestion

if TYPE_CHECKING:
    from hybridrank.component.protocols import (
        Adjuster,
        Embedder,
        Expander,
        Fusion,
        IndexedRetriever,
        Reranker,
        Retriever,
        WeightModel,
    )

__all__ = [
    "GROUPS",
    "AdjusterOption",
    "EmbedderOption",
    "ExpanderOption",
    "FusionOption",
    "PartOption",
    "Registration",
    "RerankerOption",
    "RetrieverOption",
    "WeightModelOption",
    "component_class",
    "create",
    "installed",
    "register",
    "registered",
]

GROUPS: Mapping[str, str] = {
    "retriever": "hybridrank.retrievers",
    "embedder": "hybridrank.embedders",
    "fusion": "hybridrank.fusions",
    "reranker": "hybridrank.rerankers",
    "adjuster": "hybridrank.adjusters",
    "expander": "hybridrank.expanders",
    "splitter": "hybridrank.splitters",
    "weight-model": "hybridrank.weight_models",
}
"""What a component is -> the entry-point group that it is registered in."""

_METHODS: Mapping[str, tuple[str, ...]] = {
    "retriever": ("retrieve", "create_index"),
    "embedder": ("embed",),
    "fusion": ("fuse",),
    "reranker": ("score",),
    "adjuster": ("adjust",),
    "expander": ("expand",),
    "splitter": ("split",),
    "weight-model": ("weights",),
}

_OUR_PLUGINS: Mapping[tuple[str, str], str] = {
    ("embedder", "sentence-transformers"): "hybridrank-sentence-transformers",
    ("reranker", "sentence-transformers"): "hybridrank-sentence-transformers",
    ("reranker", "cohere"): "hybridrank-cohere",
    ("reranker", "http"): "hybridrank-http",
    ("reranker", "llm"): "hybridrank-llm",
}


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered component: from the entry point of an installed distribution, or from `register`.

    `value` is ``"module:Class"``; `distribution` and `version` are None for a class registered by `register`.
    """

    kind: str
    name: str
    value: str
    distribution: str | None
    version: str | None
    load: Callable[[], Any] = field(repr=False, compare=False)


_at_run_time: dict[str, dict[str, type[Component]]] = {}
_lock = fork.new_lock()


@functools.cache
def installed(kind: str) -> Mapping[str, Registration]:
    """All components of a `kind` registered by installed distributions, by name, without importing any.

    Raises:
        ConfigError: there is no such kind, or two distributions claim one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=_group(kind)), key=lambda entry: entry.name):
        if (other := found.get(entry.name)) is not None and other.value != entry.value:
            claims = sorted(f"{e.dist.name if e.dist else '?'} ({e.value})" for e in (other, entry))
            raise ConfigError(
                f'two distributions register the {kind} "{entry.name}": {" and ".join(claims)}; uninstall one'
            )
        found[entry.name] = entry
    return {
        name: Registration(
            kind, name, entry.value,
            entry.dist.name if entry.dist else None, entry.dist.version if entry.dist else None, entry.load,
        )
        for name, entry in found.items()
    }  # fmt: skip


def registered(kind: str) -> Mapping[str, Registration]:
    """All registered components of a `kind` (a key of `GROUPS`), by name: installed ones, then those of
    `register`.

    Nothing is imported.

    Raises:
        ConfigError: there is no such kind, or two distributions claim one name.
    """
    known = dict(installed(kind))
    with _lock:
        added = dict(_at_run_time.get(kind, {}))
    for name, cls in added.items():
        known[name] = Registration(kind, name, _place_of(cls), None, None, functools.partial(_itself, cls))
    return known


def _itself(cls: type[Component]) -> type[Component]:
    return cls


def _place_of(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _group(kind: str) -> str:
    if (group := GROUPS.get(kind)) is None:
        raise ConfigError(f"there is no kind {shown(kind)}{suggestion(kind, GROUPS)} (kinds: {', '.join(GROUPS)})")
    return group


@overload
def register(kind: str, name: str) -> Callable[[type[C]], type[C]]: ...
@overload
def register(kind: str, name: str, cls: type[C]) -> type[C]: ...
def register(kind: str, name: str, cls: type[C] | None = None) -> type[C] | Callable[[type[C]], type[C]]:
    """Register a component class under a name, for this process; without `cls`, a decorator.

    The name then works wherever a registered name does: options, configuration files, the command line (which
    imports the module that registers it with ``--import``). A class that is defined again, as when a notebook
    cell runs again, replaces the first.

    >>> from hybridrank import Component, Ranking, register
    >>> @register("fusion", "first-arm")
    ... class FirstArm(Component):
    ...     use = "first-arm"
    ...
    ...     def fuse(self, rankings, *, query):
    ...         return next(iter(rankings.values()), Ranking())
    >>> create("fusion", "first-arm")
    FirstArm()

    Raises:
        ConfigError: there is no such kind, the class is no component of that kind, its `use` is another name, or
            another class has the name.
    """
    if cls is None:
        return functools.partial(_register, kind, name)
    return _register(kind, name, cls)


def _register(kind: str, name: str, cls: type[C]) -> type[C]:
    known = installed(kind)  # first: there may be no such kind
    if not (isinstance(cls, type) and issubclass(cls, Component)):
        raise ConfigError(
            f'what is registered as the {kind} "{name}" must be a subclass of Component, not {shown(cls)}'
        )
    _check_name(kind, name, cls, _place_of(cls))
    if not any(callable(getattr(cls, method, None)) for method in _METHODS[kind]):
        needs = " or ".join(f"{method}()" for method in _METHODS[kind])
        raise ConfigError(f"{_place_of(cls)} is no {kind}: it needs {needs}")
    if name in known:
        owner = known[name].distribution or known[name].value
        raise ConfigError(f'{owner} registers the {kind} "{name}" already: choose another name')
    with _lock:
        names = _at_run_time.setdefault(kind, {})
        other = names.get(name, cls)
        if other is not cls and _place_of(other) != _place_of(cls):
            raise ConfigError(
                f'{_place_of(other)} is registered as the {kind} "{name}" already: choose another name'
            )
        names[name] = cls
    return cls


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
        owner = entry.distribution or entry.value
        raise MissingDependencyError(
            f'the {kind} "{name}" of {owner} cannot be imported ({error}); pip install --upgrade "{owner}"'
        ) from error
    except PydanticUserError as error:  # a mistake in the class statement
        problem = str(error.message).partition("\n")[0]
        raise ConfigError(
            f'the {kind} "{name}" ({entry.value}) cannot be loaded: {problem} Annotate a constant that is no '
            "option, as in pointwise: ClassVar[bool] = True"
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Component)):
        raise ConfigError(f'the {kind} "{name}" ({entry.value}) is not a subclass of hybridrank.Component')
    _check_name(kind, name, loaded, entry.value)
    return loaded


def _check_name(kind: str, name: str, cls: type[Component], place: str) -> None:
    if not isinstance(name, str) or not name:
        raise ConfigError(f"the name of a {kind} must be a str that is not empty, not {shown(name)}")
    if (use := getattr(cls, "use", None)) != name:
        problem = (
            f'says use = "{use}"' if isinstance(use, str) else f'does not name itself: give it use = "{name}"'
        )
        raise ConfigError(f'{place} is registered as "{name}" but {problem}')


def _unknown(kind: str, name: str, known: list[str]) -> str:
    problem = f'no {kind} is registered as "{name}"'
    ours = {known_name: plugin for (known_kind, known_name), plugin in _OUR_PLUGINS.items() if known_kind == kind}
    near = get_close_matches(name, [*known, *ours], n=1)
    if name in ours:
        problem += f'; it comes with a plugin: pip install "{ours[name]}"'
    elif near:
        problem += f'; did you mean "{near[0]}"?'
        if near[0] not in known:
            problem += f' It comes with a plugin: pip install "{ours[near[0]]}"'
    return f"{problem} (installed: {', '.join(known) or 'none'})"


def create(kind: str, config: str | Mapping[str, Any]) -> Any:
    """Create a component from its name, or from a mapping of ``use`` and its options.

    >>> create("fusion", {"use": "rrf", "k": 10})
    RRF(k=10, weights={})

    Raises:
        ConfigError: as `component_class`, or an option is unknown or wrong.
    """
    if isinstance(config, str):
        return component_class(kind, config)()
    options = dict(config)
    for name in options:
        if not isinstance(name, str):
            raise ConfigError(
                f"the name of an option must be a string, not {shown(name)}", path=f"$[{shown(name)}]"
            )
    use = options.pop("use", None)
    if not isinstance(use, str):
        raise ConfigError(f'say which {kind}: use = "…" (installed: {", ".join(registered(kind))})', path="$.use")
    return component_class(kind, use)(**options)


@dataclass(frozen=True)
class PartOption:
    """A pydantic field that accepts a registered name, a config table, or an object with the right method."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate, serialization=core_schema.plain_serializer_function_ser_schema(self._serialize)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        table = {"type": "object", "properties": {"use": {"type": "string"}}, "required": ["use"]}
        return {"anyOf": [{"type": "string"}, table], "description": f"a registered {self.kind}"}

    def names_part(self, value: Any) -> bool:  # noqa: ARG002
        """Whether this is a part, or names one; else the field takes the value as it is."""
        return True

    def completed(self, value: Any) -> Any:
        """The value, with the `use` that its table may leave out."""
        return value

    def _validate(self, value: Any) -> Any:
        value = self.completed(value)
        if isinstance(value, (str, Mapping)):
            return create(self.kind, value)
        if isinstance(value, type) or not any(callable(getattr(value, m, None)) for m in _METHODS[self.kind]):
            needs = " or ".join(f"{method}()" for method in _METHODS[self.kind])
            raise ConfigError(f"{shown(value)} is no {self.kind}: give a name, a table, or an object with {needs}")
        return value

    def _serialize(self, value: Any) -> dict[str, Any]:
        if isinstance(value, Component):
            return value.to_config()
        raise ConfigError(
            f"{type(value).__name__} is not a registered component, so a configuration cannot name it; "
            "subclass hybridrank.Component and register it (an entry point, or hybridrank.register)"
        )


if TYPE_CHECKING:
    RetrieverOption: TypeAlias = IndexedRetriever | Retriever
    EmbedderOption: TypeAlias = Embedder
    FusionOption: TypeAlias = Fusion
    RerankerOption: TypeAlias = Reranker
    AdjusterOption: TypeAlias = Adjuster
    ExpanderOption: TypeAlias = Expander
    WeightModelOption: TypeAlias = WeightModel
else:
    RetrieverOption = Annotated[Any, PartOption("retriever")]
    EmbedderOption = Annotated[Any, PartOption("embedder")]
    FusionOption = Annotated[Any, PartOption("fusion")]
    RerankerOption = Annotated[Any, PartOption("reranker")]
    AdjusterOption = Annotated[Any, PartOption("adjuster")]
    ExpanderOption = Annotated[Any, PartOption("expander")]
    WeightModelOption = Annotated[Any, PartOption("weight-model")]
