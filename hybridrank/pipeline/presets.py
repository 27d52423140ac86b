"""Presets: configurations by name, in ``presets.toml``.

A preset is expanded when a configuration is loaded. A collection stores the expanded configuration, so that a
later version of a preset changes no collection.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from hybridrank.errors import ConfigError
from hybridrank.values.printable import shown, suggestion

__all__ = ["preset_config", "preset_models", "presets"]


@functools.cache
def presets() -> Mapping[str, str]:
    """The description of each preset, by name."""
    return {name: table["description"] for name, table in _tables().items()}


def preset_config(name: str) -> dict[str, Any]:
    """The options of `PipelineConfig` that the preset `name` sets.

    Raises:
        ConfigError: there is no such preset.
    """
    tables = _tables()
    if not isinstance(name, str) or name not in tables:
        hint = suggestion(name, tables) if isinstance(name, str) else ""
        raise ConfigError(
            f"there is no preset {shown(name)}{hint} (there are: {', '.join(tables)})", path="$.preset"
        )
    return {option: value for option, value in tables[name].items() if option != "description"}


def preset_models(name: str) -> list[str]:
    """The ids of the models that the preset `name` uses: its embedders, then its reranker."""
    config = preset_config(name)
    embedders = [arm["embedder"]["model"] for arm in config["retrievers"].values() if "embedder" in arm]
    reranker = config["reranker"]
    return embedders + ([reranker["model"]] if isinstance(reranker, Mapping) else [])


def _tables() -> dict[str, dict[str, Any]]:
    text = resources.files(__package__).joinpath("presets.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
