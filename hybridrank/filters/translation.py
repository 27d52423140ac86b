"""Translating filters for engines: a visitor over the parsed filter, and the part that an engine supports.

An engine's compiler is a `FilterVisitor`: one method for each kind of node. A `FilterSupport` declares what the
engine evaluates exactly as `Filter.matches` does. `split_filter` splits a filter in two: a native part, which the
engine evaluates, and the rest, which is checked for each document that the engine returns
(`hybridrank.remote.over_fetch` does that). Their conjunction is exactly the filter.

>>> from hybridrank.filters.language import Filter
>>> support = FilterSupport({"$eq": {"str", "number"}, "$gte": {"number"}}, combiners={"$and"})
>>> parts = split_filter(Filter.of({"lang": "en", "year": {"$gte": 2020}, "tag": {"$prefix": "dr"}}), support)
>>> parts.native.to_dict(), parts.rest.to_dict()
({'lang': {'$eq': 'en'}, 'year': {'$gte': 2020}}, {'tag': {'$prefix': 'dr'}})
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from hybridrank.errors import InputError
from hybridrank.filters.expressions import (
    BOOLEAN,
    NULL,
    NUMBER,
    TEXT,
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Exists,
    Expression,
    Not,
    OneOf,
    Prefix,
)
from hybridrank.filters.language import MAX_DEPTH, Filter

__all__ = ["FilterSupport", "FilterVisitor", "SplitFilter", "ValueType", "split_filter", "translate", "visit"]

T = TypeVar("T")

ValueType: TypeAlias = Literal["null", "bool", "number", "str"]
"""The types of a filter's values. Integers and floats are one type."""

_TYPES: Mapping[int, ValueType] = {NULL: "null", BOOLEAN: "bool", NUMBER: "number", TEXT: "str"}
_OPERATORS = frozenset({"$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$prefix", "$exists"})
_COMBINERS = frozenset({"$and", "$or", "$not"})
_TRUE = AllOf(())


class FilterVisitor(Protocol[T]):
    """Builds an engine's form of a filter, from the leaves up."""

    def one_of(self, condition: OneOf) -> T:
        """Equality with one key, several, or none (which is false of every document)."""
        ...

    def compare(self, condition: Compare) -> T:
        """An order among numbers, or among strings."""
        ...

    def prefix(self, condition: Prefix) -> T:
        """The beginning of a string."""
        ...

    def exists(self, condition: Exists) -> T:
        """The presence of a field."""
        ...

    def all_of(self, parts: Sequence[T]) -> T:
        """A conjunction; without parts, it is true of every document."""
        ...

    def any_of(self, parts: Sequence[T]) -> T:
        """A disjunction of one part or more."""
        ...

    def negation(self, part: T) -> T:
        """The complement: true of exactly the documents of which `part` is false."""
        ...


def visit(expression: Expression, visitor: FilterVisitor[T]) -> T:
    """Build the engine's form of a tree."""
    match expression:
        case OneOf():
            return visitor.one_of(expression)
        case Compare():
            return visitor.compare(expression)
        case Prefix():
            return visitor.prefix(expression)
        case Exists():
            return visitor.exists(expression)
        case AllOf(parts):
            return visitor.all_of([visit(part, visitor) for part in parts])
        case AnyOf(parts):
            return visitor.any_of([visit(part, visitor) for part in parts])
        case Not(part):
            return visitor.negation(visit(part, visitor))


