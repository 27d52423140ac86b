"""Conversion of Python values to JSON values, for metadata, filters and the details in a trace.

Values of other types that mean exactly one JSON value are converted to it:

==================================================  ======================================================
type                                                becomes
==================================================  ======================================================
subclasses of str, int, float (StrEnum, IntEnum)    the plain str, int, float
NumPy's scalars; arrays                             a bool, int, float or str; lists of them
``datetime``, ``date``, ``time``, ``datetime64``    ISO 8601, with its offset where there is one
``UUID``, ``Path``                                  a str
tuples; mappings                                    a list; an object
==================================================  ======================================================

Everything else has no JSON form, or more than one: sets, bytes, NaN, infinities, ``Decimal``, ``timedelta``,
enums of other values, models, objects. `json_object` rejects it, and `json_notes` replaces it by a description.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite, isnan
from pathlib import PurePath
from typing import Any
from uuid import UUID

from hybridrank.errors import InputError

__all__ = ["MAX_DEPTH", "MAX_VALUES", "copied", "is_sound", "json_notes", "json_object", "native", "sound_text"]

MAX_DEPTH = 200
"""How deep arrays and objects may be nested; SQLite itself fails past 1,000."""

MAX_VALUES = 1_000_000
"""How many values one object may hold, at every depth together."""

_SCALARS = frozenset({str, int, float, bool, type(None)})


def json_object(value: Mapping[str, Any], *, what: str) -> dict[str, Any]:
    """A deep copy of a mapping in JSON values: nothing in it is shared with `value`.

    >>> json_object({"day": date(2024, 5, 1), "tags": ("a", "b")}, what="metadata")
    {'day': '2024-05-01', 'tags': ['a', 'b']}
    >>> json_object({"seen": [{"by": {"ann"}}]}, what="metadata")
    Traceback (most recent call last):
      ...
    hybridrank.errors.InputError: metadata["seen"][0]["by"] is a set, which has no JSON form: give sorted(value)

    Raises:
        InputError: a value has no JSON form, or it is nested too deep or too large. The message begins with
            `what`, followed by the path of the value, and says what to do.
    """
    try:
        return _Strict(MAX_DEPTH, MAX_VALUES).object(value, 1)
    except _Refused as refused:
        path = "" if refused.whole else "".join(reversed(refused.steps))
        raise InputError(f"{what}{path} {refused.reason}") from None
    except RecursionError:
        raise InputError(f"{what} is nested more than {MAX_DEPTH} deep") from None


def json_notes(value: object, *, depth: int = 50, values: int = 20_000) -> dict[str, Any]:
    """A deep copy of a mapping as JSON values; a value without a JSON form is replaced by a description.

    So are values nested deeper than `depth`, and those after the first `values`.

    >>> json_notes({"tokens": 12, "best": float("nan"), 3: {"raw": b"..."}})
    {'tokens': 12, 'best': 'NaN', '3': {'raw': '<bytes>'}}
    >>> json_notes("quick")
    {'note': 'quick'}
    """
    try:
        converter = _Lenient(depth, values)
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return converter.object(value, 1)
        return {"note": converter.value(value, 1)}
    except Exception:  # a mapping that raises: notes never fail a search
        return {"note": _described(value)}


def copied(value: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of an object of JSON values; other values in it are kept as they are."""
    return {name: each if type(each) in _SCALARS else _copied(each) for name, each in value.items()}


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return copied(value)
    return [_copied(each) for each in value] if kind is list else value


