"""The tree that a filter is parsed into: what translations compile, and what `Filter.matches` evaluates.

The logic is two-valued: every node is true or false of every document, so De Morgan's laws hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf, isinf
from typing import Any, TypeAlias

__all__ = [
    "BOOLEAN",
    "NULL",
    "NUMBER",
    "TEXT",
    "AllOf",
    "AnyOf",
    "Compare",
    "Condition",
    "Exists",
    "Expression",
    "Key",
    "Not",
    "OneOf",
    "Prefix",
    "conditions_of",
    "key_of",
    "key_token",
    "keys_of",
    "to_language",
]

NULL, BOOLEAN, NUMBER, TEXT = range(4)

Key: TypeAlias = tuple[int, Any]
"""A scalar to compare by: its kind (`NULL`, `BOOLEAN`, `NUMBER` or `TEXT`), then its value (0 for null)."""


def key_of(value: object) -> Key | None:
    """Convert a scalar to the key that it compares by; None for anything else."""
    if isinstance(value, str):
        return TEXT, value
    if isinstance(value, bool):
        return BOOLEAN, value
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        try:
            return NUMBER, float(value)
        except OverflowError:
            return NUMBER, inf if value > 0 else -inf
    if isinstance(value, (int, float)):
        return NUMBER, value
    return (NULL, 0) if value is None else None


def keys_of(value: object) -> list[Key]:
    """Convert a metadata value to keys: its own, or those of an array's elements. Other values have none.

    >>> keys_of(2.5), keys_of(["a", None, {"b": 1}])
    ([(2, 2.5)], [(3, 'a'), (0, 0)])
    """
    elements: Iterable[object] = value if isinstance(value, (list, tuple)) else (value,)
    return [key for element in elements if (key := key_of(element)) is not None]


def key_token(key: Key) -> str:
    """Write a key as a string that equals another key's only where the keys are equal.

    An engine that stores the tokens of a field's keys as exact strings evaluates ``$eq`` and ``$in`` as
    `OneOf.matches` does, whatever types the engine itself has.

    >>> [key_token(key) for key in keys_of([1, 1.0, True, "1", None, 0.5])]
    ['n:1', 'n:1', 'b:1', 't:1', 'z:', 'n:0.5']
    """
    kind, value = key
    if kind == NULL:
        return "z:"
    if kind == BOOLEAN:
        return f"b:{value:d}"
    if kind == TEXT:
        return f"t:{value}"
    return f"n:{int(value) if not isinf(value) and value == int(value) else value}"


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field equals one of `keys`."""

    field: str
    keys: frozenset[Key]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether it is true of a document with this metadata."""
        return self.field in metadata and not self.keys.isdisjoint(keys_of(metadata[self.field]))


@dataclass(frozen=True, slots=True)
class Compare:
    """The field is ordered before or after `key`; `operator` is $gt, $gte, $lt or $lte."""

    field: str
    operator: str
    key: Key

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether it is true of a document with this metadata."""
        holds, (kind, bound) = _COMPARISONS[self.operator], self.key
        keys = keys_of(metadata[self.field]) if self.field in metadata else ()
        return any(each == kind and holds(value, bound) for each, value in keys)


@dataclass(frozen=True, slots=True)
class Prefix:
    """The field begins with `prefix`."""

    field: str
    prefix: str

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether it is true of a document with this metadata."""
        keys = keys_of(metadata[self.field]) if self.field in metadata else ()
        return any(kind == TEXT and value.startswith(self.prefix) for kind, value in keys)


@dataclass(frozen=True, slots=True)
class Exists:
    """The document has the field, whatever its value."""

    field: str

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether it is true of a document with this metadata."""
        return self.field in metadata


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of `parts` holds; without parts, it is true."""

    parts: tuple[Expression, ...]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether it is true of a document with this metadata."""
        return all(part.matches(metadata) for part in self.parts)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of `parts` holds."""

    parts: tuple[Expression, ...]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether it is true of a document with this metadata."""
        return any(part.matches(metadata) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Not:
    """`part` does not hold."""

    part: Expression

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Whether it is true of a document with this metadata."""
        return not self.part.matches(metadata)


Condition: TypeAlias = OneOf | Compare | Prefix | Exists
"""A leaf of the tree: a test of one field."""

Expression: TypeAlias = Condition | AllOf | AnyOf | Not
"""A parsed filter."""


def conditions_of(expression: Expression) -> Iterable[Condition]:
    """Yield the leaves of a tree, from left to right."""
    match expression:
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from conditions_of(part)
        case Not(part):
            yield from conditions_of(part)
        case _:
            yield expression


def to_language(expression: Expression) -> dict[str, Any]:
    """Write a tree in the filter language; `Filter.of` parses it into an equivalent tree.

    >>> to_language(Not(AllOf((OneOf("a", frozenset([(NUMBER, 1)])), Prefix("b", "x")))))
    {'$not': {'a': {'$eq': 1}, 'b': {'$prefix': 'x'}}}
    """
    match expression:
        case OneOf(field, keys):
            values = [_value(key) for key in sorted(keys)]
            return {field: {"$eq": values[0]} if len(values) == 1 else {"$in": values}}
        case Compare(field, word, key):
            return {field: {word: _value(key)}}
        case Prefix(field, prefix):
            return {field: {"$prefix": prefix}}
        case Exists(field):
            return {field: {"$exists": True}}
        case Not(part):
            return {"$not": to_language(part)}
        case AllOf(()):
            return {}
        case AllOf(parts):
            written = [to_language(part) for part in parts]
            merged = {name: value for each in written for name, value in each.items()}
            return merged if len(merged) == sum(map(len, written)) else {"$and": written}
        case AnyOf(parts):
            return {"$or": [to_language(part) for part in parts]}


def _value(key: Key) -> Any:
    kind, value = key
    if kind == NULL:
        return None
    if kind == NUMBER and isinf(value):  # an integer that no float can hold
        return 10**400 if value > 0 else -(10**400)
    return value
