"""Types of metadata fields: valid values, and dates that compare as dates.

============  ====================================================================================
type          values
============  ====================================================================================
``"str"``     strings
``"int"``     integers; a float without a fraction becomes one
``"float"``   numbers
``"bool"``    true and false
``"datetime"``moments in ISO 8601, with a time or without (midnight), in UTC where no offset is given
``"date"``    days in ISO 8601, as ``"2024-05-01"``
``"list[…]"`` lists of any of these
============  ====================================================================================

Null is a value of every type, and a document may lack a field. Moments are kept in one form, in UTC, whose order
as strings is the order in time: so every store and engine compares them as it compares strings.

>>> fields = FieldTypes.of({"year": int, "published": datetime, "tags": list[str]})
>>> fields.normalize({"year": 2024.0, "published": "2024-05-01T01:00+02:00"}, what="metadata")
{'year': 2024, 'published': '2024-04-30T23:00:00+00:00'}
>>> fields.bind(Filter.of({"published": {"$gte": "2024-05-01"}})).to_dict()
{'published': {'$gte': '2024-05-01T00:00:00+00:00'}}
>>> fields.bind(Filter.of({"year": {"$gte": "2024"}}))
Traceback (most recent call last):
  ...
hybridrank.errors.InputError: $.year.$gte: the field is declared as int, and '2024' is not a number
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, get_args, get_origin

from hybridrank.errors import InputError
from hybridrank.filters.expressions import conditions_of
from hybridrank.filters.language import Filter
from hybridrank.values.printable import shown, suggestion

__all__ = ["FieldTypes"]

_NAMES: Mapping[Any, str] = {
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    datetime: "datetime",
    date: "date",
}


class _Wrong(Exception):
    """A value is not of its field's type; the message is the value with the reason."""


def _to_str(value: Any) -> Any:
    if not isinstance(value, str):
        raise _Wrong("a string")
    return value


def _to_int(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Wrong("an integer")
    return value


def _to_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Wrong("a number")
    return value


def _to_bool(value: Any) -> Any:
    if not isinstance(value, bool):
        raise _Wrong("true or false")
    return value


def _to_datetime(value: Any) -> Any:
    try:
        moment = datetime.fromisoformat(value)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)).isoformat()
    except (TypeError, ValueError, OverflowError):
        raise _Wrong('a moment in ISO 8601, as "2024-05-01T12:00:00+02:00" or "2024-05-01"') from None


def _to_date(value: Any) -> Any:
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise _Wrong('a day in ISO 8601, as "2024-05-01"') from None


@dataclass(frozen=True, slots=True)
class _Type:
    """How a type reads a document's value, and a filter's; whether it has an order, and prefixes."""

    in_document: Callable[[Any], Any]
    in_filter: Callable[[Any], Any]
    ordered: bool = True
    prefixes: bool = False


_TYPES: Mapping[str, _Type] = {
    "str": _Type(_to_str, _to_str, prefixes=True),
    "int": _Type(_to_int, _to_number),
    "float": _Type(_to_number, _to_number),
    "bool": _Type(_to_bool, _to_bool, ordered=False),
    "datetime": _Type(_to_datetime, _to_datetime),
    "date": _Type(_to_date, _to_date),
}


@dataclass(frozen=True, slots=True)
class FieldTypes:
    """The declared types of metadata fields, by name. Fields that are not declared hold any JSON value."""

    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, types: Mapping[str, Any] | FieldTypes | None) -> FieldTypes:
        """Read types given by name (``"int"``, ``"list[str]"``) or as Python's (``int``, ``list[str]``).

        Raises:
            InputError: a field's name is one that no filter can have, or there is no such type.
        """
        if isinstance(types, FieldTypes):
            return types
        if types is None:
            return cls()
        if not isinstance(types, Mapping):
            raise InputError(f'fields must map field names to types, as {{"year": "int"}}, not {shown(types)}')
        for name in types:
            if not isinstance(name, str):
                raise InputError(f"a field's name must be a str, not {shown(name)}")
            Filter.of({name: {"$exists": True}})  # a field that no filter can name is of no use
        return cls({name: _type_name(name, each) for name, each in types.items()})

    def __bool__(self) -> bool:
        return bool(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def to_dict(self) -> dict[str, str]:
        """Return the types by field, as JSON values; `of` reads them."""
        return dict(self.names)

    def with_types(self, types: FieldTypes) -> FieldTypes:
        """Return these types with others added.

        Raises:
            InputError: a field is declared already, with another type.
        """
        for name, kind in types.names.items():
            if self.names.get(name, kind) != kind:
                raise InputError(
                    f'the field "{name}" is declared as {self.names[name]} already, and cannot become {kind}: '
                    "use another field, or build another collection"
                )
        return FieldTypes({**self.names, **types.names})

    def normalize(self, metadata: Mapping[str, Any], *, what: str) -> dict[str, Any]:
        """Return metadata, of JSON values, with the values of declared fields in their normal form.

        Raises:
            InputError: a value is not of its field's type. The message begins with `what` and the field.
        """
        normal = dict(metadata)
        for name, kind in self.names.items():
            if normal.get(name) is not None:
                normal[name] = _normal(normal[name], kind, f'{what}["{name}"]')
        return normal

    def bind(self, filter: Filter) -> Filter:  # noqa: A002
        """Return the filter with the values for declared fields in their normal form; doing so twice is safe.

        Raises:
            InputError: a value, or an operator, does not fit its field's type. The message begins with the path.
        """
        if not any(condition.field in self.names for condition in conditions_of(filter.expression)):
            return filter
        return filter.with_values(self._value)

    def _value(self, name: str, operator: str, value: Any, path: str) -> Any:
        declared = self.names.get(name)
        if declared is None or operator == "$exists" or value is None:
            return value
        kind = _TYPES[_element(declared)]
        if (operator == "$prefix" and not kind.prefixes) or (
            operator in ("$gt", "$gte", "$lt", "$lte") and not kind.ordered
        ):
            raise InputError(f"{path}: the field is declared as {declared}, which {operator} does not apply to")
        try:
            return kind.in_filter(value)
        except _Wrong as wrong:
            raise InputError(
                f"{path}: the field is declared as {declared}, and {value!r:.80} is not {wrong}"
            ) from None


def _element(kind: str) -> str:
    return kind.removeprefix("list[").removesuffix("]")


def _normal(value: Any, kind: str, what: str) -> Any:
    element = _element(kind)
    if element != kind:
        if not isinstance(value, list):
            raise InputError(f"{what} is {value!r:.80}, and the field is declared as {kind}: give a list")
        return [None if each is None else _normal(each, element, f"{what}[{n}]") for n, each in enumerate(value)]
    try:
        return _TYPES[kind].in_document(value)
    except _Wrong as wrong:
        raise InputError(f"{what} is {value!r:.80}, and the field is declared as {kind}: give {wrong}") from None


def _type_name(field_name: str, given: Any) -> str:
    name = given if isinstance(given, str) else _NAMES.get(given) if isinstance(given, type) else None
    if name is None and get_origin(given) is list and len(get_args(given)) == 1:
        name = f"list[{_NAMES.get(get_args(given)[0])}]"
    allowed = [*_TYPES, *(f"list[{each}]" for each in _TYPES)]
    if name not in allowed:
        hint = suggestion(name, allowed)
        raise InputError(
            f'the field "{field_name:.80}" cannot be declared as {shown(given)}{hint} '
            f'(types: {", ".join(_TYPES)}, and lists of them, as "list[str]")'
        )
    return str(name)