@dataclass(frozen=True, slots=True)
class FilterSupport:
    """What an engine evaluates exactly as `Filter.matches` does, for every document that it can hold.

    `operators` maps the operators that the engine has (``$eq``, ``$in``, ``$gt``, ``$gte``, ``$lt``, ``$lte``,
    ``$prefix``, ``$exists``) to the types of values that it is exact for; ``$exists`` has none. ``$ne`` and
    ``$nin`` are ``$not`` over ``$eq`` and ``$in``. `combiners` are those of ``$and``, ``$or`` and ``$not`` that it
    has, nested at most `depth` deep. `fields` are the fields that it can filter by, None for all. `accepts` may
    reject single conditions for any other reason: a value too long, a field declared with another type.

    Raises:
        InputError: an operator, a type or a combiner is unknown, or `depth` is not from 0 to 16.
    """

    operators: Mapping[str, Collection[ValueType]]
    combiners: Collection[str] = _COMBINERS
    depth: int = MAX_DEPTH
    fields: Collection[str] | None = None
    accepts: Callable[[Condition], bool] | None = None

    def __post_init__(self) -> None:
        for what, given, allowed in (
            ("operator", set(self.operators), _OPERATORS),
            ("combiner", set(self.combiners), _COMBINERS),
            ("type", {each for types in self.operators.values() for each in types}, frozenset(_TYPES.values())),
        ):
            if unknown := given - allowed:
                known = ", ".join(sorted(allowed))
                raise InputError(f"a FilterSupport names the unknown {what} {min(unknown)!r} ({what}s: {known})")
        if not 0 <= self.depth <= MAX_DEPTH:
            raise InputError(f"the depth of a FilterSupport is from 0 to {MAX_DEPTH}, not {self.depth}")

    def combines(self, combiner: str, depth: int) -> bool:
        """Whether the engine has a combiner, with `depth` levels of them left."""
        return depth > 0 and combiner in self.combiners

    def covers(self, expression: Expression, depth: int) -> bool:
        """Whether the engine evaluates all of a tree, with `depth` levels of combiners left."""
        match expression:
            case AllOf(parts):
                return self.combines("$and", depth) and all(self.covers(part, depth - 1) for part in parts)
            case AnyOf(parts):
                return self.combines("$or", depth) and all(self.covers(part, depth - 1) for part in parts)
            case Not(part):
                return self.combines("$not", depth) and self.covers(part, depth - 1)
            case _:
                return self.covers_condition(expression)

    def covers_condition(self, condition: Condition) -> bool:
        """Whether the engine evaluates a leaf."""
        match condition:
            case OneOf(_, keys):
                operator, kinds = "$eq" if len(keys) == 1 else "$in", {kind for kind, _ in keys}
            case Compare(_, operator, (kind, _)):
                kinds = {kind}
            case Prefix():
                operator, kinds = "$prefix", {TEXT}
            case Exists():
                operator, kinds = "$exists", set()
        types = self.operators.get(operator)
        return (
            types is not None
            and all(_TYPES[kind] in types for kind in kinds)
            and (self.fields is None or condition.field in self.fields)
            and (self.accepts is None or self.accepts(condition))
        )


class SplitFilter(NamedTuple):
    """A filter in two parts: documents match it where both are true of them. None is true of every document."""

    native: Filter | None
    rest: Filter | None


def split_filter(filter: Filter | None, support: FilterSupport) -> SplitFilter:  # noqa: A002
    """Split a filter into what the engine supports and the rest.

    The native part narrows as far as it soundly can. Of a disjunction with an unsupported operand, the native part
    is the disjunction of the operands' native parts, where each has one, and the rest is the whole disjunction. A
    negation with an unsupported operand is moved toward the leaves by De Morgan's laws, and split there.
    """
    if filter is None:
        return SplitFilter(None, None)
    native, rest = _split(filter.expression, support, support.depth)
    return SplitFilter(
        None if native == _TRUE else Filter.of_expression(native),
        None if rest == _TRUE else Filter.of_expression(rest),
    )


def _split(expression: Expression, support: FilterSupport, left: int) -> tuple[Expression, Expression]:
    """Split with `left` levels of combiners; the native part is covered, and implied by the expression."""
    if expression == _TRUE or support.covers(expression, left):
        return expression, _TRUE
    match expression:
        case AllOf(parts):
            return _split_conjunction(parts, support, left)
        case AnyOf(parts) if support.combines("$or", left):
            natives = [_split(part, support, left - 1)[0] for part in parts]
            return _TRUE if _TRUE in natives else AnyOf(tuple(natives)), expression
        case Not(AllOf(parts)) if parts:
            return _split(AnyOf(tuple(map(_negated, parts))), support, left)
        case Not(Not(part)):
            return _split(part, support, left)
        case Not(AnyOf(parts)):
            return _split(AllOf(tuple(map(_negated, parts))), support, left)
        case _:
            return _TRUE, expression


def _negated(part: Expression) -> Expression:
    return part.part if isinstance(part, Not) else Not(part)


def _split_conjunction(
    parts: Sequence[Expression], support: FilterSupport, left: int
) -> tuple[Expression, Expression]:
    combines = support.combines("$and", left)
    natives: list[Expression] = []
    rests: list[Expression] = []
    for part in parts:
        if natives and not combines:  # the engine takes one condition alone
            rests.append(part)
            continue
        native, rest = _split(part, support, left - 1 if combines else left)
        if native != _TRUE:
            natives.append(native)
        if rest != _TRUE:
            rests.append(rest)
    return _conjunction(natives), _conjunction(rests)


def _conjunction(parts: Sequence[Expression]) -> Expression:
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def translate(filter: Filter, visitor: FilterVisitor[T], support: FilterSupport) -> T:  # noqa: A002
    """Build the engine's form of a filter, all of which it must support.

    Raises:
        InputError: the engine does not support all of it.
    """
    if (rest := split_filter(filter, support).rest) is not None:
        raise InputError(f"the engine cannot evaluate this part of the filter: {rest.to_dict()!r:.500}")
    return visit(filter.expression, visitor)
