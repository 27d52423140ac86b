"""Filters on metadata: the language, its translation for engines, and the types of fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

_HOME = {
    "Compare": "expressions",
    "Exists": "expressions",
    "FieldTypes": "fields",
    "Filter": "language",
    "FilterSupport": "translation",
    "FilterVisitor": "translation",
    "OneOf": "expressions",
    "Prefix": "expressions",
    "SplitFilter": "translation",
    "key_token": "expressions",
    "keys_of": "expressions",
    "split_filter": "translation",
    "translate": "translation",
    "visit": "translation",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from hybridrank.filters.expressions import Compare as Compare
    from hybridrank.filters.expressions import Exists as Exists
    from hybridrank.filters.expressions import OneOf as OneOf
    from hybridrank.filters.expressions import Prefix as Prefix
    from hybridrank.filters.expressions import key_token as key_token
    from hybridrank.filters.expressions import keys_of as keys_of
    from hybridrank.filters.fields import FieldTypes as FieldTypes
    from hybridrank.filters.language import Filter as Filter
    from hybridrank.filters.translation import FilterSupport as FilterSupport
    from hybridrank.filters.translation import FilterVisitor as FilterVisitor
    from hybridrank.filters.translation import SplitFilter as SplitFilter
    from hybridrank.filters.translation import split_filter as split_filter
    from hybridrank.filters.translation import translate as translate
    from hybridrank.filters.translation import visit as visit
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
