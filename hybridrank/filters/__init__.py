"""Filters on metadata: the language, its translation for engines, and the types of fields."""

from hybridrank.filters.expressions import Compare, Exists, OneOf, Prefix, key_token, keys_of
from hybridrank.filters.fields import FieldTypes
from hybridrank.filters.language import Filter
from hybridrank.filters.translation import (
    FilterSupport,
    FilterVisitor,
    SplitFilter,
    split_filter,
    translate,
    visit,
)

__all__ = [
    "Compare",
    "Exists",
    "FieldTypes",
    "Filter",
    "FilterSupport",
    "FilterVisitor",
    "OneOf",
    "Prefix",
    "SplitFilter",
    "key_token",
    "keys_of",
    "split_filter",
    "translate",
    "visit",
]
