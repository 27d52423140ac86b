"""The SQL of a filter, run by a real SQLite, against what the filter itself says of the same metadata."""

from __future__ import annotations

import json
import math
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridrank.collection.sqlite.filter_sql import (
    compile_choice,
    compile_filter,
    dump_metadata,
    field_rows,
    load_metadata,
)
from hybridrank.errors import InputError
from hybridrank.filters.language import MAX_CONDITIONS, MAX_VALUES, Filter
from hybridrank.filters.language import MAX_DEPTH as FILTER_DEPTH
from hybridrank.values.json_values import MAX_DEPTH

SCHEMA = """
CREATE TABLE documents (number INTEGER PRIMARY KEY, metadata TEXT NOT NULL, id TEXT, passages INTEGER) STRICT;
CREATE TABLE fields (field INTEGER, kind INTEGER, value, document INTEGER, id TEXT, passages INTEGER,
                     PRIMARY KEY (field, kind, value, document)) WITHOUT ROWID;
"""


def database(documents, indexed):
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    for number, metadata in enumerate(documents):
        connection.execute(
            "INSERT INTO documents VALUES (?, ?, ?, 0)", (number, dump_metadata(metadata), str(number))
        )
        rows = [(*row, str(number), 0) for row in field_rows(number, metadata, indexed)]
        connection.executemany("INSERT INTO fields VALUES (?, ?, ?, ?, ?, ?)", rows)
    return connection


def chosen(connection, written, indexed):
    sql, parameters = compile_filter(Filter.of(written), indexed=indexed)
    rows = connection.execute(f"SELECT d.number FROM documents AS d WHERE {sql}", parameters)
    numbers = {number for (number,) in rows}
    chosen = connection.execute(*compile_choice(Filter.of(written), indexed=indexed))
    assert set(chosen) == {(str(number), 0) for number in numbers}
    return numbers


HOSTILE = [
    "", " ", "a", "A", "ab", "a.b", "a\x00", "a\x00b", "a\x01", "a\x01\x01", "\x00", "\x01", "\x02", "\x01\x02",
    '"', "'", "\\", "\\u0000", "\\u0001", "\\\\u0001", '\\"', "$", "$.a", "$[0]", "[0]", "%", "_", "*", "?", "?1",
    ":a", "--", "' OR 1=1 --", '"); DROP TABLE documents; --', "null", "true", "1", "1.0", "1e0", "type", "key",
    "\n", "\r\n", "\x1f", "\x7f", "\x85", "é", "e\u0301", "ß", "İ", "ключ", "字", "\u2028", "\ud7ff", "\ue000",
    "\ufeff", "\ufffd", "\uffff", "\U00010000", "\U0001f600", "\U0002f800", "\U000e0001", "\U000f0000",
    "\U0010ffff", "a\U0010ffff", "a\U0010ffff\U0010ffffb",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 2, 2020, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**63 + 1, -(2**63), -(2**63) - 1, 2**64, 2**70,
    10**25, 10**400, -(10**400), 0.0, -0.0, 1.0, 0.5, 0.1, 0.2, 0.3, 0.1 + 0.2, math.nextafter(1, 2),
    math.nextafter(1, 0), 1e15, 1e16, 1e22, 1e23, 1e308, 5e-324, 2.0**53, 2.0**63, 2.0**70, -(2.0**63),
    1700000000.123456, 9.5367431640625e-07,
]  # fmt: skip

texts = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=4))
numbers = st.one_of(st.sampled_from(NUMBERS), st.integers(-3, 3), st.floats(allow_nan=False, allow_infinity=False))
scalars = st.one_of(texts, numbers, st.booleans(), st.none())


some = st.integers(1, 3)


