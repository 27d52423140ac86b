"""Everything that a pipeline derives from its configuration, once; every stage of every search reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from platform import node
from typing import Any

from hybridrank.blend import ConfidenceBlend, confidence_range_of, effective_blend
from hybridrank.collection.protocol import SearchableCollection
from hybridrank.component.base import Component, nested
from hybridrank.component.protocols import (
    BatchedFusion,
    ChecksSetup,
    IndexedRetriever,
    Retriever,
    VectorAdjuster,
    WeightedFusion,
)
from hybridrank.errors import ConfigError, InputError, MissingDependencyError, ModelError, StorageError
from hybridrank.fusion.weights import are_per_query
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.pipeline.latency_model import LatencyModel, LatencyModels
from hybridrank.pipeline.local_arms import LocalArms
from hybridrank.pipeline.observers import Observers
from hybridrank.pipeline.remote_arms import RemoteArms
from hybridrank.pipeline.scoring import RerankScorer
from hybridrank.relevance.scale import Scale, arm_identities
from hybridrank.rerank.members import known_identity
from hybridrank.result.usage import Usage
from hybridrank.runtime.drivers import AdmissionLimit

__all__ = ["SETUP_ERRORS", "Setup", "Shared", "check_setup", "indexed_retrievers", "with_layout"]

SETUP_ERRORS = (ConfigError, InputError, MissingDependencyError, ModelError)
"""Failures that waiting does not fix: they are raised, whatever `on_rerank_error` says."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a pipeline and all pipelines derived from it share."""

    latency_models: LatencyModels
    usage: Usage
    observers: Observers
    admission: AdmissionLimit


class Setup:
    """A configuration over a collection, ready to search."""

    def __init__(
        self, config: PipelineConfig, collection: SearchableCollection, shared: Shared, layout: Any
    ) -> None:
        """`layout` is the one of the collection that the configuration is for."""
        self.config = config
        self.layout = layout
        self.collection = collection
        self.shared = shared
        self.confidence_range = None if config.reranker is None else confidence_range_of(config.reranker)
        self.blend = effective_blend(config.blend, self.confidence_range)
        self.scale = _scale(config)
        self.needs_vectors = any(
            isinstance(adjuster, VectorAdjuster) and adjuster.needs_vectors for adjuster in config.adjust
        )
        self.scorer = None if config.reranker is None else RerankScorer.of(config.reranker)
        self.batched_fusion = config.fusion if isinstance(config.fusion, BatchedFusion) else None
        self.weighted_fusion = config.fusion if isinstance(config.fusion, WeightedFusion) else None
        self.weights_per_query = are_per_query(config.fusion)
        self.local = indexed_retrievers(config)
        self.remote: Mapping[str, Retriever] = {
            name: arm
            for name, arm in config.retrievers.items()
            if name not in self.local and isinstance(arm, Retriever)
        }
        self.remote_arms = RemoteArms(self.remote)
        self.arms = LocalArms(self.local, collection, remote=self.remote, layout=layout)

    def following(self) -> Setup:
        """The setup for the collection's layout of now: with its retrievers, and all other options as they are.

        Raises:
            StorageError: another option is none for these retrievers.
        """
        layout = self.collection.layout
        if layout is self.layout:
            return self
        return Setup(with_layout(self.config, layout), self.collection, self.shared, layout)

    def fused_weight(self, scores: Sequence[float]) -> float:
        """The weight of the fused order relative to these scores of the reranker."""
        if not isinstance(self.blend, ConfidenceBlend):
            return self.blend
        return self.blend.weight(scores, declared=self.confidence_range)

    @cached_property
    def latency_model(self) -> LatencyModel:
        """The latency model of the reranker on this machine."""
        reranker = self.config.reranker
        name = type(reranker).__qualname__
        if isinstance(reranker, Component):
            with suppress(ConfigError):
                name = json.dumps(reranker.to_config(), sort_keys=True)
        return self.shared.latency_models.of(f"{name} on {node()}")


def _scale(config: PipelineConfig) -> Scale:
    """The meaning of the reranker's scores.

    Raises:
        ConfigError: there is a `min_relevance`, and nothing gives relevance.
    """
    identity = None if config.reranker is None else known_identity(config.reranker)
    try:
        scale = Scale.of(
            config.relevance, config.reranker, identity=identity, arms=arm_identities(config.retrievers)
        )
    except ConfigError as error:
        raise ConfigError(error.problem, path=error.path.replace("$", "$.relevance", 1)) from None
    if config.min_relevance is not None and scale.curve is None:
        raise ConfigError(
            "it is about calibrated scores, and those of this pipeline are not: calibrate the reranker "
            "(hybridrank calibrate), or leave min_relevance out",
            path="$.min_relevance",
        )
    return scale


def indexed_retrievers(config: PipelineConfig) -> dict[str, IndexedRetriever]:
    """The retrievers whose indexes a collection holds, by name."""
    return {name: arm for name, arm in config.retrievers.items() if isinstance(arm, IndexedRetriever)}


def with_layout(config: PipelineConfig, layout: Any) -> PipelineConfig:
    """The configuration with the retrievers, the splitter and the indexed fields of a collection's layout.

    Raises:
        StorageError: another option is none for these retrievers.
    """
    options = {name: getattr(config, name) for name in PipelineConfig.model_fields}
    local = indexed_retrievers(config)
    remote = {name: arm for name, arm in config.retrievers.items() if name not in local}
    order = [*(layout.config.get("retrievers") or ()), *layout.retrievers, *remote]
    arms = {**remote, **layout.retrievers}
    options["retrievers"] = {name: arms[name] for name in dict.fromkeys(order) if name in arms}
    options["splitter"] = layout.splitter
    options["indexed_fields"] = tuple(layout.config.get("indexed_fields", ()))
    try:
        return PipelineConfig(**options)
    except ConfigError as error:
        raise StorageError(
            f"the collection was reindexed while this pipeline was open, whose options do not fit: open it again "
            f"({error})"
        ) from error


def check_setup(config: PipelineConfig) -> None:
    """Have every component raise now what would make all of its calls fail."""
    for name in type(config).model_fields:
        for part in nested(getattr(config, name)):
            if isinstance(part, ChecksSetup):
                part.check_setup()