def sound_text(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be encoded.

    >>> sound_text("a\\ud800b")
    'a\ufffdb'
    """
    if is_sound(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def native(value: Any) -> Any:
    """A value of another type as its JSON value, one level deep; any other value unchanged.

    >>> native(date(2024, 5, 1)), native(UUID(int=7))
    ('2024-05-01', '00000000-0000-0000-0000-000000000007')
    """
    if type(value) in _SCALARS:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, (date, time)):
        return value if value != value else value.isoformat()  # pandas' NaT is a date, and equals nothing
    if isinstance(value, (UUID, PurePath)):
        return str(value)
    numpy = sys.modules.get("numpy")  # without NumPy, no value is NumPy's
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        return _of_numpy(value, numpy)
    return value


def _of_numpy(value: Any, numpy: Any) -> Any:
    if isinstance(value, numpy.ndarray):
        return value[()] if value.ndim == 0 else list(value)
    if isinstance(value, numpy.bool_):
        return bool(value)
    if isinstance(value, numpy.timedelta64):  # which NumPy counts among the integers
        return value
    if isinstance(value, numpy.integer):
        return int(value)
    if isinstance(value, numpy.floating):
        return float(value)
    if isinstance(value, numpy.datetime64) and not numpy.isnat(value):
        exact = value.astype("datetime64[us]")
        if exact == value:
            day_or_time = (value if isinstance(value.item(), date) else exact).item()
            return (
                day_or_time.isoformat() if isinstance(day_or_time, date) else value
            )  # otherwise the year is outside Python's range
        return str(value).rstrip("0")
    return value


class _Refused(Exception):
    """A value has no JSON form: `steps` is its path, the innermost first. Or the `whole` is too large."""

    def __init__(self, reason: str, *, whole: bool = False) -> None:
        self.reason = reason
        self.whole = whole
        self.steps: list[str] = []


class _Strict:
    """Converts values, and rejects those without a JSON form."""

    most_bits = 10_000  # of an integer: Python refuses to print more than 4,300 digits

    def __init__(self, depth: int, values: int) -> None:
        self._depth = depth
        self._left = values

    def value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return value if value.isascii() else self.text(value)
        if kind is bool or value is None:
            return value
        if kind is int:
            if value.bit_length() > self.most_bits:
                raise _Refused("is too large an integer")
            return value
        if kind is float:
            if not isfinite(value):
                raise _Refused(f"is {value}, which has no JSON form: leave the field out, or give None")
            return value
        if kind is list or isinstance(value, (list, tuple)):
            return self.array(value, depth)
        if kind is dict or isinstance(value, Mapping):
            return self.object(value, depth)
        plain = native(value)
        if plain is value:
            raise _Refused(_advice(value))
        return self.value(plain, depth)

    def array(self, value: Sequence[Any], depth: int) -> list[Any]:
        self.enter(value, depth)
        result = []
        for place, inner in enumerate(value):
            try:
                result.append(self.value(inner, depth + 1))
            except _Refused as refused:
                refused.steps.append(f"[{place}]")
                raise
        return result

    def object(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        self.enter(value, depth)
        result = {}
        for name, inner in value.items():
            key = name if type(name) is str and name.isascii() else self.name(name)
            try:
                result[key] = self.value(inner, depth + 1)
            except _Refused as refused:
                refused.steps.append(f"[{json.dumps(key[:80], ensure_ascii=False)}]")
                raise
        return result

    def enter(self, value: Any, depth: int) -> None:
        """Count the elements of an array or an object against the limits."""
        if depth > self._depth:
            raise _Refused(f"is nested more than {self._depth} deep, or contains itself", whole=True)
        self._left -= len(value)
        if self._left < 0:
            raise _Refused(f"holds more than {MAX_VALUES:,} values", whole=True)

    def name(self, name: Any) -> str:
        if not isinstance(name, str):
            raise _Refused(f"has the key {name!r:.80}: the names of fields must be str, not {_type(name)}")
        return self.text(str.__str__(name))

    def text(self, value: str) -> str:
        if not is_sound(value):
            raise _Refused(
                "holds a lone surrogate, which is not text: repair it with "
                'text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")'
            )
        return value


class _Lenient(_Strict):
    """Converts values, and describes those without a JSON form."""

    most_bits = 1_000  # can be added to floats, since counters are summed

    def value(self, value: Any, depth: int) -> Any:
        try:
            return super().value(value, depth)
        except _Refused:
            return _described(value)

    def name(self, name: Any) -> str:
        plain = native(name)
        return sound_text(plain) if isinstance(plain, str) else self.key(plain)

    @staticmethod
    def key(name: Any) -> str:
        return str(name) if name is None or isinstance(name, (bool, int, float)) else _described(name)

    def text(self, value: str) -> str:
        return sound_text(value)


def is_sound(text: str) -> bool:
    """Whether a text can be encoded: it contains no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _type(value: object) -> str:
    kind = type(value)
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"


def _described(value: object) -> str:
    if type(value) is float:
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return f"<{_type(value)}>"


def _advice(value: object) -> str:
    """Why a value is rejected, and what to give instead."""
    name = _type(value)
    if name.rpartition(".")[2] in ("NaTType", "NAType") or _is_nat(value):
        return f"is a missing value ({name}), which has no JSON form: leave the field out, or give None"
    if isinstance(value, (set, frozenset)):
        instead = "sorted(value)"
    elif isinstance(value, (bytes, bytearray, memoryview)):
        instead = "text: value.decode(), or base64 of it"
    elif isinstance(value, Decimal):
        instead = "float(value), or str(value) to keep every digit"
    elif isinstance(value, Enum):
        instead = "value.value or value.name"
    elif isinstance(value, timedelta):
        instead = "value.total_seconds()"
    elif hasattr(value, "model_dump"):
        instead = "value.model_dump()"
    elif is_dataclass(value):
        instead = "dataclasses.asdict(value)"
    elif name.startswith("numpy."):
        instead = "str(value)"
    elif hasattr(value, "tolist"):
        instead = "value.tolist()"
    else:
        instead = "str(value), or a dict of its fields"
    return f"is a {name}, which has no JSON form: give {instead}"


def _is_nat(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return (
        numpy is not None and isinstance(value, (numpy.datetime64, numpy.timedelta64)) and bool(numpy.isnat(value))
    )
