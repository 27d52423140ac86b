"""``hybridrank compare``: compares pipelines on judged queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridrank.cli.judged import choose_recording_path, documents_of, open_pipeline, show_report
from hybridrank.cli.options import (
    DatasetOptions,
    DepthOption,
    FullOption,
    HtmlOption,
    JsonOption,
    MarkdownOption,
    MeasuresOption,
    PricesOption,
    ResumeOption,
    TrustOption,
    grouped,
    parse_measures,
    parse_prices,
)
from hybridrank.cli.output import progress, progresses
from hybridrank.cli.stored import is_collection

if TYPE_CHECKING:
    from hybridrank.evaluation import Dataset, Recording
    from hybridrank.pipeline.config import PipelineConfig
    from hybridrank.pipeline.pipeline import Pipeline

__all__ = ["compare"]


@grouped
def compare(
    pipelines: Annotated[
        list[str],
        typer.Argument(help="Pipelines' TOML files, and recordings (.jsonl); name=path gives one a name."),
    ],
    judged: DatasetOptions,
    source: Annotated[
        Path | None,
        typer.Option("--source", help="A collection's directory, or files, in place of the dataset's documents."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="The pipeline to compare the others with; by default the first."),
    ] = None,
    k: DepthOption = 10,
    measures: MeasuresOption = None,
    prices: PricesOption = None,
    recordings: Annotated[
        Path | None, typer.Option("--recordings", help="A directory to keep searches in; else the user's cache.")
    ] = None,
    resume: ResumeOption = True,
    trust: TrustOption = False,
    full: FullOption = False,
    as_json: JsonOption = False,
    markdown: MarkdownOption = None,
    html: HtmlOption = None,
) -> None:
    """Compare pipelines on the same queries: differences with tests and intervals, time, cost, examples.

    Work that the pipelines share is done once; recorded searches are not repeated.
    """
    from hybridrank import evaluation
    from hybridrank.errors import InputError
    from hybridrank.evaluation import Recording

    paths = _names(pipelines, baseline)
    configs = {name: path for name, path in paths.items() if path.suffix.lower() == ".toml"}
    wanted = parse_measures(measures)
    if (configs or judged.queries is not None or source is not None) and not judged.given:
        raise InputError("say with --dataset which queries to search for; without it, compare recordings (.jsonl)")
    dataset = judged.load() if judged.given else None
    made = {name: Recording.load(path, name=name) for name, path in paths.items() if name not in configs}
    if configs and dataset is not None:
        with ExitStack() as stack:
            built = _build(stack, source, dataset, configs, trust=trust)
            places = {
                name: choose_recording_path(each, dataset, recordings, k, resume, folder=True)
                for name, each in built.items()
            }
            with progresses(*built) as bars:
                bar_of = dict(zip(built, bars, strict=True))
                done = evaluation.record_all(built, dataset, paths=places, k=k, progress=bar_of)
            made.update((recording.name, recording) for recording in done)
    costs = parse_prices(prices)
    everywhere = costs.pop("", {})
    comparison = evaluation.compare(
        [made[name] for name in paths],
        dataset=dataset,
        baseline=baseline,
        measures=wanted,
        prices=_prices_by_pipeline(everywhere, costs, made),
        k=k,
    )
    show_report(comparison, as_json=as_json, markdown=markdown, html=html, full=full)


def _build(
    stack: ExitStack, source: Path | None, dataset: Dataset, configs: Mapping[str, Path], *, trust: bool
) -> dict[str, Pipeline]:
    """A pipeline for each configuration, over one collection or the same documents."""
    from hybridrank.evaluation import build_all

    if source is not None and is_collection(source):
        unused = {"reranker": None, "adjust": ()}  # each configuration has its own
        whole = stack.enter_context(open_pipeline(source, unused, trust=trust))
        return {name: _over(whole, source, path) for name, path in configs.items()}
    loaded = {name: _config(path) for name, path in configs.items()}
    with progress("indexing") as bar:
        return build_all(documents_of(source, dataset), loaded, progress=bar)


def _over(pipeline: Pipeline, source: Path, config: Path) -> Pipeline:
    """A pipeline of another configuration over a collection.

    Raises:
        ConfigError: it needs other indexes.
    """
    from hybridrank.errors import ConfigError

    wanted = _config(config)
    said = wanted.model_fields_set
    if "retrievers" not in said:
        wanted = _config(config, retrievers=pipeline.config.retrievers)
    fixed = ("retrievers", "splitter", "indexed_fields", "fields")
    for name in fixed:
        if name in said and wanted.nameable()[name] != pipeline.config.nameable()[name]:
            raise ConfigError(f"{source} was built with other {name}; leave them out", path=f"{config}: $.{name}")
    changes = {name: getattr(wanted, name) for name in type(wanted).model_fields if name not in fixed}
    return pipeline.replace(**changes)


def _names(pipelines: Sequence[str], baseline: str | None) -> dict[str, Path]:
    """The paths by name: the one that is given, or the file's, with its directory's where two are alike.

    Raises:
        InputError: a file is neither a configuration nor a recording, two have one name, there is one only, or
            none has the baseline's name. All of that is checked before the first search.
    """
    from hybridrank.errors import InputError

    split = [text.partition("=") for text in pipelines]
    given = [(name, Path(path)) if equals else ("", Path(name)) for name, equals, path in split]
    stems = [path.stem for _, path in given]
    named: dict[str, Path] = {}
    for name, path in given:
        if path.suffix.lower() not in (".toml", ".jsonl"):
            raise InputError(f"{str(path)!r} is neither a pipeline's .toml file nor a recording (.jsonl)")
        folder = path.parent.name if stems.count(path.stem) > 1 else ""
        own = name or (f"{folder}/{path.stem}" if folder else path.stem)
        if own in named:
            raise InputError(f"two pipelines would be called {own!r}; name one, as in other={path}")
        named[own] = path
    if len(named) < 2:
        raise InputError("comparing takes at least two pipelines: configurations (.toml) or recordings (.jsonl)")
    if baseline is not None and baseline not in named:
        raise InputError(f"--baseline: no pipeline is called {baseline!r} (there are: {', '.join(named)})")
    return named


def _config(path: Path, **options: Any) -> PipelineConfig:
    """A configuration; of several files, an error names the one that it is in."""
    from hybridrank.errors import ConfigError
    from hybridrank.pipeline.config import PipelineConfig

    try:
        return PipelineConfig.load(path, **options)
    except ConfigError as error:
        if error.path != "$":
            error.path = f"{path}: {error.path}"
        raise


def _prices_by_pipeline(
    everywhere: Mapping[str, float], own: Mapping[str, Mapping[str, float]], made: Mapping[str, Recording]
) -> dict[str, Mapping[str, float]]:
    """Prices of each pipeline; those for all apply where something is counted of what they are for."""
    from hybridrank.errors import InputError

    prices: dict[str, Mapping[str, float]] = dict(own)
    used: set[str] = set()
    for name, recording in made.items():
        counts = (
            {"searches", "documents", "failures", "shortened", "seconds"}
            if "rerank" in recording.kinds.values()
            else set()
        )
        for search in recording.searches.values():
            for stage in search.trace.stages:
                if stage.kind == "rerank":
                    counts.update(stage.details)
        fitting = {counter: price for counter, price in everywhere.items() if counter in counts}
        used.update(fitting)
        if merged := {**fitting, **own.get(name, {})}:
            prices[name] = merged
    if idle := [counter for counter in everywhere if counter not in used]:
        raise InputError(f"--price: no pipeline counts {idle[0]!r}")
    return prices