@st.composite
def cases(draw):
    """Documents and a filter that have names and values in common, so that much matches and much just does not."""
    names = ["a", *draw(st.lists(texts.filter(lambda name: not name.startswith("$")), min_size=1, max_size=3))]
    pool = [0, "a", *draw(st.lists(scalars, min_size=1, max_size=6))]
    name, scalar = st.sampled_from(names), st.sampled_from(pool)
    ordered = st.sampled_from([value for value in pool if type(value) in (str, int, float)])
    prefix = st.sampled_from([value[:2] for value in pool if isinstance(value, str)])
    listed = st.lists(scalar, max_size=4)
    value = st.one_of(
        scalar,
        listed,
        scalar.map(lambda inner: [[inner]]),
        st.dictionaries(name, scalar, max_size=1),
        st.tuples(scalar, listed, st.dictionaries(name, scalar, max_size=1)).map(list),
    )
    operands = {
        **dict.fromkeys(["$eq", "$ne"], scalar),
        **dict.fromkeys(["$gt", "$gte", "$lt", "$lte"], ordered),
        **dict.fromkeys(["$in", "$nin"], listed),
        "$prefix": prefix,
        "$exists": st.booleans(),
    }

    def condition():
        operators = draw(st.lists(st.sampled_from(sorted(operands)), min_size=1, max_size=2))
        return {operator: draw(operands[operator]) for operator in operators}

    def written(depth=0):
        form = draw(st.sampled_from(["fields", "fields", "$and", "$or", "$not"])) if depth < 3 else "fields"
        if form == "fields":
            return {draw(name): condition() if draw(st.booleans()) else draw(scalar) for _ in range(draw(some))}
        if form == "$not":
            return {"$not": written(depth + 1)}
        return {form: [written(depth + 1) for _ in range(draw(some))]}

    documents = draw(st.lists(st.dictionaries(name, value), min_size=1, max_size=6))
    declared = draw(st.lists(name, unique=True))
    return documents, written(), {name: number for number, name in enumerate(declared)}


@settings(max_examples=200, deadline=None)
@given(cases())
def test_sqlite_chooses_what_the_filter_matches(case):
    documents, written, indexed = case
    connection = database(documents, indexed)
    expected = {number for number, metadata in enumerate(documents) if Filter.of(written).matches(metadata)}
    assert chosen(connection, written, indexed) == expected
    assert chosen(connection, {"$not": written}, indexed) == set(range(len(documents))) - expected
    assert chosen(connection, Filter.of(written).to_dict(), indexed) == expected
    connection.close()


DOCUMENTS = [
    {"f": value} for value in [*HOSTILE, *NUMBERS, True, False, None, [], {}, [[]], [1, "a"], ["a", ["b"]]]
]


@pytest.mark.parametrize("indexed", [{}, {"f": 0}], ids=["undeclared", "declared"])
def test_every_pair_of_hostile_values_compares_as_in_python(indexed):
    connection = database([*DOCUMENTS, {}, {"g": 1}], indexed)
    metadata = [*DOCUMENTS, {}, {"g": 1}]
    for value in [*HOSTILE, *NUMBERS, True, False, None]:
        conditions = [{"$eq": value}, {"$in": [value, "other", 12345]}, {"$exists": value is None}]
        if type(value) in (str, int, float):
            conditions += [{"$gt": value}, {"$gte": value}, {"$lt": value}, {"$lte": value}]
        if isinstance(value, str):
            conditions.append({"$prefix": value})
        for condition in conditions:
            found = Filter.of({"f": condition})
            expected = {number for number, each in enumerate(metadata) if found.matches(each)}
            assert chosen(connection, {"f": condition}, indexed) == expected, condition
    connection.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_field_is_found_by_its_whole_name(name):
    others = [{other: 1} for other in HOSTILE if other != name]
    for indexed in ({}, {name: 3}):
        connection = database([*others, {name: 1}, {"x": {name: 1}}], indexed)
        if name.startswith("$"):
            with pytest.raises(InputError, match='does not begin with "\\$"'):
                Filter.of({name: 1})
        else:
            assert chosen(connection, {name: 1}, indexed) == {len(others)}
            assert chosen(connection, {name: {"$exists": True}}, indexed) == {len(others)}
        connection.close()


