"""Filters on metadata."""

from hybridrank.filters.language import Filter

__all__ = ["Filter"]
