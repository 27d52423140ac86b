"""Checks of a retriever: query -> ranking.

A local retriever (an `IndexedRetriever`) is given the kit's documents. One that holds documents of its own (a
remote engine) is searched as it is; with a `Loaded` the kit gives it documents, and checks its filters too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hybridrank.testing.kit import Tolerances
from hybridrank.testing.retrievers import searching, writing

__all__ = ["CHECKS"]

CHECKS: Sequence[Callable[[Any, Tolerances], None]] = (*searching.CHECKS, *writing.CHECKS)