def test_names_and_values_are_parameters_only():
    def written(name, value):
        return {
            "$and": [
                {"$or": [{name: value}, {name: {"$gt": value, "$prefix": value}}]},
                {"$not": {name: [value, "x"]}},
                {name: {"$exists": True, "$ne": value}},
            ]
        }

    for indexed in (0, 1):
        harmless, parameters = compile_filter(Filter.of(written("a", "b")), indexed={"a": 0} if indexed else {})
        assert harmless.count("?") == len(parameters)
        for hostile in HOSTILE:
            if not hostile.startswith("$"):
                sql, _ = compile_filter(
                    Filter.of(written(hostile, hostile)), indexed={hostile: 0} if indexed else {}
                )
                assert sql == harmless


def test_an_injection_finds_nothing_and_harms_nothing():
    connection = database([{"a": "b"}, {"c": 1}], {"c": 0})
    for attack in ["' OR 1=1 --", '" OR ""="', "x'); DROP TABLE documents; --", "') OR TRUE OR ('", "?", "a') --"]:
        for written in (
            {attack: 1},
            {attack: {"$prefix": ""}},
            {"a": attack},
            {"c": {"$gte": attack}},
            {"a": [attack, 1]},
        ):
            assert chosen(connection, written, {"c": 0}) == set()
    assert chosen(connection, {}, {"c": 0}) == {0, 1}
    connection.close()


def plan(connection, written, indexed):
    sql, parameters = compile_filter(Filter.of(written), indexed=indexed)
    rows = connection.execute(f"EXPLAIN QUERY PLAN SELECT d.number FROM documents AS d WHERE {sql}", parameters)
    return [row[3] for row in rows]


@pytest.mark.parametrize(
    ("condition", "sought"),
    [
        (2020, ["field=? AND kind=? AND value=?"]),
        ([2020, 2021], ["field=? AND kind=? AND value=?"]),
        ([2020, "a", True], ["field=? AND kind=? AND value=?"] * 3),
        (None, ["field=? AND kind=?"]),
        ({"$gte": 2020}, ["field=? AND kind=? AND value>?"]),
        ({"$lt": "b"}, ["field=? AND kind=? AND value<?"]),
        ({"$prefix": "ab"}, ["field=? AND kind=? AND value>? AND value<?"]),
        ({"$exists": True}, ["field=?"]),
    ],
)
def test_a_declared_field_is_sought_in_its_table_and_drives_the_query(condition, sought):
    indexed = {"year": 0}
    connection = database([{"year": number, "lang": "en"} for number in range(50)], indexed)
    for written in ({"year": condition}, {"year": condition, "lang": "en"}):
        steps = plan(connection, written, indexed)
        assert steps[0] == "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)"
        assert [step for step in steps if "fields" in step] == [
            f"SEARCH fields USING PRIMARY KEY ({columns})" for columns in sought
        ]
    connection.close()


def test_a_condition_on_one_declared_field_reads_its_table_alone():
    connection = database([{"year": number} for number in range(50)], {"year": 0})
    for condition in (3, [3, "a"], {"$gt": 3}, {"$prefix": "a"}, {"$exists": True}):
        sql, values = compile_choice(Filter.of({"year": condition}), indexed={"year": 0})
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert not [step for step in steps if " d" in step]
        assert [step for step in steps if "SEARCH fields USING PRIMARY KEY" in step]
    connection.close()


def test_either_of_two_declared_fields_drives_the_query():
    indexed = {"year": 0, "lang": 1}
    connection = database([{"year": number, "lang": "en"} for number in range(50)], indexed)
    steps = plan(connection, {"$or": [{"year": 3}, {"lang": {"$prefix": "e"}}]}, indexed)
    assert steps[0] == "MULTI-INDEX OR"
    assert not any(step.startswith("SCAN d") for step in steps)
    connection.close()


