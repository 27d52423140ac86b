"""The settings of a pipeline that a replay can change: arms, fusion, depths, blend and early stopping."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

from hybridrank.blend import ConfidenceBlend, confidence_range_of, effective_blend
from hybridrank.component.base import Component
from hybridrank.component.protocols import Fusion
from hybridrank.component.registry import create
from hybridrank.component.stored_names import without_empty
from hybridrank.errors import ConfigError, HybridrankError, InputError, UntrustedConfigError
from hybridrank.evaluation.recordings.settings import Header
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.rerank.early_stopping import EarlyStopping
from hybridrank.rerank.members import is_pointwise
from hybridrank.types import Candidates, Query, Ranking

__all__ = ["Variant"]


@dataclass(frozen=True)
class Variant:
    """The settings of a pipeline that a recorded search can be replayed with.

    `arms` are the retrievers in use; `rerank_k` 0 means no reranking. `confidence_range` is that of the reranker
    (`ConfidentReranker`), for a blend by confidence. `pointwise` is False where the reranker may give a document
    another score in another list.
    """

    arms: tuple[str, ...]
    fusion: Fusion
    fetch_k: int
    rerank_k: int
    blend: float | ConfidenceBlend = field(default_factory=ConfidenceBlend)
    stop: EarlyStopping | None = None
    confidence_range: tuple[float, float] | None = None
    pointwise: bool = True

    @classmethod
    def of(cls, config: PipelineConfig, **changes: Any) -> Variant:
        """The settings of a configuration, with some changed.

        Raises:
            InputError: it has adjusters, which read documents or vectors that no trace holds.
        """
        if config.adjust:
            raise InputError(
                f"adjusters ({', '.join(config.adjusters)}) read what no recording holds, so that they cannot be "
                "replayed; leave `adjust` out"
            )
        reranker = config.reranker
        own = cls(
            arms=tuple(config.retrievers),
            fusion=config.fusion,
            fetch_k=config.fetch_k,
            rerank_k=0 if reranker is None else config.rerank_k,
            blend=config.blend,
            stop=config.stop,
            confidence_range=None if reranker is None else confidence_range_of(reranker),
            pointwise=reranker is None or is_pointwise(reranker),
        )
        return replace(own, **changes)

    @classmethod
    def recorded(cls, header: Header, *, trust: bool = False) -> Variant:
        """The settings of the recorded pipeline; its own, where it was recorded deeper than it searches.

        Raises:
            UntrustedConfigError: making the recorded parts takes `trust` (`hybridrank.component.trust`).
            InputError: it has adjusters, or a part that no configuration can name.
        """
        return cls.of(config_of(header, trust=trust))

    @classmethod
    def onto(
        cls,
        header: Header,
        config: str | PathLike[str] | Mapping[str, Any] | PipelineConfig,
        *,
        trust: bool = False,
    ) -> Variant:
        """The settings of another configuration; arms and reranker that it leaves out are those recorded.

        Raises:
            UntrustedConfigError: making the recorded parts takes `trust` (`hybridrank.component.trust`).
            ConfigError: it is wrong.
            InputError: it has an arm or a reranker that was not recorded, or adjusters.
        """
        recorded = config_of(header, trust=trust)
        try:
            said = PipelineConfig.load(config)
        except ConfigError:  # it may name an arm that is there only in what was recorded
            said = PipelineConfig.load(config, retrievers=recorded.retrievers)
        arms = recorded.retrievers
        if "retrievers" in said.model_fields_set and said.retrievers is not recorded.retrievers:
            for name, arm in said.retrievers.items():
                if name not in arms or _is_other(arm, header.settings["retrievers"][name]):
                    raise InputError(
                        f"arm {name!r} was not recorded with these options: search with it, and record"
                    )
            arms = {name: arms[name] for name in said.retrievers}
        reranker = recorded.reranker
        if "reranker" in said.model_fields_set:
            if said.reranker is not None and _is_other(said.reranker, header.settings.get("reranker")):
                raise InputError("this reranker was not recorded: search with it, and record")
            reranker = said.reranker
        wanted = PipelineConfig.load(said, retrievers=arms, reranker=reranker)
        return cls.of(wanted)

    def weight(self, scores: Sequence[float]) -> float:
        """The weight of the fused order, given these scores of the reranker."""
        rule = self.effective_blend
        return rule.weight(scores, declared=self.confidence_range) if isinstance(rule, ConfidenceBlend) else rule

    @property
    def effective_blend(self) -> float | ConfidenceBlend:
        """The blend that applies to this reranker; 0 means none."""
        return effective_blend(self.blend, self.confidence_range)

    def settings(self, *, other: Variant | None = None) -> dict[str, Any]:
        """The settings as values of a configuration; with `other`, only those that differ."""
        said = _choices(self)
        if other is None:
            return said
        others = _choices(other)
        return {name: value for name, value in said.items() if value != others[name]}

    @property
    def label(self) -> str:
        """The settings in a few words."""
        fused = f"{_describe_fusion(self.fusion, self.arms)} of {self.fetch_k}"
        if len(self.arms) == 1:
            fused = f"{self.arms[0]} alone"
        if not self.rerank_k:
            return f"{fused}, not reranked"
        blend = "blend by confidence" if isinstance(self.blend, ConfidenceBlend) else f"blend {self.blend:g}"
        stop = ", stopping when settled" if self.stop is not None else ""
        return f"{fused}, {self.rerank_k} reranked, {blend}{stop}"


def config_of(header: Header, *, trust: bool = False) -> PipelineConfig:
    """The configuration of the pipeline that was recorded, its own where it was recorded deeper.

    Retrievers stand for themselves and search nothing; so does a reranker that no configuration can name.

    Raises:
        UntrustedConfigError: making its parts takes `trust`.
        InputError: it has a part that decides replays and that no configuration can name, or that is not there.
    """
    said = dict(header.own or header.settings)
    said["retrievers"] = {name: _RecordedArm() for name in said["retrievers"]}
    said.pop("splitter", None)
    said.pop("expand", None)  # its formulations are in the traces
    unnamed = isinstance(said.get("reranker"), str) and said["reranker"] != "none"
    if unnamed:
        said["reranker"] = _RecordedReranker()
    try:
        config = PipelineConfig.load_stored(
            said,
            source="the recording",
            trust=trust,
            only_made=["reranker"],  # it is asked what it is, never for scores
        )
    except UntrustedConfigError:
        raise
    except HybridrankError as error:
        raise InputError(
            f"the recorded pipeline cannot be made again to be replayed: {error}; give its configuration"
        ) from error
    if unnamed and isinstance(config.blend, ConfidenceBlend) and config.blend.score_range is None:
        raise InputError(
            "the recorded pipeline blends by what its reranker says of its scores, and that was an object that no "
            "configuration can name; give the pipeline's configuration"
        )
    return config


class _RecordedArm:
    """A placeholder for a retriever whose rankings were recorded."""

    def retrieve(self, queries: Sequence[Query], *, k: int) -> Sequence[Ranking]:  # noqa: ARG002
        """Find nothing: replays read what was recorded."""
        raise InputError("a replay does not search")


class _RecordedReranker:
    """A placeholder for a reranker whose scores were recorded."""

    pointwise = True  # else it could not have been recorded with `stop`

    def score(self, batch: Sequence[Candidates]) -> Sequence[Sequence[float]]:  # noqa: ARG002
        """Score nothing: replays read what was recorded."""
        raise InputError("a replay does not rerank")


def _is_other(part: Any, recorded: Any) -> bool:
    """Whether the configuration of a component differs from the recorded one."""
    config = to_plain(part)
    if recorded in (None, "none"):
        return True
    if not isinstance(config, Mapping) or not isinstance(recorded, Mapping):
        return False
    return bool(without_empty(config) != without_empty(recorded))


def _choices(variant: Variant) -> dict[str, Any]:
    return {
        "arms": list(variant.arms),
        "fusion": to_plain(variant.fusion),
        "fetch_k": variant.fetch_k,
        "rerank_k": variant.rerank_k,
        "blend": to_plain(variant.blend),
        "stop": to_plain(variant.stop),
    }


def to_plain(part: Any) -> Any:
    """The configuration of a component; its class where it has none."""
    if isinstance(part, Component):
        with suppress(ConfigError):
            return json.loads(json.dumps(part.to_config()))
    if part is None or isinstance(part, (int, float, str)):
        return part
    return f"<{type(part).__module__}.{type(part).__qualname__}>"


def _describe_fusion(fusion: Fusion, arms: Sequence[str]) -> str:
    said = to_plain(fusion)
    if not isinstance(said, Mapping):
        return str(said)
    weights = said.get("weights", {})
    shares = " : ".join(f"{weights.get(arm, 1.0):g}" for arm in arms)
    defaults = to_plain(create("fusion", said["use"])) if said["use"] in ("rrf", "score") else {}
    options = [
        f"{name} {value}" if not isinstance(value, str) else value
        for name, value in said.items()
        if name not in ("use", "weights") and (value != defaults.get(name) or isinstance(value, str))
    ]
    return f"{said['use']} {shares}" + (f" ({', '.join(options)})" if options else "")
