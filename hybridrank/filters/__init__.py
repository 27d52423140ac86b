"""Filters on metadata: the language, its translation for engines, and the types of fields."""

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
    "FieldTypes",
    "Filter",
    "FilterSupport",
    "FilterVisitor",
    "SplitFilter",
    "split_filter",
    "translate",
    "visit",
]
