"""Component: a frozen set of options that round-trips through a config file.

Making a component only stores its options. Weights, sessions and clients are made at first use, by a method
decorated with `once`, and are shared by threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError

from hybridrank.errors import ConfigError
from hybridrank.runtime import fork
from hybridrank.runtime.shielding import shielded
from hybridrank.values.printable import shown, suggestion
from hybridrank.values.problems import first_problem, unusable

__all__ = ["Component", "config_error", "dumped", "local_only", "nested", "once", "refused_by_python"]

T = TypeVar("T")

_LOCAL_ONLY: ContextVar[bool] = ContextVar("local_only", default=False)


@contextmanager
def local_only() -> Iterator[None]:
    """Mark every component that is constructed inside as `Component.local_only`."""
    before = _LOCAL_ONLY.set(True)
    try:
        yield
    finally:
        _LOCAL_ONLY.reset(before)


class once(Generic[T]):
    """Like `functools.cached_property`, except that two threads never compute the value twice.

    A failure is not cached: the next use tries again.
    """

    _guard: ClassVar[threading.Lock] = fork.new_lock()

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | T:
        """Return the value, made now if this is its first use."""
        if instance is None:
            return self
        made = instance.__dict__
        key = f"once {self._name}"
        if key not in made:
            shielded(partial(self._make_once, instance, key))  # no import is cut in half by a signal
        value: T = made[key]
        return value

    def _make_once(self, instance: object, key: str) -> None:
        made = instance.__dict__
        with self._guard:
            lock = made.setdefault(f"lock {self._name}", fork.new_lock())
        with lock:
            if key not in made:
                made[key] = self._make(instance)


def config_error(
    error: ValidationError, options: Iterable[str], *, given: Mapping[str, Any], path: str, what: str
) -> ConfigError:
    """The first problem that pydantic found, in one line: its path, what is allowed, what was given.

    `options` are the names that exist, `given` the options that were given, `path` theirs, and `what` has them. An
    unknown option is answered with the nearest name.
    """
    problem = first_problem(error, given)
    where = path + problem.path
    if isinstance(inner := problem.cause, ConfigError):
        return type(inner)(inner.problem, path=where + inner.path.removeprefix("$"))
    if problem.kind == "extra_forbidden":
        hint = suggestion(problem.name, options)
        return ConfigError(f"{what} has no such option{hint} (options: {', '.join(options)})", path=where)
    if problem.kind == "missing":
        in_a_list = isinstance(problem.name, int)
        return ConfigError("the list is too short" if in_a_list else f"{what} needs this option", path=where)
    return ConfigError(problem.text, path=where)


def refused_by_python(error: OverflowError | TypeError, given: Mapping[str, Any]) -> ConfigError:
    """The problem with the options `given` for which pydantic lets an exception of Python pass.

    Raises:
        TypeError: there is none: the exception itself.
    """
    if (found := unusable(given)) is None:
        raise error
    return ConfigError(found[1], path=f"${found[0]}")


def dumped(model: BaseModel) -> dict[str, Any]:
    """A model's fields as JSON values, without those that are None.

    Raises:
        ConfigError: a field holds what no configuration can name.
    """
    try:
        return model.model_dump(mode="json", exclude_none=True)
    except PydanticSerializationError as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from None
        raise ConfigError(f"an option holds what JSON cannot: {error}") from error


class Component(BaseModel):
    """A registered component: its fields are its whole configuration.

    A subclass names itself with `use` (its registered name), declares its options as pydantic fields, with
    defaults where possible, and implements the methods of its protocol. The constructor does no work.

    >>> class Shout(Component):
    ...     use = "shout"
    ...     volume: int = 3
    >>> Shout(volume=5).to_config()
    {'use': 'shout', 'volume': 5}
    >>> Shout.from_config({"use": "shout", "volume": 5}) == Shout(volume=5)
    True

    Raises:
        ConfigError: an option is unknown, or its value is wrong.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        ignored_types=(once,),
    )

    use: ClassVar[str]

    def __new__(cls, *values: object, **options: object) -> Self:  # noqa: ARG004
        """Reject a class without a name, and positional options: Python's own messages name neither."""
        _name_of(cls)
        if values:
            first = next(iter(cls.model_fields), None)
            hint = f"{cls.__name__}({first}={shown(values[0])})" if first else "it has none"
            raise ConfigError(f'"{cls.use}" takes its options by name: {hint}')
        return super().__new__(cls)

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            cls = type(self)
            raise config_error(error, cls.model_fields, given=options, path="$", what=f'"{self.use}"') from None
        except (OverflowError, TypeError) as error:
            raise refused_by_python(error, options) from None
        if _LOCAL_ONLY.get():
            self.__dict__[_MARK] = True

    @property
    def local_only(self) -> bool:
        """Whether it comes from a stored configuration without trust (`hybridrank.component.trust`).

        It must then use no network, and read no file outside the model caches and the collection.
        """
        return _MARK in self.__dict__

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Component)
            and type(self) is type(other)
            and all(getattr(self, name) == getattr(other, name) for name in type(self).model_fields)
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and deep-copy only the options: weights, sessions and locks are not copied."""
        options = {name: getattr(self, name) for name in type(self).model_fields}
        return _rebuild, (type(self), options, self.local_only)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self

    __copy__ = __deepcopy__  # frozen: a copy is itself

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """Return a component with some options changed and validated; `deep` makes no difference.

        Raises:
            ConfigError: an option is unknown or wrong.
        """
        if not update:
            return self
        options = {name: getattr(self, name) for name in type(self).model_fields}
        return _rebuild(type(self), {**options, **update}, self.local_only)

    def to_config(self) -> dict[str, Any]:
        """Return the options as JSON values, `use` first; valid for TOML too, since None is left out.

        Raises:
            ConfigError: an option holds an object that is no registered component.
        """
        return {"use": self.use, **dumped(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Construct the component from the result of `to_config`; `use` may be left out.

        Raises:
            ConfigError: an option is unknown or wrong, or `use` names another component.
        """
        options = dict(config)
        if (use := options.pop("use", _name_of(cls))) != cls.use:
            raise ConfigError(f'this is the configuration of "{use}", not of "{cls.use}"', path="$.use")
        return cls(**options)

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema (draft 2020-12) of this component's configuration."""
        schema = cls.model_json_schema()
        schema["properties"] = {"use": {"const": _name_of(cls)}, **schema.get("properties", {})}
        schema["required"] = ["use", *schema.get("required", [])]
        return schema


C = TypeVar("C", bound=Component)

_MARK = "local only"


def _name_of(cls: type[Component]) -> str:
    use: object = getattr(cls, "use", None)
    if not isinstance(use, str):
        raise ConfigError(
            f"the component {cls.__module__}.{cls.__qualname__} has no name: give it an attribute `use`, as in "
            'use = "my-component", the name that it is registered under'
        )
    return use


def nested(part: object) -> Iterator[object]:
    """A component and all components nested in its options."""
    yield part
    values: Iterable[object] = ()
    if isinstance(part, Component):
        values = [getattr(part, name) for name in type(part).model_fields]
    elif isinstance(part, Mapping):
        values = part.values()
    elif isinstance(part, (tuple, list)):
        values = part
    for value in values:
        yield from nested(value)


def _rebuild(cls: type[C], options: dict[str, Any], marked: bool) -> C:
    with local_only() if marked else nullcontext():
        return cls(**options)
