"""What is wrong with a value that pydantic refused, in our own words: place, what is allowed, what was given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from hybridrank.errors import HybridrankError
from hybridrank.values.printable import shown

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = ["Problem", "describe", "first_problem", "unusable"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One refused value: its `path` below what was validated (``.stages[0].name``), and what it must be.

    `kind` is pydantic's name for the complaint, `cause` the exception of a validator of ours, if one raised it.
    """

    kind: str
    path: str
    name: str | int
    allowed: str
    value: Any
    cause: BaseException | None = None

    @property
    def text(self) -> str:
        """What must hold, and what was given."""
        complete = self.kind in _WITHOUT_VALUE or isinstance(self.cause, HybridrankError)
        complete |= self.cause is not None and not self.path  # about several options together
        return self.allowed if complete else f"{self.allowed}, not {shown(self.value)}"


def unusable(value: Any, path: str = "") -> tuple[str, str] | None:
    """The place and the problem of what pydantic leaves to Python: huge numbers, names that are no strings."""
    if isinstance(value, int):
        try:
            float(value)
        except OverflowError:
            return path, f"must be a number that a float can hold, not {shown(value)}"
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                return path, f"must have strings as names, not {shown(name)}"
        nested = [unusable(each, f"{path}.{name}") for name, each in value.items()]
    elif isinstance(value, (list, tuple)):
        nested = [unusable(each, f"{path}[{number}]") for number, each in enumerate(value)]
    else:
        return None
    return next(filter(None, nested), None)


_WITHOUT_VALUE = ("missing", "extra_forbidden", "json_invalid", "recursion_loop", "too_short", "too_long")

_KINDS: Mapping[str, Sequence[str]] = {
    "a whole number": ("int_type", "int_parsing", "int_from_float"),
    "a smaller whole number": ("int_parsing_size",),
    "a number": (
        "float_type", "float_parsing", "decimal_type", "decimal_parsing", "fraction_type", "fraction_parsing",
    ),
    "a complex number": ("complex_type", "complex_str_parsing"),
    "a finite number": ("finite_number",),
    "true or false": ("bool_type", "bool_parsing"),
    "a string": ("string_type", "string_sub_type", "string_unicode", "invalid_key"),
    "a string of ASCII characters": ("string_not_ascii",),
    "bytes": ("bytes_type", "bytes_invalid_encoding"),
    "a list": (
        "tuple_type", "list_type", "set_type", "frozen_set_type", "deque_type", "iterable_type", "iteration_error",
    ),
    "a list of values that have a hash": ("set_item_not_hashable",),
    "a table": (
        "dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type",
        "dataclass_exact_type", "named_tuple_type", "frozen_dict_type", "ordered_dict_type", "counter_type",
        "arguments_type",
    ),
    "a path": ("path_type",),
    "absent": (
        "none_required", "missing_sentinel_error", "unexpected_keyword_argument", "unexpected_positional_argument",
        "multiple_argument_values",
    ),
    "an ellipsis": ("ellipsis_error",),
    "JSON text": ("json_type",),
    "a date": (
        "date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact",
    ),
    "a date and a time": (
        "datetime_type", "datetime_parsing", "datetime_object_invalid", "datetime_from_date_parsing",
    ),
    "in the past": ("date_past", "datetime_past"),
    "in the future": ("date_future", "datetime_future"),
    "a time": ("time_type", "time_parsing"),
    "without a time zone": ("timezone_naive",),
    "with a time zone": ("timezone_aware", "timezone_offset"),
    "a duration": ("time_delta_type", "time_delta_parsing"),
    "something to call": ("callable_type",),
    "a URL": ("url_type", "url_parsing", "url_syntax_violation"),
    "a UUID": ("uuid_type", "uuid_parsing", "uuid_version"),
    "unchanged: it is fixed": ("frozen_field", "frozen_instance"),
    "nested less deeply": ("recursion_loop", "recursion_depth_exceeded"),
    "an object with the attributes that are needed": ("no_such_attribute", "get_attribute_error"),
    "an object": ("needs_python_object",),
    "given, with every argument that it needs": (
        "missing_argument", "missing_keyword_only_argument", "missing_positional_only_argument",
        "default_factory_not_called",
    ),
}  # fmt: skip
"""What a value must be, by pydantic's names for complaints."""

_MUST_BE = {kind: text for text, kinds in _KINDS.items() for kind in kinds}


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _items(context: Mapping[str, Any], bound: str, limit: str, noun: str) -> str:
    number = context[limit]
    given = f", not {context['actual_length']}" if "actual_length" in context else ""
    return f"must have at {bound} {number} {noun}{'' if number == 1 else 's'}{given}"


