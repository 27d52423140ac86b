"""A question -> further formulations of it, which the arms are asked for too."""

from hybridrank.expand.synonyms import Synonyms

__all__ = ["Synonyms"]
