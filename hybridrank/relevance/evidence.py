"""Evidence that a search found an answer, from its stages alone: no index and no model is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybridrank.result.trace import Stage

__all__ = ["evidence_features", "weighted_evidence"]


def evidence_features(stages: Sequence[Stage]) -> dict[str, float]:
    """The features of a search: ``best``, the best score of the reranker, and ``<arm>.best``, that of each arm.

    Stages without scores give none. Other features were tried, and are no help on other collections than they
    were fitted on (docs/relevance.md).
    """
    features = {}
    for stage in stages:
        if not stage.scores:
            continue
        if stage.kind == "rerank":
            features["best"] = max(stage.scores)
        elif stage.kind == "retrieve" and stage.arm == stage.name:
            features[f"{stage.name}.best"] = max(stage.scores)
    return features


def weighted_evidence(features: Mapping[str, float], weights: Mapping[str, float]) -> float | None:
    """The weighted sum of the features; None if one that has a weight is missing."""
    if not features.keys() >= weights.keys():
        return None
    return sum(weight * features[name] for name, weight in weights.items())
