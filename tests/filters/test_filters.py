from __future__ import annotations

import copy
import json
import pickle
import re

import pytest

from hybridrank import Query
from hybridrank.errors import InputError
from hybridrank.filters.expressions import Exists
from hybridrank.filters.language import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, Filter

VALUES = {
    "missing": {},
    "null": {"f": None},
    "true": {"f": True},
    "false": {"f": False},
    "0": {"f": 0},
    "1": {"f": 1},
    "1.0": {"f": 1.0},
    "1.5": {"f": 1.5},
    "2**53": {"f": 2**53},
    "2**53+1": {"f": 2**53 + 1},
    "2**70": {"f": 2**70},
    "10**400": {"f": 10**400},
    "empty": {"f": ""},
    "'1'": {"f": "1"},
    "'a'": {"f": "a"},
    "'ab'": {"f": "ab"},
    "'é'": {"f": "é"},
    "U+FFFD": {"f": "\ufffd"},
    "U+1F600": {"f": "\U0001f600"},
    "[]": {"f": []},
    "[1,'a',null]": {"f": [1, "a", None]},
    "('ab',)": {"f": ("ab",)},
    "[[1]]": {"f": [[1]]},
    "{}": {"f": {}},
    "{'f':1}": {"f": {"f": 1}},
}
ALL = set(VALUES)
TRUTHS = [
    ({}, ALL),
    ({"f": None}, {"null", "[1,'a',null]"}),
    ({"f": True}, {"true"}),
    ({"f": False}, {"false"}),
    ({"f": 0}, {"0"}),
    ({"f": -0.0}, {"0"}),
    ({"f": 1}, {"1", "1.0", "[1,'a',null]"}),
    ({"f": {"$eq": 1.0}}, {"1", "1.0", "[1,'a',null]"}),
    ({"f": "1"}, {"'1'"}),
    ({"f": ""}, {"empty"}),
    ({"f": float(2**53)}, {"2**53"}),
    ({"f": 2**53 + 1}, {"2**53+1"}),
    ({"f": 2.0**70}, {"2**70"}),
    ({"f": 2**70 + 1}, {"2**70"}),
    ({"f": 10**500}, {"10**400"}),
    ({"f": "e\u0301"}, set()),
    ({"f": []}, set()),
    ({"f": {"$in": []}}, set()),
    ({"f": {"$nin": []}}, ALL),
    ({"f": ["ab", True, 2**70]}, {"'ab'", "('ab',)", "true", "2**70"}),
    ({"f": {"$in": (1, None)}}, {"1", "1.0", "null", "[1,'a',null]"}),
    ({"f": {"$ne": 1}}, ALL - {"1", "1.0", "[1,'a',null]"}),
    ({"f": {"$nin": [1, None]}}, ALL - {"1", "1.0", "null", "[1,'a',null]"}),
    ({"f": {"$gt": 1}}, {"1.5", "2**53", "2**53+1", "2**70", "10**400"}),
    ({"f": {"$gte": 1}}, {"1", "1.0", "[1,'a',null]", "1.5", "2**53", "2**53+1", "2**70", "10**400"}),
    ({"f": {"$lt": 1}}, {"0"}),
    ({"f": {"$lte": 1}}, {"0", "1", "1.0", "[1,'a',null]"}),
    ({"f": {"$gt": 2.0**53}}, {"2**53+1", "2**70", "10**400"}),
    ({"f": {"$gt": 1e308}}, {"10**400"}),
    ({"f": {"$gt": 2**70 - 1}}, {"10**400"}),
    ({"f": {"$gt": "ab"}}, {"'é'", "U+FFFD", "U+1F600"}),
    ({"f": {"$gt": "\ufffd"}}, {"U+1F600"}),
    ({"f": {"$lte": "a"}}, {"empty", "'1'", "'a'", "[1,'a',null]"}),
    ({"f": {"$prefix": "a"}}, {"'a'", "'ab'", "('ab',)", "[1,'a',null]"}),
    ({"f": {"$prefix": "ab"}}, {"'ab'", "('ab',)"}),
    (
        {"f": {"$prefix": ""}},
        {"empty", "'1'", "'a'", "'ab'", "('ab',)", "'é'", "U+FFFD", "U+1F600", "[1,'a',null]"},
    ),
    ({"f": {"$exists": True}}, ALL - {"missing"}),
    ({"f": {"$exists": False}}, {"missing"}),
    ({"f": {"$gte": 1, "$lt": 1.5}}, {"1", "1.0", "[1,'a',null]"}),
    ({"f": {"$gt": 0, "$prefix": "a"}}, {"[1,'a',null]"}),
    ({"$not": {"f": {"$exists": True}}}, {"missing"}),
    ({"$not": {}}, set()),
    ({"$and": [{"f": {"$gt": 0}}, {"f": {"$lt": 1.5}}]}, {"1", "1.0", "[1,'a',null]"}),
    ({"$or": [{"f": True}, {"f": "é"}]}, {"true", "'é'"}),
    ({"$or": [{"f": True}, {}]}, ALL),
    ({"$and": [{}], "$or": [{"f": 1}, {"f": 0}], "$not": {"f": {"$in": [1]}}}, {"0"}),
    ({"$not": {"$or": [{"f": {"$gt": ""}}, {"f": {"$gte": 0}}]}}, {
        "missing", "null", "true", "false", "empty", "[]", "[[1]]", "{}", "{'f':1}",
    }),
    ({"f.f": 1}, set()),
    ({"F": 1}, set()),
    ({"g": {"$ne": 1}}, ALL),
]  # fmt: skip


