from __future__ import annotations

import json
import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from hybridrank.errors import InputError
from hybridrank.filters.language import Filter
from hybridrank.values.json_values import MAX_DEPTH, copied, json_notes, json_object


class Lang(StrEnum):
    EN = "en"


class Level(IntEnum):
    HIGH = 3


class Color(Enum):
    RED = 1


class Model(BaseModel):
    a: int = 1


@dataclass
class Record:
    a: int = 1


class Silent:
    def __repr__(self):
        raise RuntimeError("no repr")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


class Missing(datetime):
    """What pandas' NaT is: a datetime that equals nothing."""

    def __eq__(self, other):
        return False

    def __ne__(self, other):
        return True

    __hash__ = datetime.__hash__


Missing.__qualname__ = "NaTType"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

CONVERTED = [
    (np.int64(7), 7),
    (np.uint64(2**63), 2**63),
    (np.float32(0.5), 0.5),
    (np.float64(0.25), 0.25),
    (np.longdouble(1.5), 1.5),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (np.array([1, 2]), [1, 2]),
    (np.array([[0.5], [1.5]]), [[0.5], [1.5]]),
    (np.array(3), 3),
    (np.array(["a", None], dtype=object), ["a", None]),
    (np.array(["2024-05-01"], "datetime64[ns]"), ["2024-05-01T00:00:00"]),
    (np.datetime64("2024-05-01"), "2024-05-01"),
    (np.datetime64("2024-05-01T10:30", "ns"), "2024-05-01T10:30:00"),
    (np.datetime64("2024-05-01T10:30:00.000000120"), "2024-05-01T10:30:00.00000012"),
    (date(2024, 5, 1), "2024-05-01"),
    (datetime(2024, 5, 1, 10, 30), "2024-05-01T10:30:00"),
    (datetime(2024, 5, 1, tzinfo=timezone(timedelta(hours=2))), "2024-05-01T00:00:00+02:00"),
    (time(10, 30), "10:30:00"),
    (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (PurePosixPath("notes/a.md"), "notes/a.md"),
    (Lang.EN, "en"),
    (Level.HIGH, 3),
    ((1, ("a",)), [1, ["a"]]),
    (MappingProxyType({"a": OrderedDict(b=(1,))}), {"a": {"b": [1]}}),
    (True, True),
    (2**80, 2**80),
    ("nul \0 and \u2028", "nul \0 and \u2028"),
]

REFUSED = [
    (float("nan"), "is nan"),
    (np.float64("inf"), "is inf"),
    (np.float32("nan"), "is nan"),
    (np.array([1.0, np.nan]), r"\[1\] is nan"),
    ({1, 2}, r"is a set, .*give sorted\(value\)"),
    (b"x", r"is a bytes, .*value.decode\(\)"),
    (np.bytes_(b"x"), r"is a numpy.bytes_, .*value.decode\(\)"),
    (Decimal("1.5"), r"is a decimal.Decimal, .*float\(value\)"),
    (Color.RED, "value.value or value.name"),
    (timedelta(1), r"value.total_seconds\(\)"),
    (np.timedelta64(1, "s"), r"numpy.timedelta64, .*str\(value\)"),
    (np.datetime64("NaT"), "is a missing value"),
    (Missing(2024, 5, 1), "is a missing value"),
    (np.datetime64("30000-01-01"), r"numpy.datetime64, .*str\(value\)"),
    (Model(), r"value.model_dump\(\)"),
    (Record(), r"dataclasses.asdict\(value\)"),
    (deque(), "is a collections.deque"),
    (iter([]), "is a list_iterator"),
    (1j, "is a complex"),
    (Silent(), "Silent, which has no JSON form"),
    ("\ud800", "holds a lone surrogate"),
    (PurePosixPath("\udcff"), "holds a lone surrogate"),
    ({1: "a"}, "has the key 1: the names of fields must be str, not int"),
    ({"\ud800": "a"}, "holds a lone surrogate"),
    (10**5000, "is too large an integer"),
]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_json_stays_as_it_is_and_is_copied(value):
    plain = json_object(value, what="metadata")
    assert plain == copied(value) == json_notes(value) == value
    assert json.loads(json.dumps(plain)) == value
    text = repr(plain)
    for name, inner in value.items():
        if isinstance(inner, (list, dict)):
            assert plain[name] is not inner
            inner.clear()
    assert repr(plain) == text


@pytest.mark.parametrize(("value", "expected"), CONVERTED, ids=lambda value: repr(value)[:40])
def test_what_means_one_json_value_becomes_it(value, expected):
    plain = json_object({"a": [value]}, what="metadata")["a"][0]
    assert (plain, type(plain)) == (expected, type(expected))
    assert json_notes({"a": value}) == {"a": expected}


@pytest.mark.parametrize(("value", "said"), REFUSED, ids=lambda value: type(value).__name__)
def test_what_has_no_json_form_is_refused_with_its_path_and_described_in_notes(value, said):
    with pytest.raises(InputError, match=rf'^the metadata\["a\\"b"\]\[1\].*{said}'):
        json_object({'a"b': [0, value]}, what="the metadata")
    described = json_notes({"a": value})
    assert json.loads(json.dumps(described, allow_nan=False).encode()) == described


def test_too_deep_and_too_much_are_refused_at_once():
    deep: list = []
    for _ in range(MAX_DEPTH):
        deep = [deep]
    circle: dict = {}
    circle["again"] = [circle, circle]
    doubling: list = [1]
    for _ in range(60):
        doubling = [doubling, doubling]
    for value, said in [
        (deep, "200 deep"),
        (circle, "200 deep, or contains itself"),
        (doubling, "1,000,000 values"),
    ]:
        with pytest.raises(InputError, match=rf"^metadata (is|holds) .*{said}"):
            json_object({"a": value}, what="metadata")
        assert len(json.dumps(json_notes({"a": value, "b": 1}))) < 1_000_000


def test_notes_that_cannot_even_be_read():
    class Broken(dict):
        def items(self):
            raise RuntimeError("no items")

    assert list(json_notes(Broken(a=1))) == ["note"]
    assert json_notes({1: "a", None: 2, (1,): 3}) == {"1": "a", "None": 2, "<tuple>": 3}
    assert json_notes(None) == {}


def test_filters_take_what_metadata_takes():
    written = {
        "day": {"$gte": date(2024, 1, 1)},
        "year": np.array([2023, 2024]),
        "score": {"$lt": np.float32(0.5)},
    }
    chosen = Filter.of(written)
    assert chosen.matches({"day": "2024-05-01", "year": 2024, "score": 0.25})
    assert not chosen.matches({"day": "2023-05-01", "year": 2024, "score": 0.25})
    assert json.loads(json.dumps(chosen.to_dict())) == chosen.to_dict()
    assert Filter.of(chosen.to_dict()) == chosen
    for wrong in ({"a": {1}}, {"a": math.nan}, {"a": np.float32("nan")}, {"a": Decimal(1)}):
        with pytest.raises(InputError, match=r"\$\.a: a value is a str"):
            Filter.of(wrong)
