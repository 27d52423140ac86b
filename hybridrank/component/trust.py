"""Configurations that are stored with data: what is built from them, and what requires the caller's trust.

A collection or a recording is data. From its stored configuration, only components are built that cannot run
code, use a network, read a file outside the model caches and the collection, or use excessive time and memory.
Each component class declares this itself, with a method `trust_needed`
(`hybridrank.component.protocols.DeclaresTrust`); a class without its own declaration is not even constructed.
Built-in components have no privilege.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hybridrank.component.base import Component, local_only
from hybridrank.component.registry import PartOption, component_class
from hybridrank.errors import ConfigError, HybridrankError, InputError, UntrustedConfigError

__all__ = ["build_stored"]

_MOST_LEVELS = 16  # nesting depth of components
_MOST_COMPONENTS = 100
_WITHHELD: Final = object()  # for a component that was not built


def build_stored(
    model: type[BaseModel],
    stored: Mapping[str, Any],
    *,
    source: str,
    only_made: Iterable[str] = (),
    most: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Build the components of a stored configuration of `model`; return its options, with objects for tables.

    Components that are built here are `local_only`, and remain so when they load something later. `source` is for
    the message: "the collection at …". The components of the fields `only_made` are constructed and never used,
    so their options need not be harmless. `most` has the largest numbers of other fields that are accepted
    without trust.

    Raises:
        UntrustedConfigError: something needs the caller's trust; names all of it.
        ConfigError: an option is unknown or wrong.
    """
    builder = _Builder()
    idle = frozenset(only_made)
    built = {}
    for name, value in stored.items():
        field = model.model_fields.get(name)
        builder.asks = name not in idle
        if isinstance(value, (int, float)) and name not in idle and value > (most or {}).get(name, value):
            builder.concerns[f"$.{name}"] = (
                f"{value} is so many that a search may take any amount of time and memory"
            )
        built[name] = value if field is None else builder.field(field, value, f"$.{name}", 0)
    if builder.concerns:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in builder.concerns.items())
        raise UntrustedConfigError(
            f"{source} was stored with a configuration that requires your trust. {reasons}. If you "
            "trust where it comes from, say so with trust=True (on the command line: --trust); or give these "
            "parts yourself (as in reranker=...)",
            concerns=builder.concerns,
        )
    return built


class _Builder:
    """Builds the declared components, innermost first, and collects what requires the caller's trust."""

    def __init__(self) -> None:
        self.concerns: dict[str, str] = {}
        self.asks = True
        self.count = 0

    def field(self, field: FieldInfo, value: Any, path: str, level: int) -> Any:
        annotation: Any = field.annotation
        for extra in field.metadata:
            if isinstance(extra, PartOption):
                annotation = Annotated[annotation, extra]
        return self._value(annotation, value, path, level)

    def _value(self, annotation: Any, value: Any, path: str, level: int) -> Any:
        """The value, with every component in it built; `_WITHHELD` if one could not be."""
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            part = next((extra for extra in arguments[1:] if isinstance(extra, PartOption)), None)
            if part is not None:
                if not part.names_part(value):
                    return value
                return self._part(part.kind, part.completed(value), path, level)
            return self._value(arguments[0], value, path, level)
        if origin in (Union, UnionType):
            if value is None or (value == "none" and type(None) in arguments):
                return value
            tried = (self._value(each, value, path, level) for each in arguments)
            return next((made for made in tried if made is not value), value)
        if isinstance(annotation, type) and issubclass(annotation, Component):
            return self._component(annotation, value, path, level) if isinstance(value, Mapping) else value
        if not isinstance(origin, type) or not arguments:
            return value
        if issubclass(origin, Mapping) and isinstance(value, Mapping):
            pairs = {
                name: self._value(arguments[-1], each, f"{path}.{name}", level) for name, each in value.items()
            }
            return _WITHHELD if _WITHHELD in pairs.values() else pairs
        if issubclass(origin, Sequence) and isinstance(value, (list, tuple)):
            made = [self._value(arguments[0], each, f"{path}[{at}]", level) for at, each in enumerate(value)]
            return _WITHHELD if _WITHHELD in made else made
        return value

    def _part(self, kind: str, value: Any, path: str, level: int) -> Any:
        self.count += 1
        if self.count > _MOST_COMPONENTS:
            self.concerns["$"] = f"it has more than {_MOST_COMPONENTS} components"
            return _WITHHELD
        if isinstance(value, str):
            value = {"use": value}
        if not isinstance(value, Mapping):
            return value  # the caller's own object, or rejected when the whole is validated
        if not isinstance(value.get("use"), str):
            raise ConfigError(f'say which {kind}: use = "…"', path=f"{path}.use")
        try:
            cls = component_class(kind, value["use"])
        except ConfigError as error:
            raise type(error)(error.problem, path=path) from None
        return self._component(cls, value, path, level)

    def _component(self, cls: type[Component], table: Mapping[str, Any], path: str, level: int) -> Any:
        if level == _MOST_LEVELS:
            raise ConfigError("components are nested too deeply", path=path)
        if not _declares(cls):
            self.concerns[path] = (
                f'"{cls.use}" ({cls.__module__}.{cls.__qualname__}) does not say what a stored configuration may '
                "make it do (trust_needed)"
            )
            return _WITHHELD
        options = {name: value for name, value in table.items() if name != "use" or value != cls.use}
        for name in options.keys() & cls.model_fields.keys():
            options[name] = self.field(cls.model_fields[name], options[name], f"{path}.{name}", level + 1)
        given = {name: value for name, value in options.items() if value is not _WITHHELD}
        whole = len(given) == len(options)
        try:
            with local_only():
                made = cls(**given)
        except (ConfigError, InputError) as error:
            if not whole:
                return _WITHHELD  # the missing component is already listed
            if isinstance(error, ConfigError):
                raise type(error)(error.problem, path=path + error.path.removeprefix("$")) from None
            raise ConfigError(str(error), path=path) from None
        except HybridrankError:
            if not whole:
                return _WITHHELD
            raise
        if self.asks:
            self._ask(made, path, skip=options)
        return made if whole else _WITHHELD

    def _ask(self, component: Component, path: str, *, skip: Mapping[str, Any]) -> None:
        """Check a component and its default members; those in `skip` were checked before."""
        for option, reason in component.trust_needed().items():  # type: ignore[attr-defined]
            self.concerns[f"{path}.{option}" if option else path] = reason
        for name in type(component).model_fields.keys() - skip.keys():
            for suffix, held in _components(getattr(component, name)):
                where = f"{path}.{name}{suffix}"
                if _declares(type(held)):
                    self._ask(held, where, skip={})
                else:
                    self.concerns[where] = f'"{held.use}" does not say what a stored configuration may make it do'


def _declares(cls: type[Component]) -> bool:
    """Whether a class has its own declaration: an inherited one does not know the options that the class adds."""
    return callable(cls.__dict__.get("trust_needed"))


def _components(value: Any) -> Iterator[tuple[str, Component]]:
    if isinstance(value, Component):
        yield "", value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from ((f".{name}{suffix}", held) for suffix, held in _components(each))
    elif isinstance(value, (list, tuple)):
        for at, each in enumerate(value):
            yield from ((f"[{at}]{suffix}", held) for suffix, held in _components(each))