@pytest.mark.parametrize(("written", "chosen"), TRUTHS, ids=lambda value: None)
def test_what_a_filter_chooses(written, chosen):
    found = Filter.of(written)
    assert {name for name, metadata in VALUES.items() if found.matches(metadata)} == chosen


@pytest.mark.parametrize(("written", "chosen"), TRUTHS, ids=lambda value: None)
def test_a_filter_is_written_as_json_and_read_back(written, chosen):
    found = Filter.of(written)
    again = Filter.of(json.loads(json.dumps(found.to_dict())))
    assert again == found
    assert hash(again) == hash(found)
    assert again.to_dict() == found.to_dict()
    assert pickle.loads(pickle.dumps(found)) == found
    assert {name for name, metadata in VALUES.items() if again.matches(metadata)} == chosen


def test_hostile_field_names_are_names_and_nothing_else():
    for name in ["a.b", 'a"b', "$.a"[1:], "", " ", "%", "a\x00b", "a\x00c", "\\", "[0]", "\U0010ffff", "ключ"]:
        assert Filter.of({name: 1}).matches({name: 1})
        assert not Filter.of({name: 1}).matches({"a": {"b": 1}, "x": 1})


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (7, "$: a filter is a mapping of metadata fields to what they must be, not int"),
        ([{"a": 1}], "$: a filter is a mapping of metadata fields to what they must be, not list"),
        ({"$and": []}, "$.$and: takes a list of one filter or more, not []"),
        ({"$or": {"a": 1}}, "$.$or: takes a list of one filter or more, not dict"),
        ({"$or": [{"a": 1}, "b"]}, "$.$or[1]: a filter is a mapping"),
        ({"$not": [{"a": 1}]}, "$.$not: a filter is a mapping"),
        ({"$nor": [{"a": 1}]}, '$.$nor: a field\'s name does not begin with "$"; did you mean "$or"?'),
        ({"$where": "1"}, '$.$where: a field\'s name does not begin with "$"'),
        ({"$gte": 1}, '$.$gte: stands inside a field: {"<field>": {"$gte": …}}'),
        ({1: 2}, '$["1"]: a field\'s name is a str, not int'),
        ({None: 2}, '$["None"]: a field\'s name is a str, not NoneType'),
        ({"year": {}}, "$.year: names no operator (operators: $eq, $ne"),
        ({"year": {"$get": 1}}, '$.year.$get: there is no such operator; did you mean "$gt"?'),
        ({"year": {"gte": 1}}, '$.year.gte: there is no such operator; did you mean "$gte"?'),
        ({"year": {"$zzz": "a"}}, "$.year.$zzz: there is no such operator (operators: $eq, $ne"),
        ({"year": {3: 1}}, '$.year["3"]: there is no such operator'),
        ({"year": {"$not": {"$eq": 1}}}, '$.year.$not: stands outside a field: {"$not": …}'),
        ({"year": {"$gte": "a", "$lt": None}}, "$.year.$lt: takes a number or a str, not NoneType"),
        ({"year": {"$gte": True}}, "$.year.$gte: takes a number or a str, not bool"),
        ({"year": {"$gte": float("nan")}}, "$.year.$gte: a value is a str, an int, a finite float"),
        ({"year": float("inf")}, "$.year: a value is a str, an int, a finite float, a bool or None, not inf"),
        ({"year": {1, 2}}, "$.year: a value is a str, an int, a finite float, a bool or None, not set"),
        ({"year": b"a"}, "not bytes"),
        ({"year": {"$eq": [1]}}, "$.year.$eq: a value is a str"),
        ({"year": {"$ne": {}}}, "$.year.$ne: a value is a str"),
        ({"year": {"$in": "abc"}}, "$.year.$in: takes a list of values, not str"),
        ({"year": {"$nin": [1, [2]]}}, "$.year.$nin[1]: a value is a str"),
        ({"year": [1, {"a": 2}]}, "$.year[1]: a value is a str"),
        ({"year": {"$prefix": 20}}, "$.year.$prefix: takes a str, not int"),
        ({"year": {"$exists": 1}}, "$.year.$exists: takes true or false, not int"),
        ({"a.b": {"$lt": None}}, '$["a.b"].$lt: takes a number'),
        ({'a"b': {"$lt": None}}, '$["a\\"b"].$lt: takes a number'),
        ({"$and": [{"$or": [{}, {"y": {"$x": 1}}]}]}, "$.$and[0].$or[1].y.$x: there is no such operator"),
        ({"a": "\ud800"}, "$.a: holds a lone surrogate"),
        ({"a": {"$in": ["x", "\udfff"]}}, "$.a.$in[1]: holds a lone surrogate"),
        ({"a": {"$prefix": "\ud83d"}}, "$.a.$prefix: holds a lone surrogate"),
        ({"\ud800": 1}, "name holds a lone surrogate"),
    ],
)
def test_what_is_no_filter_says_what_is_wrong_and_where(written, said):
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        Filter.of(written)
    assert len(str(caught.value)) < 400


