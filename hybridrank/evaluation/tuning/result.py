"""What tuning found, and the configuration that it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any

from hybridrank.errors import ConfigError, MissingDependencyError, StorageError
from hybridrank.evaluation.metrics.statistics import CONFIDENCE, RESAMPLES, Interval
from hybridrank.evaluation.replay.variant import Variant
from hybridrank.evaluation.tuning.choosing import Goal
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.runtime.files import replace_file

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
    """What was chosen on the other folds' queries; on this fold's own, its mean and the baseline's."""

    queries: int
    chosen: Variant
    source: str
    mean: float
    baseline: float


@dataclass(frozen=True)
class Tuning:
    """What tuning found.

    `default` is what the pipeline does now. `baseline` is the same, or where that breaks a bound
    (`default_feasible` is False), what of it is best within the bounds, with less reranking or with one arm alone;
    where nothing of it is, the default still. `best` is what was chosen on all queries. `gain` is the mean
    difference between what was chosen and the baseline, on queries that chose neither: each fold's own, by the
    other folds' choices. `interval` and `p`, of the paired randomization test, are of these differences.

    `kept` says that the baseline stays, since the gain is not significant, or nothing better was chosen; one that
    breaks a bound never does. `answer` is what to use. `frontier` has the best of each number of documents
    reranked, on the queries that chose it, which is optimistic.
    """

    dataset: str
    goal: Goal
    queries: int
    tried: int
    left_out: Mapping[str, int]
    default: Figures
    default_feasible: bool
    baseline: Figures
    best: Figures
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
        return self.baseline if self.kept else self.best

    @property
    def held_out(self) -> tuple[float, float]:
        """The objective's means on held-out queries: of the baseline, and of what was chosen."""
        count = sum(fold.queries for fold in self.folds)
        baseline = sum(fold.baseline * fold.queries for fold in self.folds) / count
        return baseline, baseline + self.gain

    def config(self, *, trust: bool = False) -> dict[str, Any]:
        """The configuration of the answer: the recorded pipeline's, with what was chosen.

        The caller vouches for it, so what could do harm of a recorded configuration takes `trust`.

        Raises:
            UntrustedConfigError: the recorded configuration takes `trust` (`hybridrank.component.trust`).
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
        PipelineConfig.load_stored(said, source="the recording", trust=trust)
        return said

    def write(self, path: str | PathLike[str], *, trust: bool = False) -> None:
        """Write the configuration as a TOML file; `trust` is as for `config`.

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
        text = tomli_w.dumps(_without_none(self.config(trust=trust)))
        try:
            replace_file(path, text)
        except OSError as error:
            raise StorageError(f"cannot write {fspath(path)!r}: {error.strerror}") from error

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        baseline, chosen = self.held_out
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
            "baseline": self.baseline.to_dict(),
            "best": self.best.to_dict(),
            "held_out": {
                "folds": len(self.folds),
                "baseline": baseline,
                "chosen": chosen,
                "gain": self.gain,
                "interval": None if self.interval is None else list(self.interval),
                "p": self.p,
                "choices": [
                    {**vars(fold), "chosen": fold.chosen.settings(), "label": fold.chosen.label}
                    for fold in self.folds
                ],
            },
            "kept": self.kept,
            "answer": self.answer.to_dict(),
            "frontier": [figures.to_dict() for figures in self.frontier],
            "statistics": {
                "test": "paired randomization, two-sided",
                "interval": "bootstrap (BCa) of the mean",
                "confidence": CONFIDENCE,
                "resamples": RESAMPLES,
                "seed": self.seed,
                "tolerance": self.tolerance,
            },
            "machine": self.machine,
            "warnings": list(self.warnings),
        }

    def _repr_html_(self) -> str:
        from hybridrank.evaluation.report.notebook import to_notebook

        return to_notebook(self)


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
