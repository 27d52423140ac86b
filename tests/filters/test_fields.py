"""Types of metadata fields: what values become, what is refused, how filters compare."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridrank.errors import InputError
from hybridrank.filters import FieldTypes, Filter

OFFSET = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("kind", "given_value", "normal"),
    [
        ("int", 3, 3),
        ("int", 2**70, 2**70),
        ("int", 3.0, 3),
        ("float", 3, 3),
        ("float", 0.5, 0.5),
        ("str", "", ""),
        ("bool", False, False),
        ("date", "2024-05-01", "2024-05-01"),
        ("date", "20240501", "2024-05-01"),
        ("datetime", "2024-05-01", "2024-05-01T00:00:00+00:00"),
        ("datetime", "2024-05-01T12:00:00", "2024-05-01T12:00:00+00:00"),
        ("datetime", "2024-05-01T12:00:00Z", "2024-05-01T12:00:00+00:00"),
        ("datetime", "2024-05-01T01:00:00+02:00", "2024-04-30T23:00:00+00:00"),
        ("datetime", "2024-05-01T12:00:00.25+00:00", "2024-05-01T12:00:00.250000+00:00"),
        ("list[int]", [1, 2.0, None], [1, 2, None]),
        ("list[datetime]", ["2024-05-01"], ["2024-05-01T00:00:00+00:00"]),
        ("list[str]", [], []),
        ("int", None, None),
    ],
)
def test_values_have_one_form(kind, given_value, normal):
    fields = FieldTypes.of({"f": kind})
    found = fields.normalize({"f": given_value, "other": "x"}, what="m")
    assert found == {"f": normal, "other": "x"}
    assert type(found["f"]) is type(normal)
    assert fields.normalize(found, what="m") == found
    assert fields.normalize({}, what="m") == {}


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("int", "3", r"""m\["f"\] is '3', and the field is declared as int: give an integer"""),
        ("int", True, "give an integer"),
        ("int", 1.5, "give an integer"),
        ("float", "1.5", "give a number"),
        ("str", 3, "give a string"),
        ("bool", 1, "give true or false"),
        ("date", "2024-05-01T12:00:00", "give a day in ISO 8601"),
        ("date", 2024, "give a day in ISO 8601"),
        ("datetime", "spring", "give a moment in ISO 8601"),
        ("datetime", 1714521600, "give a moment in ISO 8601"),
        ("datetime", "0001-01-01T00:00:00+02:00", "give a moment in ISO 8601"),
        ("int", [1], "give an integer"),
        ("list[int]", 1, r"declared as list\[int\]: give a list"),
        ("list[int]", [1, "a"], r"""m\["f"\]\[1\] is 'a'"""),
        ("list[int]", [[1]], r"""m\["f"\]\[0\] is \[1\]"""),
    ],
)
def test_other_values_are_refused_with_their_place(kind, value, message):
    with pytest.raises(InputError, match=message):
        FieldTypes.of({"f": kind}).normalize({"f": value}, what="m")


@given(st.datetimes(timezones=st.timezones()), st.datetimes(timezones=st.timezones()))
def test_moments_are_ordered_as_in_time(one, other):
    fields = FieldTypes.of({"f": "datetime"})
    try:
        normal = [fields.normalize({"f": each.isoformat()}, what="m")["f"] for each in (one, other)]
    except InputError:
        return  # outside the years 1 to 9999 in UTC
    utc = [datetime.fromisoformat(each.isoformat()).astimezone(UTC) for each in (one, other)]
    assert (normal[0] < normal[1]) == (utc[0] < utc[1])
    assert (normal[0] == normal[1]) == (utc[0] == utc[1])


@pytest.mark.parametrize(
    ("written", "bound"),
    [
        ({"day": date(2024, 5, 1)}, {"day": {"$eq": "2024-05-01"}}),
        ({"at": {"$gte": "2024-05-01"}}, {"at": {"$gte": "2024-05-01T00:00:00+00:00"}}),
        ({"at": {"$lt": datetime(2024, 5, 1, 1, tzinfo=OFFSET)}}, {"at": {"$lt": "2024-04-30T23:00:00+00:00"}}),
        ({"at": ["2024-05-01", None]}, {"at": {"$in": [None, "2024-05-01T00:00:00+00:00"]}}),
        ({"$not": {"$or": [{"at": "2024-05-01"}, {"x": 1}]}},
         {"$not": {"$or": [{"at": {"$eq": "2024-05-01T00:00:00+00:00"}}, {"x": {"$eq": 1}}]}}),
        ({"year": {"$gt": 2019.5}}, {"year": {"$gt": 2019.5}}),
        ({"at": {"$exists": True}}, {"at": {"$exists": True}}),
        ({"tags": {"$prefix": "a"}}, {"tags": {"$prefix": "a"}}),
        ({"undeclared": "2024-05-01"}, {"undeclared": "2024-05-01"}),
    ],
)  # fmt: skip
def test_a_filters_values_have_the_same_form(written, bound):
    fields = FieldTypes.of({"at": datetime, "day": date, "year": int, "tags": list[str], "seen": bool})
    found = fields.bind(Filter.of(written))
    assert found == Filter.of(bound)
    assert fields.bind(found) == found


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"year": "2024"}, r"^\$\.year: the field is declared as int, and '2024' is not a number"),
        ({"$or": [{"year": {"$in": [1, "2"]}}]}, r"^\$\.\$or\[0\]\.year\.\$in\[1\]: "),
        ({"year": True}, "True is not a number"),
        ({"at": {"$gte": "soon"}}, r"^\$\.at\.\$gte: .* is not a moment in ISO 8601"),
        ({"at": {"$gte": 2024}}, "is not a moment in ISO 8601"),
        (
            {"at": {"$prefix": "2024"}},
            r"^\$\.at\.\$prefix: .*declared as datetime, which \$prefix does not apply to",
        ),
        ({"day": "2024-05-01T00:00:00"}, "is not a day in ISO 8601"),
        ({"seen": {"$gt": 0}}, r"declared as bool, which \$gt does not apply to"),
        ({"tags": 1}, r"declared as list\[str\], and 1 is not a string"),
    ],
)
def test_a_filter_of_another_type_is_refused_with_its_path(written, message):
    fields = FieldTypes.of({"at": "datetime", "day": "date", "year": "int", "tags": "list[str]", "seen": "bool"})
    with pytest.raises(InputError, match=message):
        fields.bind(Filter.of(written))


def test_types_are_given_in_python_or_by_name():
    python = {"a": str, "b": int, "c": float, "d": bool, "e": datetime, "f": date, "g": list[int]}
    named = {"a": "str", "b": "int", "c": "float", "d": "bool", "e": "datetime", "f": "date", "g": "list[int]"}
    assert FieldTypes.of(python) == FieldTypes.of(named)
    assert FieldTypes.of(python).to_dict() == named
    assert not FieldTypes.of(None)


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"f": "integer"}, 'the field "f" cannot be declared as \'integer\'; did you mean "int"?'),
        ({"f": dict}, "cannot be declared as <class 'dict'>"),
        ({"f": list}, "cannot be declared as <class 'list'>"),
        ({"$f": "int"}, "does not begin with"),
        ({1: "int"}, "a field's name must be a str"),
        (["f"], "must map field names to types"),
    ],
)
def test_types_that_do_not_exist_are_refused(types, message):
    with pytest.raises(InputError) as caught:
        FieldTypes.of(types)
    assert message in str(caught.value)


def test_a_type_cannot_be_changed():
    fields = FieldTypes.of({"f": "int"})
    assert fields.with_types(FieldTypes.of({"f": int, "g": str})).to_dict() == {"f": "int", "g": "str"}
    with pytest.raises(InputError, match='the field "f" is declared as int already, and cannot become str'):
        fields.with_types(FieldTypes.of({"f": "str"}))
