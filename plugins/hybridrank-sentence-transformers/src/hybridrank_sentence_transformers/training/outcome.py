"""What a training comes to: how well the held-out queries are ranked before and after, and the directory made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hybridrank.evaluation import Evaluator, holm, mean_interval, paired_test
from hybridrank.runtime import replace_file
from hybridrank.training import MinedQuery
from hybridrank_sentence_transformers.training.card import model_card
from hybridrank_sentence_transformers.training.scoring import MEASURE

__all__ = ["Tuned", "judged", "write_result"]

_MEASURES = (MEASURE, "RR@10", "R@10")


@dataclass(frozen=True)
class Tuned:
    """A trained model's directory, and the report that lies in it as ``training.json``.

    ``report["evaluation"]`` has the means of each measure by order (``fused``, ``untuned``, ``tuned``), and what
    the tuned one is better than, with the interval and the p-value of the difference; None without test queries.
    """

    path: Path
    report: Mapping[str, Any]

    @property
    def evaluation(self) -> Mapping[str, Any] | None:
        """The part of the report that says how good it is."""
        found: Mapping[str, Any] | None = self.report["evaluation"]
        return found


def judged(
    queries: Sequence[MinedQuery], orders: Mapping[str, Mapping[str, Sequence[str]]], *, seed: int
) -> dict[str, Any] | None:
    """Measure orders of the held-out queries, and compare ``tuned`` with each other one; None without queries.

    Differences are paired by query: a two-sided randomization test, p-values corrected by Holm's method for the
    number of comparisons, and a 95 % bootstrap interval.
    """
    if not queries:
        return None
    measuring = Evaluator({query.id: query.relevance for query in queries}, list(_MEASURES))
    values = {name: measuring.per_query(order) for name, order in orders.items()}
    means = {
        name: {measure: sum(by.values()) / len(by) for measure, by in per_query.items()}
        for name, per_query in values.items()
    }
    return {
        "queries": len(queries),
        "means": means,
        "tuned_against": _compared(values, seed) if len(queries) > 1 else {},
    }


def _compared(values: Mapping[str, Mapping[str, Mapping[str, float]]], seed: int) -> dict[str, Any]:
    tuned = list(values["tuned"][MEASURE].values())
    others = {name: list(values[name][MEASURE].values()) for name in values if name != "tuned"}
    tests = [paired_test(tuned, other, seed=seed) for other in others.values()]
    found = {}
    for (name, other), p in zip(others.items(), holm([each for each in tests if each is not None]), strict=True):
        gains = [mine - its for mine, its in zip(tuned, other, strict=True)]
        interval = mean_interval(gains, seed=seed)
        found[name] = {
            "difference": sum(gains) / len(gains),
            "interval": None if interval is None else list(interval),
            "p": p,
        }
    return found


def write_result(network: Any, report: Mapping[str, Any], directory: Path) -> None:
    """Save the model, the report and the card."""
    network.save_pretrained(str(directory), create_model_card=False)
    told = {
        **report,
        "versions": {name: version(name) for name in ("torch", "transformers", "sentence-transformers")},
    }
    replace_file(directory / "training.json", json.dumps(told, ensure_ascii=False, indent=2) + "\n")
    replace_file(directory / "README.md", model_card(told))
