"""Filters as SQL over SQLite, and the storage of metadata for them.

There are two tables::

    documents(number INTEGER PRIMARY KEY, …, metadata TEXT)         -- written by `dump_metadata`
    fields(field INTEGER, kind INTEGER, value, document INTEGER,    -- written by `field_rows`
           id TEXT, passages INTEGER,                               -- the document's
           PRIMARY KEY (field, kind, value, document)) WITHOUT ROWID

`fields` holds the metadata fields that were declared as indexed; for the others, every document's JSON is read.
It repeats the document's id and passage count, so that a condition on one such field reads no other table: looking
up 10,000 documents by number takes SQLite three times as long.
SQLite 3.37 or later is required.

SQLite's JSON functions end a string at its first NUL. So every string that reaches SQLite, in the metadata, in
`fields` and as a parameter, has NUL written as U+0001 U+0001, and U+0001 as U+0001 U+0002: that keeps order and
prefixes, and `load_metadata` undoes it. Of an integer beyond 64 bits, in a field that was not declared, SQLite
reads the first 18 digits or so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from hybridrank.filters.expressions import (
    BOOLEAN,
    NULL,
    NUMBER,
    TEXT,
    Compare,
    Exists,
    Key,
    OneOf,
    Prefix,
    keys_of,
)
from hybridrank.filters.language import Filter
from hybridrank.filters.translation import visit

__all__ = ["compile_choice", "compile_filter", "dump_metadata", "field_rows", "load_metadata"]

_SQL: TypeAlias = tuple[str, list[Any]]

_OTHER = 4  # the kind, in `fields`, of a field that is there but holds no scalar
_JSON_TYPES = {NULL: "'null'", BOOLEAN: "'true', 'false'", NUMBER: "'integer', 'real'", TEXT: "'text'"}
_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


def compile_filter(filter: Filter, *, indexed: Mapping[str, int]) -> _SQL:  # noqa: A002
    """An SQL condition on a row of ``documents AS d``, and its parameters. It is true or false, never NULL.

    `indexed` maps the declared fields to their numbers in `fields`. No part of the filter is in the SQL text but
    its structure: names and values are parameters.
    """
    return visit(filter.expression, _Compiler(indexed))


def compile_choice(filter: Filter, *, indexed: Mapping[str, int]) -> _SQL:  # noqa: A002
    """A query for the ids and passage counts of the documents that match, some of them perhaps more than once."""
    expression = filter.expression
    if isinstance(expression, (Compare, Exists, OneOf, Prefix)) and expression.field in indexed:
        number = indexed[expression.field]
        if isinstance(expression, Exists):
            return "SELECT id, passages FROM fields WHERE field = ?", [number]
        if tests := _tests(expression):
            return _from_fields("id, passages", number, tests)
    where, values = compile_filter(filter, indexed=indexed)
    return f"SELECT d.id, d.passages FROM documents AS d WHERE {where}", values


class _Compiler:
    """Builds conditions on a row of ``documents AS d``, which are never NULL: SQL's NOT is their complement."""

    def __init__(self, indexed: Mapping[str, int]) -> None:
        self._indexed = indexed

    def all_of(self, parts: Sequence[_SQL]) -> _SQL:
        return _joined(parts, " AND ") if parts else ("TRUE", [])

    def any_of(self, parts: Sequence[_SQL]) -> _SQL:
        return _joined(parts, " OR ")

    def negation(self, part: _SQL) -> _SQL:
        sql, values = part
        return f"NOT {sql}", values

    def exists(self, condition: Exists) -> _SQL:
        if condition.field in self._indexed:
            return "d.number IN (SELECT document FROM fields WHERE field = ?)", [self._indexed[condition.field]]
        return "EXISTS (SELECT 1 FROM json_each(d.metadata) WHERE key = ?)", [_stored(condition.field)]

    def one_of(self, condition: OneOf) -> _SQL:
        return self._condition(condition)

    def compare(self, condition: Compare) -> _SQL:
        return self._condition(condition)

    def prefix(self, condition: Prefix) -> _SQL:
        return self._condition(condition)

    def _condition(self, condition: OneOf | Compare | Prefix) -> _SQL:
        if not (tests := _tests(condition)):
            return "FALSE", []
        if condition.field in self._indexed:
            return _declared(self._indexed[condition.field], tests)
        return _undeclared(_stored(condition.field), tests)


def _joined(parts: Sequence[_SQL], conjunction: str) -> _SQL:
    return f"({conjunction.join(sql for sql, _ in parts)})", [value for _, values in parts for value in values]


_Test: TypeAlias = tuple[int, str, list[Any]]  # of one scalar: its kind, SQL about its `value`, parameters


