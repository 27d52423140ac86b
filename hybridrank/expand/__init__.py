"""Expanders: query -> other formulations of it."""

from hybridrank.expand.synonyms import Synonyms

__all__ = ["Synonyms"]
