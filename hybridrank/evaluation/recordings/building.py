"""Pipelines of several configurations over the same documents, each index built once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from hybridrank.collection import MemoryCollection
from hybridrank.component.protocols import IndexedRetriever
from hybridrank.errors import ConfigError, InputError
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.recordings.recorder import record
from hybridrank.evaluation.recordings.recording import Recording
from hybridrank.evaluation.replay.reuse import Reuse
from hybridrank.ingest.splitting.auto import fitting_splitter
from hybridrank.pipeline.config import PipelineConfig
from hybridrank.pipeline.pipeline import Pipeline
from hybridrank.types import Document, Progress

__all__ = ["build_all", "record_all"]


def build_all(
    documents: Iterable[Document], configs: Mapping[str, PipelineConfig], *, progress: Progress | None = None
) -> dict[str, Pipeline]:
    """A pipeline in memory for each configuration, by name.

    Arms with the same configuration over the same passages share one index, so nothing is embedded twice. The
    pipelines are for reading: do not add to them, or delete. `progress` counts documents, once for each way to
    split them.

    Raises:
        InputError: there are no documents, or something else is wrong with them.
    """
    kept = list(documents)
    if not kept:
        raise InputError("there are no documents to search")
    configs = _split_alike(configs)
    groups: dict[str, list[str]] = {}
    for name, config in configs.items():
        groups.setdefault(json.dumps(_describe(config.splitter)), []).append(name)
    arms: dict[str, dict[str, IndexedRetriever]] = {}
    own: dict[str, dict[str, str]] = {}
    for group, names in groups.items():
        built: dict[str, IndexedRetriever] = {}
        for name in names:
            own[name] = {}
            for arm, retriever in configs[name].retrievers.items():
                if isinstance(retriever, IndexedRetriever):
                    key = json.dumps(_describe(retriever), sort_keys=True)
                    built.setdefault(key, retriever)
                    own[name][arm] = key
        arms[group] = built
    total = len(kept) * len(arms)
    pipelines: dict[str, Pipeline] = {}
    before = 0
    for group, names in groups.items():
        whole = MemoryCollection(
            {key: arm.create_index() for key, arm in arms[group].items()},
            splitter=configs[names[0]].with_splitter()[1],
        )

        def report(done: int, _total: int, start: int = before) -> None:
            if progress is not None:
                progress(start + done, total)

        whole.add(kept, progress=report)
        before += len(kept)
        for name in names:
            pipelines[name] = Pipeline(configs[name], whole.with_arms(own[name]))
    return {name: pipelines[name] for name in configs}


def _split_alike(configs: Mapping[str, PipelineConfig]) -> dict[str, PipelineConfig]:
    """The configurations with one splitter, which fits the models of all, where it is to be chosen."""
    chosen = [config for config in configs.values() if config.splitter == "auto"]
    embedders = [each for config in chosen for each in config.embedders]
    splitter = fitting_splitter(embedders, [config.reranker for config in chosen]) if chosen else None
    return {
        name: config.model_copy(update={"splitter": splitter}) if config.splitter == "auto" else config
        for name, config in configs.items()
    }


def record_all(
    pipelines: Mapping[str, Pipeline],
    dataset: Dataset,
    *,
    paths: Mapping[str, Any] | None = None,
    k: int = 10,
    progress: Mapping[str, Progress] | None = None,
) -> list[Recording]:
    """Record several pipelines over the same documents, each reusing the results of those before it.

    `paths` and `progress` are by pipeline, and as for `record`; `Reuse` describes what is reused. Pipelines that
    `build_all` made, or `Pipeline.replace` of one another, share the most.

    Raises:
        HybridrankError: as `record`; what was recorded is kept.
    """
    reuse = Reuse()
    return [
        record(
            pipeline,
            dataset,
            path=(paths or {}).get(name),
            name=name,
            k=k,
            reuse=reuse,
            progress=(progress or {}).get(name),
        )
        for name, pipeline in pipelines.items()
    ]


def _describe(part: Any) -> Any:
    """Describe a component by its configuration, or by its object identity where it has none."""
    try:
        return None if part is None else part.to_config()
    except (AttributeError, ConfigError):
        return f"object {id(part)}"