def _tests(condition: OneOf | Compare | Prefix) -> list[_Test]:
    """The condition on one scalar, kind by kind; the tests of no two kinds can hold together."""
    match condition:
        case Compare(_, operator, (kind, bound)):
            return [(kind, f"value {_COMPARISONS[operator]} ?", [_bound(bound)])]
        case Prefix(_, prefix):
            first = _stored(prefix)
            return [(TEXT, "value >= ? AND value < ?", [first, _after(first)])]
        case OneOf(_, keys):
            by_kind: dict[int, list[Any]] = {}
            for kind, value in sorted(keys):
                by_kind.setdefault(kind, []).append(_bound(value))
            return [_membership(kind, values) for kind, values in by_kind.items()]


def _membership(kind: int, values: list[Any]) -> _Test:
    if kind == NULL:
        return kind, "TRUE", []
    if len(values) == 1:
        return kind, "value = ?", values
    array = json.dumps(values, ensure_ascii=False)
    if kind == NUMBER:
        array = array.replace("Infinity", "1e999")  # an integer that no float can hold
    return kind, "value IN (SELECT value FROM json_each(?))", [array]


def _declared(number: int, tests: list[_Test]) -> _SQL:
    select, values = _from_fields("document", number, tests)
    return f"d.number IN ({select})", values


def _from_fields(columns: str, number: int, tests: list[_Test]) -> _SQL:
    """Look up in `fields`: each test is one range of its primary key, or one for each value."""
    selects = [
        f"SELECT {columns} FROM fields WHERE field = ? AND kind = {kind} AND {test}" for kind, test, _ in tests
    ]
    return " UNION ALL ".join(selects), [value for *_, values in tests for value in (number, *values)]


def _undeclared(name: str, tests: list[_Test]) -> _SQL:
    """Read the field in the document's JSON: a scalar, or one level of an array's elements."""
    test = " OR ".join(f"type IN ({_JSON_TYPES[kind]}) AND {test}" for kind, test, _ in tests)
    values = [value for *_, values in tests for value in values]
    return (
        "EXISTS (SELECT 1 FROM (SELECT type, value FROM json_each(d.metadata) WHERE key = ? LIMIT 1) AS f WHERE "
        f"CASE type WHEN 'array' THEN EXISTS (SELECT 1 FROM json_each(f.value) WHERE {test}) ELSE {test} END)",
        [name, *values, *values],
    )


def field_rows(
    document: int, metadata: Mapping[str, Any], indexed: Mapping[str, int]
) -> Iterator[tuple[int, int, Any, int]]:
    """Give a document's rows in `fields`: (field, kind, value, document), one for each distinct scalar of a field.

    >>> list(field_rows(7, {"tag": ["a", "a"], "size": {"cm": 3}, "seen": True}, {"tag": 0, "size": 1}))
    [(0, 3, 'a', 7), (1, 4, 0, 7)]
    """
    for name, number in indexed.items():
        if name in metadata:
            keys: set[Key] = set(keys_of(metadata[name]))
            for kind, value in keys or {(_OTHER, 0)}:
                yield number, kind, _bound(value), document


def _stored(text: str) -> str:
    """`text` with no NUL in it, in the same order among others: see the module's docstring."""
    return text.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")


def _bound(value: Any) -> Any:
    return _stored(value) if isinstance(value, str) else value


def _after(prefix: str) -> str | bytes:
    """The first value, in SQLite's order, after every text that begins with `prefix`."""
    prefix = prefix.rstrip("\U0010ffff")
    if not prefix:
        return b""  # a blob comes after any text
    following = ord(prefix[-1]) + 1
    return prefix[:-1] + chr(0xE000 if following == 0xD800 else following)  # no text holds a surrogate


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ESCAPE = re.compile(r"\\(?:u000[01]|.)")
_STORED_ESCAPE = re.compile(r"\\(?:u0001\\u000[12]|.)")


def dump_metadata(metadata: dict[str, Any]) -> str:
    r"""Write metadata, of JSON values, as JSON that SQLite's functions read to the last character.

    >>> dump_metadata({"a": "nul \0"})
    '{"a":"nul \\u0001\\u0001"}'
    """
    text = _ENCODER.encode(metadata)
    if "\\u000" in text:
        stored = {r"\u0000": r"\u0001\u0001", r"\u0001": r"\u0001\u0002"}
        text = _ESCAPE.sub(lambda found: stored.get(found[0], found[0]), text)
    return text


def load_metadata(text: str) -> dict[str, Any]:
    """Read what `dump_metadata` wrote."""
    if r"\u0001" in text:
        meant = {r"\u0001\u0001": r"\u0000", r"\u0001\u0002": r"\u0001"}
        text = _STORED_ESCAPE.sub(lambda found: meant.get(found[0], found[0]), text)
    loaded: dict[str, Any] = json.loads(text)
    return loaded