def towers():
    """Filters at the limits of their language, by name."""
    half = MAX_CONDITIONS // 2
    pairs = [{"f": {"$gt": number, "$lt": number + 2}} for number in range(half)]
    kinds = [1, "a", True, None, 2, "b"]
    yield "one mapping", {f"f{number}": {"$ne": number} for number in range(MAX_CONDITIONS)}
    yield "a wide $or", {"$or": [{"f": number} for number in range(MAX_CONDITIONS)]}
    yield "a wide $or of lists", {"$or": [{"f": [number, *kinds]} for number in range(MAX_CONDITIONS)]}
    yield "pairs", {"$or": pairs}
    deep = {"f": 1}
    for number in range(FILTER_DEPTH // 2):
        deep = {"$not": {"$or": [*({"f": number} for number in range(half // 5)), deep]} if number % 2 else deep}
    yield "deep", deep
    leaning = {"f": 1}
    for number in range(FILTER_DEPTH):
        wide = [{"f": {"$gte": number}} for number in range(MAX_CONDITIONS // FILTER_DEPTH - 1)]
        leaning = {"$and" if number % 2 else "$or": [leaning, *wide] if number % 3 else [*wide, leaning]}
    yield "leaning", leaning
    yield (
        "long lists",
        {"f": list(range(MAX_VALUES // 2)), "g": {"$nin": [f"v{n}" for n in range(MAX_VALUES // 2)]}},
    )


@pytest.mark.parametrize("written", [pytest.param(written, id=name) for name, written in towers()])
def test_sqlite_takes_a_filter_at_the_limits(written):
    documents = [{"f": 1}, {"f": [3, "a"]}, {"g": "v7"}, {}, {f"f{number}": number for number in range(9)}]
    expected = {number for number, metadata in enumerate(documents) if Filter.of(written).matches(metadata)}
    for indexed in ({}, {"f": 0, "g": 1, "f3": 2}):
        connection = database(documents, indexed)
        assert chosen(connection, written, indexed) == expected
        connection.close()


def test_a_list_is_one_parameter_for_each_kind_of_value():
    ids = [f"document-{number}" for number in range(10_000)]
    sql, parameters = compile_filter(Filter.of({"source": ids}), indexed={"source": 4})
    assert sql.count("?") == len(parameters) == 2
    assert parameters[0] == 4
    assert sorted(json.loads(parameters[1])) == sorted(ids)
    sql, parameters = compile_filter(Filter.of({"source": ids}), indexed={})
    assert len(parameters) == 3


def test_the_rows_of_a_document_are_its_distinct_scalars():
    indexed = {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "absent": 5}
    metadata = {
        "a": [1, 1.0, True, "1", None, 1, [2], {"x": 3}],
        "b": {},
        "c": [],
        "d": None,
        "e": "n\x00",
        "other": 1,
    }
    assert sorted(field_rows(9, metadata, indexed)) == [
        (0, 0, 0, 9), (0, 1, 1, 9), (0, 2, 1, 9), (0, 3, "1", 9),
        (1, 4, 0, 9), (2, 4, 0, 9), (3, 0, 0, 9), (4, 3, "n\x01\x01", 9),
    ]  # fmt: skip


json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(texts, json_values, max_size=4))
def test_metadata_is_read_back_as_it_was_written(metadata):
    text = dump_metadata(metadata)
    assert repr(load_metadata(text)) == repr(metadata)
    assert "\\u0000" not in text.replace("\\\\", "")
    with sqlite3.connect(":memory:") as connection:
        assert connection.execute("SELECT json_valid(?)", (text,)).fetchone() == (1,)
    connection.close()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(alphabet="\x00\x01\x02\x03a\U0010ffff", max_size=5)))
def test_strings_keep_their_order_and_their_prefixes_in_sqlite(strings):
    connection = database([{"f": text} for text in strings], {})
    for bound in strings:
        for operator in ("$eq", "$lt", "$gte", "$prefix"):
            found = Filter.of({"f": {operator: bound}})
            expected = {number for number, text in enumerate(strings) if found.matches({"f": text})}
            assert chosen(connection, {"f": {operator: bound}}, {}) == expected
    connection.close()


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return {"deep": value, "f": 1}


def test_metadata_may_be_wide_and_as_deep_as_the_limit():
    wide = {"brackets": "[" * 10_000 + '\\"{', "objects": [{"a": []}] * 1_000, "f": 1}
    deepest = nested(MAX_DEPTH - 1)
    connection = database([wide, deepest], {})
    assert chosen(connection, {"f": 1, "g": {"$ne": 1}}, {}) == {0, 1}
    assert [load_metadata(text) for (text,) in connection.execute("SELECT metadata FROM documents")] == [
        wide,
        deepest,
    ]
    connection.close()