def nested(depth, word="$not"):
    written = {"a": 1}
    for _ in range(depth):
        written = {word: written if word == "$not" else [written]}
    return written


@pytest.mark.parametrize("word", ["$not", "$and", "$or"])
def test_nesting_has_a_limit(word):
    assert Filter.of(nested(MAX_DEPTH, word)).matches({"a": 1})
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(InputError, match=f"more than {MAX_DEPTH} deep"):
            Filter.of(nested(depth, word))
    endless = {}
    endless[word] = endless if word == "$not" else [endless]
    with pytest.raises(InputError, match="deep"):
        Filter.of(endless)


@pytest.mark.parametrize(
    "many",
    [
        lambda n: {f"f{i}": i for i in range(n)},
        lambda n: {"$or": [{"f": i} for i in range(n)]},
        lambda n: {"$and": [{} for _ in range(n)]},
        lambda n: {"$or": [{"f": {"$gt": i, "$lt": i + 2}} for i in range(n // 2)] + [{"f": 1}] * (n % 2)},
    ],
)
def test_conditions_have_a_limit(many):
    assert Filter.of(many(MAX_CONDITIONS)).to_dict() == many(MAX_CONDITIONS)
    with pytest.raises(InputError, match=f"more than {MAX_CONDITIONS} conditions"):
        Filter.of(many(MAX_CONDITIONS + 1))


def test_a_fan_that_shares_its_branches_stops_in_time():
    written = {"a": 1}
    for _ in range(MAX_DEPTH):
        written = {"$or": [written] * 100}
    with pytest.raises(InputError, match=f"more than {MAX_CONDITIONS} conditions"):
        Filter.of(written)


def test_lists_are_long_and_have_a_limit():
    found = Filter.of({"a": list(range(MAX_VALUES - 1)), "b": {"$nin": ["x"]}})
    assert found.matches({"a": MAX_VALUES - 2})
    assert not found.matches({"a": MAX_VALUES})
    with pytest.raises(InputError, match="more than 100,000 values"):
        Filter.of({"a": list(range(MAX_VALUES - 1)), "b": {"$nin": ["x", "y"]}})


def test_equality_is_by_meaning():
    assert Filter.of({"a": 1, "b": 2}) == Filter.of({"b": {"$in": [2.0]}, "a": {"$eq": 1}})
    assert Filter.of({"a": ["x", "y"]}) == Filter.of({"a": {"$in": ("y", "x", "y")}})
    assert Filter.of({"a": {"$ne": 1}}) == Filter.of({"$not": {"a": 1}})
    different = [
        {},
        {"a": 1},
        {"a": True},
        {"a": "1"},
        {"a": None},
        {"a": 0},
        {"a": {"$gte": 1}},
        {"a": {"$gt": 1}},
    ]
    assert len({Filter.of(written) for written in different}) == len(different)


def test_a_filter_does_not_change_with_what_it_was_made_from():
    written = {"a": {"$in": [1, 2]}, "$or": [{"b": 1}]}
    before = copy.deepcopy(written)
    found = Filter.of(written)
    written["a"]["$in"].append(3)
    written["$or"].clear()
    found.to_dict()["$or"].clear()
    assert found.to_dict() == before
    assert not found.matches({"a": 3, "b": 1})
    with pytest.raises(AttributeError):
        found.expression = Exists("a")
    assert Filter.of(found) is found
    assert repr(Filter.of({"a": [1]})) == "Filter.of({'a': [1]})"


def test_a_query_takes_filters():
    query = Query("lift", filters={"year": {"$gte": 1950}})
    assert query.filters == Filter.of({"year": {"$gte": 1950}})
    assert Query("lift", filters=query.filters).filters is query.filters
    assert Query("lift").filters is None
    with pytest.raises(InputError, match=re.escape('$.year.$gt3: there is no such operator; did you mean "$gt"?')):
        Query("lift", filters={"year": {"$gt3": 1950}})
