"""What a recording was made with, and how that differs from now."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hybridrank import __version__
from hybridrank.component.base import Component
from hybridrank.component.protocols import Embedder, Reranker
from hybridrank.component.stored_names import without_empty
from hybridrank.errors import ConfigError, InputError
from hybridrank.rerank.members import provenance_of

if TYPE_CHECKING:
    from hybridrank.evaluation.datasets.dataset import Dataset
    from hybridrank.evaluation.datasets.query_log import QueryLog
    from hybridrank.pipeline.config import PipelineConfig
    from hybridrank.pipeline.pipeline import Pipeline

__all__ = ["Header", "documents_digest", "settings_of"]

_WITHOUT_EFFECT = ("max_searches", "indexed_fields", "on_rerank_error")  # on what a search finds


@dataclass(frozen=True)
class Header:
    """The first line of a recording: everything that determines its searches, except the queries.

    `settings` is the pipeline's configuration; `models` has, by stage, what else determines its scores:
    versions, and digests of the model files where known. `documents` is how many there were, and their
    digest. `machine` is where latencies come from. `own` is the configuration of a pipeline that was recorded
    deeper than it searches, so that it can be tuned.
    """

    settings: Mapping[str, Any]
    k: int
    documents: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    per_document: bool = False
    dataset: str = ""
    split: str = ""
    synthetic: str = ""
    machine: str = ""
    own: Mapping[str, Any] | None = None
    hybridrank: str = __version__
    format: str = "hybridrank recording"
    version: int = 1

    @classmethod
    def of(cls, pipeline: Pipeline, *, k: int, dataset: Dataset | QueryLog) -> Header:
        """The header for a pipeline and a dataset. Every document is read once, for the digest."""
        return cls(
            settings=settings_of(pipeline.config),
            k=k,
            documents={
                "count": len(pipeline),
                "digest": documents_digest(pipeline.collection.documents()),
            },
            models=_models(pipeline.config),
            per_document=pipeline.collection.splitter is not None,
            dataset=dataset.name,
            split=dataset.split,
            synthetic=dataset.synthetic,
            machine=_machine(),
        )

    def difference(self, other: Header) -> str | None:
        """The first difference that can change searches: ``$.fusion.k was 60, is 20``."""
        mine, others = self._decisive_settings(), other._decisive_settings()
        return next(_differences(mine, others, "$"), None)

    @property
    def digest(self) -> str:
        """A hash of everything that determines the searches; 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self._decisive_settings(), sort_keys=True).encode()).hexdigest()[:16]

    def _decisive_settings(self) -> dict[str, Any]:
        settings = {name: value for name, value in self.settings.items() if name not in _WITHOUT_EFFECT}
        deciding = {**settings, "k": self.k, "models": self.models, "documents": self.documents}
        return dict(without_empty(deciding))


def settings_of(config: PipelineConfig) -> dict[str, Any]:
    """A configuration as JSON values; an object without a registered name is described by its class."""
    return {
        name: _describe(getattr(config, name)) if value is None else value
        for name, value in config.nameable().items()
        if value is not None or getattr(config, name) is not None
    }


def documents_digest(documents: Iterable[Any]) -> str:
    """A hash of documents, whatever their order; 16 hexadecimal digits."""
    total = 0
    for document in documents:
        said = json.dumps(
            [document.id, document.text, document.title, dict(document.metadata)],
            ensure_ascii=False,
            sort_keys=True,
            default=str,
        )
        total ^= int.from_bytes(hashlib.blake2b(said.encode(), digest_size=8).digest(), "big")
    return f"{total:016x}"


def _describe(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {name: _describe(each) for name, each in part.items()}
    if isinstance(part, tuple):
        return [_describe(each) for each in part]
    if isinstance(part, Component):
        with suppress(ConfigError):
            return part.to_config()
    identity = getattr(part, "identity", None)
    return identity if isinstance(identity, str) else f"<{type(part).__module__}.{type(part).__qualname__}>"


def _models(config: PipelineConfig) -> dict[str, list[str]]:
    models = {}
    for name, arm in config.retrievers.items():
        embedder = getattr(arm, "embedder", None)
        if isinstance(embedder, Embedder):
            models[name] = [
                told
                for what in ("identity", "fingerprint")
                if isinstance(told := getattr(embedder, what, None), str)
            ]
    if isinstance(config.reranker, Reranker):
        models["rerank"] = []
        with suppress(InputError):
            models["rerank"] = list(provenance_of(config.reranker))
    return {stage: told for stage, told in models.items() if told}


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"


def _differences(was: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*was, *now]):
            yield from _differences(was.get(name), now.get(name), f"{path}.{name}")
    elif was != now:
        yield f"{path} was {_brief(was)}, is {_brief(now)}"


def _brief(value: Any) -> str:
    said = "not there" if value is None else json.dumps(value, ensure_ascii=False)
    return said if len(said) <= 80 else f"{said[:79]}…"
