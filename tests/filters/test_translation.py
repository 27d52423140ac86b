"""Splitting a filter for an engine: the native part and the rest are together exactly the filter."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybridrank.errors import InputError
from hybridrank.filters import Filter, FilterSupport, split_filter, translate, visit
from hybridrank.filters.expressions import AllOf, AnyOf, Not, conditions_of, to_language
from hybridrank.testing.filter_samples import EXPECTED, FILTER_DOCUMENTS, FILTERS

TYPES = ["null", "bool", "number", "str"]
OPERATORS = ["$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$prefix", "$exists"]
NUMBERS = {"$eq": ["number"], "$in": ["number"], "$gte": ["number"], "$exists": []}

supports = st.builds(
    FilterSupport,
    st.dictionaries(st.sampled_from(OPERATORS), st.sets(st.sampled_from(TYPES))),
    combiners=st.sets(st.sampled_from(["$and", "$or", "$not"])),
    depth=st.integers(0, 4),
    fields=st.one_of(st.none(), st.sets(st.sampled_from(["f", "g"]))),
)
leaves = st.sampled_from([FILTERS[name] for name in FILTERS if name not in ("everything", "in, none")])
filters = st.recursive(
    st.one_of(leaves, st.just({}), st.just({"g": 1}), st.just({"g": {"$exists": False}})),
    lambda inner: st.one_of(
        st.builds(lambda each: {"$not": each}, inner),
        st.builds(lambda some: {"$and": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda some: {"$or": some}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)


def matches(part: Filter | None, metadata) -> bool:
    return part is None or part.matches(metadata)


def combiners_in(expression, depth=0):
    """Each combiner of a tree with the level that it is at, from 1."""
    match expression:
        case AllOf(parts) | AnyOf(parts):
            yield ("$and" if isinstance(expression, AllOf) else "$or"), depth + 1
            for part in parts:
                yield from combiners_in(part, depth + 1)
        case Not(part):
            yield "$not", depth + 1
            yield from combiners_in(part, depth + 1)


@settings(max_examples=300, deadline=None)
@given(filters, supports)
def test_the_two_parts_are_exactly_the_filter(written, support):
    whole = Filter.of(written)
    native, rest = split_filter(whole, support)
    for document in FILTER_DOCUMENTS:
        metadata = document.metadata
        assert matches(whole, metadata) == (matches(native, metadata) and matches(rest, metadata))
    if native is not None:
        assert all(support.covers_condition(leaf) for leaf in conditions_of(native.expression))
        assert all(name in support.combiners for name, _ in combiners_in(native.expression))
        assert all(level <= support.depth for _, level in combiners_in(native.expression))


@settings(max_examples=100, deadline=None)
@given(filters)
def test_full_support_leaves_no_rest_and_no_support_leaves_no_native_part(written):
    everything = FilterSupport(dict.fromkeys(OPERATORS, TYPES))
    assert split_filter(Filter.of(written), everything).rest is None
    native, rest = split_filter(Filter.of(written), FilterSupport({}, combiners=()))
    assert native is None
    for document in FILTER_DOCUMENTS:
        assert matches(rest, document.metadata) == Filter.of(written).matches(document.metadata)


@settings(max_examples=100, deadline=None)
@given(filters)
def test_a_tree_is_written_in_the_language_and_read_back(written):
    whole = Filter.of(written)
    again = Filter.of(json.loads(json.dumps(to_language(whole.expression))))
    for document in FILTER_DOCUMENTS:
        assert whole.matches(document.metadata) == again.matches(document.metadata)


@pytest.mark.parametrize(
    ("written", "native", "rest"),
    [
        ({"f": 1, "g": "a"}, {"f": {"$eq": 1}}, {"g": {"$eq": "a"}}),
        (  # no operand of the disjunction may be left out, and one without a native part makes all of it the rest
            {"$or": [{"f": 1}, {"g": "a"}]},
            None,
            {"$or": [{"f": {"$eq": 1}}, {"g": {"$eq": "a"}}]},
        ),
        (
            {"$or": [{"f": 1, "g": "a"}, {"f": 2}]},
            {"$or": [{"f": {"$eq": 1}}, {"f": {"$eq": 2}}]},
            {"$or": [{"f": {"$eq": 1}, "g": {"$eq": "a"}}, {"f": {"$eq": 2}}]},
        ),
        ({"$not": {"g": "a"}}, None, {"$not": {"g": {"$eq": "a"}}}),
        (  # not (f = 1 and g = "a"): documents with f = 1 may match
            {"$not": {"f": 1, "g": "a"}},
            None,
            {"$or": [{"$not": {"f": {"$eq": 1}}}, {"$not": {"g": {"$eq": "a"}}}]},
        ),
        (
            {"$not": {"$or": [{"f": 1}, {"g": "a"}]}},
            {"$not": {"f": {"$eq": 1}}},
            {"$not": {"g": {"$eq": "a"}}},
        ),
    ],
)
def test_what_is_native(written, native, rest):
    found = split_filter(Filter.of(written), FilterSupport(NUMBERS))
    assert (found.native and found.native.to_dict(), found.rest and found.rest.to_dict()) == (native, rest)


def test_an_engine_of_single_conditions_gets_one():
    support = FilterSupport(NUMBERS, combiners=(), depth=0)
    native, rest = split_filter(Filter.of({"a": "x", "b": 1, "c": 2}), support)
    assert native == Filter.of({"b": 1})
    assert rest == Filter.of({"a": "x", "c": 2})


def test_single_conditions_can_be_rejected():
    support = FilterSupport(NUMBERS, accepts=lambda condition: condition.field != "c")
    native, rest = split_filter(Filter.of({"b": 1, "c": 2}), support)
    assert native == Filter.of({"b": 1})
    assert rest == Filter.of({"c": 2})


class _Text:
    """Writes a filter as an expression of Python."""

    def one_of(self, condition):
        return f"{condition.field} in {sorted(value for _, value in condition.keys)}"

    def compare(self, condition):
        return f"{condition.field} {condition.operator[1:]} {condition.key[1]}"

    def prefix(self, condition):
        return f"{condition.field} ~ {condition.prefix}"

    def exists(self, condition):
        return f"has {condition.field}"

    def all_of(self, parts):
        return f"({' and '.join(parts)})"

    def any_of(self, parts):
        return f"({' or '.join(parts)})"

    def negation(self, part):
        return f"not {part}"


def test_a_visitor_builds_the_engines_form():
    written = {
        "a": [2, 1],
        "$or": [{"b": {"$gt": 3}}, {"$not": {"c": {"$prefix": "x"}}}, {"d": {"$exists": True}}],
    }
    text = "((b gt 3 or not c ~ x or has d) and a in [1, 2])"
    assert visit(Filter.of(written).expression, _Text()) == text
    assert translate(Filter.of(written), _Text(), FilterSupport(dict.fromkeys(OPERATORS, TYPES))) == text


def test_what_an_engine_cannot_evaluate_is_refused():
    with pytest.raises(InputError, match=r"cannot evaluate this part of the filter: \{'g': \{'\$eq': 'a'\}\}"):
        translate(Filter.of({"f": 1, "g": "a"}), _Text(), FilterSupport(NUMBERS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operators": {"$like": ["str"]}}, "unknown operator '\\$like' .operators: \\$eq, "),
        ({"operators": {"$eq": ["int"]}}, "unknown type 'int' .types: bool, null, number, str"),
        ({"operators": {}, "combiners": ["$nor"]}, "unknown combiner '\\$nor'"),
        ({"operators": {}, "depth": 17}, "from 0 to 16, not 17"),
    ],
)
def test_support_names_what_there_is(options, message):
    with pytest.raises(InputError, match=message):
        FilterSupport(**options)


def test_the_samples_tell_filters_apart():
    assert (len(FILTER_DOCUMENTS), len(FILTERS)) == (33, 36)
    assert len(set(EXPECTED.values())) >= 30
    assert all(any((d.id in chosen) for chosen in EXPECTED.values()) for d in FILTER_DOCUMENTS)
