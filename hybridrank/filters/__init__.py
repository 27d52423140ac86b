"""Filters on metadata: the language, and its translation for engines."""

from hybridrank.filters.language import Filter
from hybridrank.filters.translation import (
    FilterSupport,
    FilterVisitor,
    SplitFilter,
    split_filter,
    translate,
    visit,
)

__all__ = ["Filter", "FilterSupport", "FilterVisitor", "SplitFilter", "split_filter", "translate", "visit"]
