"""Configurations in stored data of an earlier version: former names, and options that did not exist.

A name that is renamed gets a row here, and whatever reads stored configurations reads them through this module.
An option that is added must do nothing by default, as None or as an empty list or table: configurations are
compared without these. `tests/test_stored_data.py` opens data that was written before the first renaming.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

__all__ = ["current_identity", "current_names", "without_empty"]

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
"""Registered names: the former name -> the present one."""

_ONLY_CHOICE = {"blend": "confidence", "stop": "early-stopping"}
"""Settings of a pipeline whose table needs no `use`: the component that it configures."""


def current_names(config: Any, *, use: str | None = None) -> Any:
    """A stored configuration, or any part of one, with the names that components and options have now.

    `use` is the component that a table without `use` configures.

    >>> current_names({"fusion": {"use": "score", "normalise": "z-score"}, "stop": {"quiet": 3}})
    {'fusion': {'use': 'score', 'normalize': 'z-score'}, 'stop': {'patience': 3}}
    """
    if isinstance(config, list):
        return [current_names(each) for each in config]
    if not isinstance(config, Mapping):
        return config
    table = {name: current_names(value, use=_ONLY_CHOICE.get(name)) for name, value in config.items()}
    if isinstance(table.get("use"), str):
        table["use"] = use = _COMPONENTS.get(table["use"], table["use"])
    renamed = _RENAMED.get(use or "", {})
    return {renamed.get(name, name): value for name, value in table.items()}


def without_empty(config: Any) -> Any:
    """A configuration, or any part of one, as JSON values without the options that are None or empty.

    >>> without_empty({"use": "cross-encoder", "metadata_fields": (), "threads": 0})
    {'use': 'cross-encoder', 'threads': 0}
    """
    if isinstance(config, Mapping):
        table = {name: without_empty(value) for name, value in config.items()}
        return {name: value for name, value in table.items() if value not in (None, [], {})}
    return [without_empty(each) for each in config] if isinstance(config, (list, tuple)) else config


@lru_cache(maxsize=256)
def current_identity(text: str) -> str:
    """An identity or a name that holds configurations as JSON: with the names of now, and without empty options.

    Equal results mean equal configurations, whichever version wrote them.

    >>> current_identity('{"quiet": 3, "use": "settled"} on a machine')
    '{"patience": 3, "use": "early-stopping"} on a machine'
    """
    parts, end = [], 0
    while (start := text.find("{", end)) >= 0:
        parts.append(text[end:start])
        try:
            config, end = json.JSONDecoder().raw_decode(text, start)
            now = without_empty(current_names(config))
        except (ValueError, RecursionError):
            return text
        parts.append(text[start:end] if now == config else json.dumps(now, sort_keys=True))
    return "".join([*parts, text[end:]])