_WITH_CONTEXT: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda c: f"must be greater than {_number(c['gt'])}",
    "greater_than_equal": lambda c: f"must be greater than or equal to {_number(c['ge'])}",
    "less_than": lambda c: f"must be less than {_number(c['lt'])}",
    "less_than_equal": lambda c: f"must be less than or equal to {_number(c['le'])}",
    "multiple_of": lambda c: f"must be a multiple of {c['multiple_of']}",
    "too_short": lambda c: _items(c, "least", "min_length", "item"),
    "too_long": lambda c: _items(c, "most", "max_length", "item"),
    "string_too_short": lambda c: _items(c, "least", "min_length", "character"),
    "string_too_long": lambda c: _items(c, "most", "max_length", "character"),
    "bytes_too_short": lambda c: _items(c, "least", "min_length", "byte"),
    "bytes_too_long": lambda c: _items(c, "most", "max_length", "byte"),
    "url_too_long": lambda c: _items(c, "most", "max_length", "character"),
    "decimal_max_digits": lambda c: _items(c, "most", "max_digits", "digit"),
    "decimal_max_places": lambda c: _items(c, "most", "decimal_places", "decimal place"),
    "decimal_whole_digits": lambda c: _items(c, "most", "whole_digits", "digit") + " before the decimal point",
    "string_pattern_mismatch": lambda c: f"must match the pattern {c['pattern']}",
    "literal_error": lambda c: f"must be {c['expected']}",
    "enum": lambda c: f"must be {c['expected']}",
    "union_tag_invalid": lambda c: f"must be a table whose {c['discriminator']} is {c['expected_tags']}",
    "union_tag_not_found": lambda c: f"must be a table with {c['discriminator']}, which says what it is",
    "url_scheme": lambda c: f"must be a URL that begins with {c['expected_schemes']}",
    "is_instance_of": lambda c: f"must be an object of the class {c['class']}",
    "is_subclass_of": lambda c: f"must be a class derived from {c['class']}",
    "missing": lambda _: "must be given",
    "extra_forbidden": lambda _: "must be left out: it is not known",
    "json_invalid": lambda c: f"is not JSON: {c['error']}",
    "value_error": lambda c: str(c["error"]),
    "assertion_error": lambda c: str(c["error"]) or "must be another value",
}


def describe(kind: str, context: Mapping[str, Any]) -> str:
    """What must hold of a value, by pydantic's name for the complaint and its context."""
    if kind in _WITH_CONTEXT:
        return _WITH_CONTEXT[kind](context)
    return f"must be {_MUST_BE.get(kind, 'another value')}"


def first_problem(error: ValidationError, given: Any) -> Problem:
    """The first of the values that pydantic refused, with everything that is allowed in its place.

    Members of a union complain each for themselves: the complaints about the innermost value are one problem.
    `given` is what was validated, for telling names of members from places.
    """
    everything = error.errors(include_url=False)
    first = everything[0]
    same = [each for each in everything if each["loc"][:1] == first["loc"][:1]]
    places = [_place(each["loc"], given, last=each["type"] in ("missing", "extra_forbidden")) for each in same]
    deepest = max(places, key=len)
    path = "".join(deepest)
    here = [each for each, place in zip(same, places, strict=True) if place == deepest]
    chosen = here[0]
    context = chosen.get("ctx", {})
    texts = list(dict.fromkeys(describe(each["type"], each.get("ctx", {})) for each in here))
    head = list(takewhile(lambda text: text.startswith("must be "), texts))
    allowed = " or ".join([head[0], *(text.removeprefix("must be ") for text in head[1:])]) if head else texts[0]
    near = _near(chosen["input"], [text for text in texts if "'" in text])
    if allowed == "must be a list" and isinstance(chosen["input"], (str, Mapping)):
        allowed += f", as in [{shown(chosen['input'])}]"
    name = chosen["loc"][-1] if chosen["loc"] else ""
    return Problem(chosen["type"], path, name, allowed + near, chosen["input"], context.get("error"))


def _near(value: Any, texts: Sequence[str]) -> str:
    """Which of the strings allowed was probably meant."""
    allowed = [part for text in texts for part in text.split("'")[1::2]]
    found = get_close_matches(value, allowed, n=1) if isinstance(value, str) else []
    return f' (did you mean "{found[0]}"?)' if found else ""


def _place(location: Sequence[int | str], given: Any, *, last: bool) -> tuple[str, ...]:
    """Where something is; pydantic's names for members of a union are no part of that."""
    where = []
    for number, part in enumerate(location):
        by_name = isinstance(given, Mapping) and part in given
        by_place = isinstance(given, Sequence) and isinstance(part, int) and part < len(given)
        if by_name or by_place:
            given = given[part]
        elif number and not (last and number == len(location) - 1):
            continue
        where.append(f"[{part}]" if isinstance(part, int) else f".{part}")
    return tuple(where)
