"""The weight of each arm in a fusion."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

__all__ = ["Weights"]

Weights: TypeAlias = dict[str, Annotated[float, Field(ge=0)]]
"""Weights by arm, the pipeline's name for a retriever; an arm without one has weight 1."""
