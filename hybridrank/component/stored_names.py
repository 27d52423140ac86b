"""Stored configurations of earlier versions: options have other names now, and what was stored still opens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["current_names"]

_RENAMED: Mapping[str, Mapping[str, str]] = {
    "confidence": {
        "sure": "weight_if_confident",
        "unsure": "weight_if_unsure",
        "unknown": "weight_if_unknown",
        "between": "score_range",
        "apart": "spread_range",
    },
    "early-stopping": {"quiet": "patience"},
    "faiss": {"quantise": "quantize"},
    "fallback": {"failures": "failure_threshold", "rest": "cooldown", "share": "time_share"},
    "http": {"flavour": "flavor"},
    "score": {"normalise": "normalize"},
}
"""Options of a component, by its registered name: the former name -> the present one."""

_COMPONENTS = {"settled": "early-stopping"}


def current_names(config: Any) -> Any:
    """A stored configuration, or any part of one, with the names that components and options have now.

    >>> current_names({"fusion": {"use": "score", "normalise": "z-score"}})
    {'fusion': {'use': 'score', 'normalize': 'z-score'}}
    """
    if isinstance(config, list):
        return [current_names(each) for each in config]
    if not isinstance(config, Mapping):
        return config
    table = {name: current_names(value) for name, value in config.items()}
    use = table.get("use")
    if not isinstance(use, str):
        return table
    table["use"] = use = _COMPONENTS.get(use, use)
    renamed = _RENAMED.get(use, {})
    return {renamed.get(name, name): value for name, value in table.items()}
