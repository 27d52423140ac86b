"""Awkward metadata, and filters that distinguish it: what an engine's own types and nulls get wrong.

`EXPECTED` has the documents that each filter selects, according to the filter language. An engine that stores
metadata in its own types tends to fail for true, which equals 1 there, for null, which is not a missing field,
for lists, for integers beyond 53 bits, for strings beyond ASCII, and for negations, which also match where the
field is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybridrank.filters.language import Filter
from hybridrank.types import Document

__all__ = ["EXPECTED", "FILTERS", "FILTER_DOCUMENTS", "FILTER_QUERY"]

FILTER_QUERY = "compost heap"
"""Every document in `FILTER_DOCUMENTS` holds these words."""

_METADATA: Mapping[str, Mapping[str, Any]] = {
    "nothing": {},
    "other field": {"g": 1},
    "null": {"f": None},
    "true": {"f": True},
    "false": {"f": False},
    "zero": {"f": 0},
    "one": {"f": 1},
    "one as float": {"f": 1.0},
    "one as text": {"f": "1"},
    "true as text": {"f": "true"},
    "null as text": {"f": "null"},
    "negative": {"f": -1},
    "fraction": {"f": 1.5},
    "2**53": {"f": 2**53},
    "2**53 + 1": {"f": 2**53 + 1},
    "2**63 - 1": {"f": 2**63 - 1},
    "2**70": {"f": 2**70},
    "empty text": {"f": ""},
    "space": {"f": " "},
    "a": {"f": "a"},
    "A": {"f": "A"},
    "a and more": {"f": "ab%_*\\'\""},
    "composed": {"f": "\u00e9"},
    "decomposed": {"f": "e\u0301"},
    "last of the BMP": {"f": "\uffff"},
    "beyond the BMP": {"f": "\U0001f600"},
    "NUL": {"f": "a\x00b"},
    "date": {"f": "2024-05-01"},
    "empty list": {"f": []},
    "mixed list": {"f": [1, "a", None]},
    "list of lists": {"f": [[1], ["a"]]},
    "object": {"f": {"f": 1}},
    "dotted": {"f.f": 1, "$f": "a", "a'b\"c": True},
}

FILTER_DOCUMENTS: Sequence[Document] = tuple(
    Document(f"filter: {name}", f"Compost heap: {name}.", metadata=dict(metadata))
    for name, metadata in _METADATA.items()
)
"""33 documents with the same metadata field in every form."""

FILTERS: Mapping[str, Mapping[str, Any]] = {
    "everything": {},
    "null": {"f": None},
    "not null": {"f": {"$ne": None}},
    "true": {"f": True},
    "not true": {"f": {"$ne": True}},
    "one": {"f": 1},
    "not one": {"f": {"$ne": 1}},
    "one as text": {"f": "1"},
    "2**53": {"f": 2**53},
    "2**53 + 1": {"f": 2**53 + 1},
    "2**70": {"f": 2**70},
    "empty text": {"f": ""},
    "a": {"f": "a"},
    "composed": {"f": "\u00e9"},
    "NUL": {"f": "a\x00b"},
    "in, mixed": {"f": [True, 1.5, "a", None]},
    "in, none": {"f": {"$in": []}},
    "not in, mixed": {"f": {"$nin": [True, 1.5, "a", None]}},
    "not in, none": {"f": {"$nin": []}},
    "above zero": {"f": {"$gt": 0}},
    "up to one": {"f": {"$lte": 1}},
    "between": {"f": {"$gte": 1, "$lt": 2}},
    "above 2**53": {"f": {"$gt": 2**53}},
    "after Z": {"f": {"$gt": "Z"}},
    "up to the end of the BMP": {"f": {"$lte": "\uffff"}},
    "since a date": {"f": {"$gte": "2024-05-01", "$lt": "2024-05-02"}},
    "prefix": {"f": {"$prefix": "a"}},
    "empty prefix": {"f": {"$prefix": ""}},
    "prefix of wildcards": {"f": {"$prefix": "ab%_*\\'"}},
    "exists": {"f": {"$exists": True}},
    "does not exist": {"f": {"$exists": False}},
    "dotted": {"f.f": 1},
    "quoted": {"a'b\"c": True},
    "either": {"$or": [{"f": {"$gt": 1}}, {"f": {"$prefix": "a"}}, {"g": {"$exists": True}}]},
    "not both": {"$not": {"$and": [{"f": {"$exists": True}}, {"f": {"$ne": "a"}}]}},
    "nested": {"f": {"$exists": True}, "$not": {"$or": [{"f": None}, {"$not": {"f": {"$gte": 0}}}, {"f": True}]}},
}
"""36 filters, by name."""

EXPECTED: Mapping[str, frozenset[str]] = {
    name: frozenset(d.id for d in FILTER_DOCUMENTS if Filter.of(written).matches(d.metadata))
    for name, written in FILTERS.items()
}
"""The ids of the documents that each filter chooses."""
