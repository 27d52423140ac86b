"""The calibrations that come with hybridrank, for the default models; `benchmarks/relevance.py` fits them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["shipped_calibrations"]


def shipped_calibrations(model: str, *, identity: str) -> Sequence[Mapping[str, Any]]:
    """Options of `Relevance` for a model's raw scores, those that read most features first; none for most models.

    `identity` is that of the reranker that runs the model.
    """
    return [
        {**options, "fitted_for": {**options["fitted_for"], "reranker": identity}}
        for options in _all().get(model, ())
    ]


@cache
def _all() -> Mapping[str, Any]:
    table: Mapping[str, Any] = json.loads(files(__package__).joinpath("shipped.json").read_text("utf-8"))
    return table
