"""One small language to choose documents by their metadata, the same for every store and every arm.

A filter is a mapping, all of whose entries must hold; ``{}`` holds for every document.

=============================  =====================================================================
entry                          holds where
=============================  =====================================================================
``"year": 2020``               the field equals this string, number, boolean or None; short for $eq
``"lang": ["en", "de"]``       the field equals one of these; short for $in
``"year": {"$gte": 2020}``     every operator of the mapping holds for the field
``"$and": [filter, …]``        every filter holds
``"$or": [filter, …]``         at least one filter holds
``"$not": filter``             the filter does not hold
=============================  =====================================================================

=============================  =====================================================================
operator                       holds where the field
=============================  =====================================================================
``"$eq": value``               equals the value
``"$in": [value, …]``          equals one of the values
``"$ne": value``               does not equal the value: also where there is no such field
``"$nin": [value, …]``         equals none of the values: also where there is no such field
``"$gt"``, ``"$gte"``          comes after the number or string; or equals it
``"$lt"``, ``"$lte"``          comes before the number or string; or equals it
``"$prefix": string``          is a string that begins with this one
``"$exists": true``            is there, whatever it holds, null too (false: is not there)
=============================  =====================================================================

- A field's name is a key of the metadata, whole: dots mean nothing, and it does not begin with ``$``.
- Values are equal only within a JSON type: 1 equals 1.0, but neither true nor "1". None is JSON's null, which a
  missing field is not.
- Numbers are ordered among numbers and strings among strings, by code point; nothing else is ordered. Integers
  beyond 64 bits compare as floats.
- NumPy's scalars and arrays, dates and UUIDs stand for the JSON values that they become in metadata: a date is the
  str ``"2024-05-01"``.
- Of an array every element is looked at, and one that holds is enough (``$ne`` and ``$nin``: none may equal).
  Objects, and arrays within arrays, are there but equal nothing.

>>> recent = Filter.of({"year": {"$gte": 2020, "$lt": 2030}, "lang": ["en", "de"]})
>>> recent.matches({"year": 2021, "lang": "de"}), recent.matches({"year": 2019, "lang": "de"})
(True, False)
>>> recent.matches({"year": 2021, "lang": ["fr", "en"]}), recent.matches({"year": "2021", "lang": "en"})
(True, False)
>>> other = Filter.of({"$not": {"$or": [{"tag": {"$prefix": "draft"}}, {"owner": {"$exists": False}}]}})
>>> other.matches({"owner": None}), other.matches({"owner": "ann", "tag": "draft-2"}), other.matches({})
(True, False, False)
>>> Filter.of({"year": {"gte": 2020}})
Traceback (most recent call last):
  ...
hybridrank.errors.InputError: $.year.gte: there is no such operator; did you mean "$gte"? (operators: $eq, $ne, \
$gt, $gte, $lt, $lte, $in, $nin, $prefix, $exists)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NoReturn, TypeAlias

from hybridrank.errors import InputError
from hybridrank.filters.expressions import (
    AllOf,
    AnyOf,
    Compare,
    Exists,
    Expression,
    Key,
    Not,
    OneOf,
    Prefix,
    key_of,
    to_language,
)
from hybridrank.values.json_values import is_sound, native
from hybridrank.values.printable import suggestion

__all__ = ["MAX_CONDITIONS", "MAX_DEPTH", "MAX_VALUES", "Filter"]

MAX_DEPTH = 16
"""How deep $and, $or and $not may stand in each other."""

MAX_CONDITIONS = 500
"""How many conditions a filter may have: each operator of each field is one."""

MAX_VALUES = 100_000
"""How many values the lists of a filter may hold together."""

Convert: TypeAlias = Callable[[str, str, Any, str], Any]
"""Converts a value of a filter, given its field, its operator and its path."""


@dataclass(frozen=True, slots=True, repr=False)
class Filter:
    """A condition on documents' metadata; `Filter.of` parses the language that this module describes.

    Filters are equal where their expressions are, whatever form they were written in.

    >>> Filter.of({"a": 1, "b": ["x"]}) == Filter.of({"b": {"$in": ("x",)}, "a": {"$eq": 1.0}})
    True
    """

    expression: Expression
    _written: Mapping[str, Any] = field(compare=False)

    @classmethod
    def of(cls, value: Filter | Mapping[str, Any]) -> Filter:
        """Parse a filter, or return one that is parsed already. Later changes of `value` have no effect.

        Raises:
            InputError: it is not a valid filter; the message begins with the path, as in ``$.year.$gte``.
        """
        if isinstance(value, Filter):
            return value
        return cls(_Parser().filter(value, "$", 0), _plain(value))

    def with_values(self, convert: Convert) -> Filter:
        """Return the filter with every value replaced by ``convert(field, operator, value, path)``."""
        expression = _Parser(convert).filter(self._written, "$", 0)
        return Filter.of_expression(expression)

    @classmethod
    def of_expression(cls, expression: Expression) -> Filter:
        """Wrap a tree, such as a part of another filter's."""
        return cls(expression, to_language(expression))

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether the filter is true of a document with this metadata."""
        return self.expression.matches(metadata)

    def __and__(self, other: Filter) -> Filter:
        """The filter of the documents that match both."""
        written = {"$and": [self._written, other._written]}
        return Filter(AllOf((self.expression, other.expression)), written)

    def to_dict(self) -> dict[str, Any]:
        """Return the filter as it was written, in JSON values; `of` parses them into an equal filter."""
        written: dict[str, Any] = _plain(self._written)
        return written

    def __repr__(self) -> str:
        return f"Filter.of({self._written!r})"


def _plain(value: Any) -> Any:
    value = native(value)
    if isinstance(value, Mapping):
        return {native(name): _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


_OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$prefix", "$exists")
_COMBINERS = ("$and", "$or", "$not")


def _wrong(path: str, problem: str) -> NoReturn:
    raise InputError(f"{path}: {problem}")


def _step(path: str, name: object) -> str:
    if isinstance(name, str) and re.fullmatch(r"\$?\w{1,80}", name):
        return f"{path}.{name}"
    return f"{path}[{json.dumps(str(name)[:80])}]"


def _kind(value: object) -> str:
    return str(value) if isinstance(value, float) else type(value).__name__


class _Parser:
    """Parses one filter and counts its conditions and values, so that hostile input is rejected early.

    With `convert` it parses what was accepted before, and converts the values; there are no limits then.
    """

    def __init__(self, convert: Convert | None = None) -> None:
        self._convert = convert
        self._conditions = 0
        self._values = 0

    def filter(self, value: object, path: str, depth: int) -> Expression:
        if not isinstance(value, Mapping):
            _wrong(path, f"a filter is a mapping of metadata fields to what they must be, not {_kind(value)}")
        if depth > MAX_DEPTH and self._convert is None:
            raise InputError(f"the filter nests $and, $or and $not more than {MAX_DEPTH} deep")
        parts: list[Expression] = []
        for name in sorted(value, key=str):
            inner, where = value[name], _step(path, name)
            match name:
                case "$not":
                    parts.append(Not(self.filter(inner, where, depth + 1)))
                case "$and" | "$or":
                    if not isinstance(inner, (list, tuple)) or not inner:
                        _wrong(
                            where,
                            f"takes a list of one filter or more, not {'[]' if inner == [] else _kind(inner)}",
                        )
                    filters = tuple(self.filter(each, f"{where}[{n}]", depth + 1) for n, each in enumerate(inner))
                    parts.append(AllOf(filters) if name == "$and" else AnyOf(filters))
                case _:
                    parts.extend(self.field(name, inner, where))
        if not parts:
            self.count()
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def field(self, name: object, value: object, path: str) -> Iterable[Expression]:
        if not isinstance(name, str):
            _wrong(path, f"a field's name is a str, not {_kind(name)}")
        if name in _OPERATORS:
            _wrong(path, f'stands inside a field: {{"<field>": {{"{name}": …}}}}')
        if name.startswith("$"):
            _wrong(path, f'a field\'s name does not begin with "$"{suggestion(name, _COMBINERS)}')
        if not is_sound(name):
            _wrong(path, "a field's name holds a lone surrogate, which is not text")
        name, value = str.__str__(name), native(value)
        if not isinstance(value, Mapping):
            yield self.condition(name, "$in" if isinstance(value, (list, tuple)) else "$eq", value, path)
            return
        if not value:
            _wrong(path, f"names no operator (operators: {', '.join(_OPERATORS)})")
        for word in sorted(value, key=str):
            yield self.condition(name, word, value[word], _step(path, word))

    def condition(self, name: str, word: object, value: object, path: str) -> Expression:
        self.count()
        value = native(value)
        if self._convert is not None and isinstance(word, str):
            value = self.converted(name, word, value, path)
        match word:
            case "$eq":
                return OneOf(name, frozenset([self.key(value, path)]))
            case "$in":
                return OneOf(name, self.keys(value, path))
            case "$ne":
                return Not(OneOf(name, frozenset([self.key(value, path)])))
            case "$nin":
                return Not(OneOf(name, self.keys(value, path)))
            case "$gt" | "$gte" | "$lt" | "$lte":
                if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                    _wrong(path, f"takes a number or a str, not {_kind(value)}")
                return Compare(name, word, self.key(value, path))
            case "$prefix":
                if not isinstance(value, str):
                    _wrong(path, f"takes a str, not {_kind(value)}")
                self.key(value, path)
                return Prefix(name, value)
            case "$exists":
                if not isinstance(value, bool):
                    _wrong(path, f"takes true or false, not {_kind(value)}")
                return Exists(name) if value else Not(Exists(name))
        if word in _COMBINERS:
            _wrong(path, f'stands outside a field: {{"{word}": …}} with the field inside')
        _wrong(
            path,
            f"there is no such operator{suggestion(word, _OPERATORS)} (operators: {', '.join(_OPERATORS)})",
        )

    def converted(self, name: str, word: str, value: Any, path: str) -> Any:
        """Convert a value, or each of a list of values; this filter was parsed before, so they are valid."""
        if self._convert is None or word not in ("$in", "$nin"):
            return value if self._convert is None else self._convert(name, word, value, path)
        return [self._convert(name, word, native(each), f"{path}[{n}]") for n, each in enumerate(value)]

    def keys(self, values: object, path: str) -> frozenset[Key]:
        if not isinstance(values, (list, tuple)):
            _wrong(path, f"takes a list of values, not {_kind(values)}")
        self._values += len(values)
        if self._values > MAX_VALUES and self._convert is None:
            raise InputError(f"the filter lists more than {MAX_VALUES:,} values")
        return frozenset(self.key(value, path, f"[{n}]") for n, value in enumerate(values))

    def key(self, value: object, path: str, place: str = "") -> Key:
        value = native(value)
        key = key_of(value)
        if key is None or (isinstance(value, float) and not isfinite(value)):
            _wrong(path + place, f"a value is a str, an int, a finite float, a bool or None, not {_kind(value)}")
        if isinstance(value, str) and not is_sound(value):
            _wrong(path + place, "holds a lone surrogate, which is not text")
        return key

    def count(self) -> None:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS and self._convert is None:
            raise InputError(
                f"the filter has more than {MAX_CONDITIONS} conditions; for one field use a list: $in"
            )
