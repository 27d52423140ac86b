"""What tuning found, and the configuration that it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any

from hybridrank.config import PipelineConfig
from hybridrank.errors import ConfigError, MissingDependencyError, StorageError
from hybridrank.evaluation.statistics import CONFIDENCE, RESAMPLES, Interval
from hybridrank.evaluation.tuning.choosing import Goal
from hybridrank.evaluation.variant import Variant

__all__ = ["Figures", "Fold", "Tuning"]


@dataclass(frozen=True)
class Figures:
    """A variant's figures over all queries: the objective's mean, seconds, the cost of a thousand queries.

    `p95` is None where the recording has no latencies, `cost` where there are no prices. `source` is the
    recording's name.
    """

    variant: Variant
    source: str
    mean: float
    p95: float | None
    cost: float | None
    pairs: float
    unscored: float

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {**vars(self), "variant": self.variant.settings(), "label": self.variant.label}


@dataclass(frozen=True)
class Fold:
    """What was chosen on the other folds' queries, and the objective's means on this fold's own."""

    queries: int
    chosen: Variant
    source: str
    mean: float
    default: float


@dataclass(frozen=True)
class Tuning:
    """What tuning found.

    `default` is what the pipeline does now, `best` what was chosen on all queries. `gain` is the mean difference
    between the two ways on queries that did not choose: in each fold what was chosen on the other folds, against
    the default. `interval` and `p`, of the paired randomisation test, are of these differences.

    `kept` says that the default stays, since the gain is not significant, or nothing better was chosen; `answer`
    is what to use. `frontier` has the best of each number of documents reranked, on the queries that chose it,
    which flatters.
    """

    dataset: str
    goal: Goal
    queries: int
    tried: int
    left_out: Mapping[str, int]
    default: Figures
    best: Figures
    default_feasible: bool
    folds: tuple[Fold, ...]
    gain: float
    interval: Interval | None
    p: float | None
    kept: bool
    frontier: tuple[Figures, ...]
    seed: int
    tolerance: float
    unsupervised: bool = False
    machine: str = ""
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def answer(self) -> Figures:
        """What to use."""
        return self.default if self.kept else self.best

    @property
    def held_out(self) -> tuple[float, float]:
        """The objective's means on held-out queries: of the default, and of what was chosen."""
        count = sum(fold.queries for fold in self.folds)
        default = sum(fold.default * fold.queries for fold in self.folds) / count
        return default, default + self.gain

    def config(self) -> dict[str, Any]:
        """The configuration of the answer: the recorded pipeline's, with what was chosen.

        Raises:
            ConfigError: it has a part that no configuration can name.
        """
        said = dict(self.settings[self.answer.source])
        for name, value in said.items():
            if name in ("retrievers", "fusion", "reranker") and (unnamed := _unnamed(value)):
                raise ConfigError(f"it was an object that no configuration can name ({unnamed})", path=f"$.{name}")
        chosen = self.answer.variant
        said["retrievers"] = {name: arm for name, arm in said["retrievers"].items() if name in chosen.arms}
        choices = chosen.settings()
        said["fusion"] = choices["fusion"]
        if "weights" in said["fusion"]:
            weights = {arm: weight for arm, weight in said["fusion"]["weights"].items() if arm in chosen.arms}
            said["fusion"] = {**said["fusion"], "weights": weights}
        said["fetch_k"] = chosen.fetch_k
        said["blend"] = choices["blend"]
        said.pop("stop", None)
        if chosen.rerank_k:
            said["rerank_k"] = chosen.rerank_k
            if choices["stop"] is not None:
                said["stop"] = choices["stop"]
        else:
            said["reranker"] = "none"
        PipelineConfig.load(said)
        return said

    def write(self, path: str | PathLike[str]) -> None:
        """Write the configuration as a TOML file.

        Raises:
            ConfigError: as `config`.
            StorageError: it cannot be written.
            MissingDependencyError: tomli-w is not installed.
        """
        try:
            import tomli_w
        except ImportError as error:
            raise MissingDependencyError(
                'writing a configuration needs tomli-w; pip install "hybridrank[evaluate]"'
            ) from error
        text = tomli_w.dumps(_without_none(self.config()))
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise StorageError(f"cannot write {fspath(path)!r}: {error.strerror}") from error

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        default, chosen = self.held_out
        return {
            "dataset": self.dataset,
            "queries": self.queries,
            "objective": self.goal.objective,
            "bounds": {"p95": self.goal.p95, "cost": self.goal.cost, "prices": dict(self.goal.prices)},
            "unsupervised": self.unsupervised,
            "tried": self.tried,
            "left_out": dict(self.left_out),
            "default": self.default.to_dict(),
            "default_within_bounds": self.default_feasible,
            "best": self.best.to_dict(),
            "held_out": {
                "folds": len(self.folds),
                "default": default,
                "chosen": chosen,
                "gain": self.gain,
                "interval": None if self.interval is None else list(self.interval),
                "p": self.p,
                "choices": [
                    {**vars(fold), "chosen": fold.chosen.settings(), "label": fold.chosen.label}
                    for fold in self.folds
                ],
            },
            "default_kept": self.kept,
            "answer": self.answer.to_dict(),
            "frontier": [figures.to_dict() for figures in self.frontier],
            "statistics": {
                "test": "paired randomisation, two-sided",
                "interval": "bootstrap (BCa) of the mean",
                "confidence": CONFIDENCE,
                "resamples": RESAMPLES,
                "seed": self.seed,
                "tolerance": self.tolerance,
            },
            "machine": self.machine,
            "warnings": list(self.warnings),
        }


def _unnamed(value: Any) -> str:
    """What stands for an object that no configuration can name, if anything does."""
    if isinstance(value, str) and value != "none":
        return value
    parts = value.values() if isinstance(value, Mapping) and "use" not in value else ()
    return next((part for part in parts if isinstance(part, str)), "")


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(part) for name, part in value.items() if part is not None}
    return [_without_none(part) for part in value] if isinstance(value, (list, tuple)) else value
