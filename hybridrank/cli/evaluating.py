"""``hybridrank evaluate`` and ``compare``: how good a pipeline is on judged queries, and which one is better."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridrank.cli.output import JsonOption, counted, err, progress, progresses, say_json
from hybridrank.cli.stored import TrustOption, is_collection

if TYPE_CHECKING:
    from hybridrank.evaluation import Dataset, Recording
    from hybridrank.evaluation.report.content import Report
    from hybridrank.pipeline.config import PipelineConfig
    from hybridrank.pipeline.pipeline import Pipeline

__all__ = [
    "ConfigOption",
    "DatasetOption",
    "DepthOption",
    "HtmlOption",
    "IgnoredOption",
    "MarkdownOption",
    "QrelsOption",
    "QueriesOption",
    "RerankerOption",
    "ResumeOption",
    "SourceArgument",
    "SplitOption",
    "TopicsOption",
    "begin_recording",
    "compare",
    "evaluate",
    "judged_queries",
    "measure_names",
    "parsed_prices",
    "pipeline_over",
    "show_report",
]

DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset", help="A BEIR directory, a .csv or .tsv with query and relevant_id, or ir_datasets:<id>."
    ),
]
SplitOption = Annotated[str | None, typer.Option("--split", help="Of a BEIR directory; else test.")]
TopicsOption = Annotated[Path | None, typer.Option("--topics", help="A TREC topics file, with --qrels.")]
QrelsOption = Annotated[Path | None, typer.Option("--qrels", help="A TREC qrels file, with --topics.")]
IgnoredOption = Annotated[
    Path | None,
    typer.Option("--ignored", help="A table of query-id and corpus-id: documents to take out of rankings."),
]
QueriesOption = Annotated[
    int | None, typer.Option("--queries", min=1, help="Only so many queries, chosen by chance (seed 0).")
]
MeasuresOption = Annotated[
    str | None, typer.Option("--measures", help='Names of ir_measures, as in "nDCG@10, RR@10, P@5".')
]
DepthOption = Annotated[int, typer.Option("-k", min=1, help="Results asked for.")]
PricesOption = Annotated[
    list[str] | None,
    typer.Option("--price", help="What one of something costs, as in search_units=0.002; may be repeated."),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume/--no-resume", help="Go on with what was recorded before, or begin anew.")
]
MarkdownOption = Annotated[Path | None, typer.Option("--markdown", help="Write the report to this file, too.")]
SourceArgument = Annotated[
    Path | None,
    typer.Argument(help="A collection's directory, or files; without it, the dataset's own documents."),
]
ConfigOption = Annotated[Path | None, typer.Option(help="A pipeline's TOML file, where there is no collection.")]
RerankerOption = Annotated[str | None, typer.Option(help="A registered reranker, or none.")]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="Write it as a page with pictures, too.")]


def evaluate(
    source: SourceArgument = None,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    topics: TopicsOption = None,
    qrels: QrelsOption = None,
    ignored: IgnoredOption = None,
    queries: QueriesOption = None,
    config: ConfigOption = None,
    reranker: RerankerOption = None,
    k: DepthOption = 10,
    measures: MeasuresOption = None,
    prices: PricesOption = None,
    recording: Annotated[
        Path | None, typer.Option("--recording", help="Where the searches are kept; else in the user's cache.")
    ] = None,
    resume: ResumeOption = True,
    trust: TrustOption = False,
    as_json: JsonOption = False,
    markdown: MarkdownOption = None,
    html: HtmlOption = None,
) -> None:
    """Search for judged queries, and measure every stage: quality, time, cost.

    Each search is recorded as it is made; interrupted, the same command goes on where it stopped.
    """
    from hybridrank.errors import InputError
    from hybridrank.evaluation import evaluate as measured
    from hybridrank.evaluation import record

    judged = judged_queries(dataset, split, topics, qrels, ignored, queries)
    options: dict[str, Any] = {} if reranker is None else {"reranker": reranker}
    wanted = measure_names(measures)
    costs = parsed_prices(prices)
    if "" not in costs and costs:
        raise InputError("--price takes no pipeline here: as in search_units=0.002")
    with ExitStack() as stack:
        pipeline = stack.enter_context(pipeline_over(source, judged, config, options, trust=trust))
        place = _place(pipeline, judged, recording, k, resume)
        with progress("searching") as bar:
            made = record(pipeline, judged, path=place, name=_named(source, config, judged), k=k, progress=bar)
    evaluation = measured(made, measures=wanted, prices=costs.get(""))
    show_report(evaluation, as_json=as_json, markdown=markdown, html=html, recording=made)


def compare(
    pipelines: Annotated[
        list[str],
        typer.Argument(help="Pipelines' TOML files, and recordings (.jsonl); name=path gives one a name."),
    ],
    dataset: DatasetOption = None,
    split: SplitOption = None,
    topics: TopicsOption = None,
    qrels: QrelsOption = None,
    ignored: IgnoredOption = None,
    queries: QueriesOption = None,
    source: Annotated[
        Path | None,
        typer.Option("--source", help="A collection's directory, or files, in place of the dataset's documents."),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Which one the others are compared with; else the first.")
    ] = None,
    k: DepthOption = 10,
    measures: MeasuresOption = None,
    prices: PricesOption = None,
    recordings: Annotated[
        Path | None, typer.Option("--recordings", help="A directory to keep searches in; else the user's cache.")
    ] = None,
    resume: ResumeOption = True,
    trust: TrustOption = False,
    full: Annotated[
        bool, typer.Option("--full", help="Print examples and every stage, too; files always have them.")
    ] = False,
    as_json: JsonOption = False,
    markdown: MarkdownOption = None,
    html: HtmlOption = None,
) -> None:
    """Compare pipelines on the same queries: differences with tests and intervals, time, cost, examples.

    What two pipelines have in common is done once; what was recorded before is not done again.
    """
    from hybridrank.errors import InputError
    from hybridrank.evaluation import Recording, build_all, record_all
    from hybridrank.evaluation import compare as compared

    named = _names(pipelines, baseline)
    configs = {name: path for name, path in named.items() if path.suffix.lower() == ".toml"}
    wanted = measure_names(measures)
    given = any(each is not None for each in (dataset, topics, qrels))
    if (configs or queries is not None or source is not None) and not given:
        raise InputError("say with --dataset which queries to search for; without it, compare recordings (.jsonl)")
    judged = judged_queries(dataset, split, topics, qrels, ignored, queries) if given else None
    made: dict[str, Recording] = {
        name: Recording.load(path, name=name) for name, path in named.items() if name not in configs
    }
    if configs and judged is not None:
        with ExitStack() as stack:
            if source is not None and is_collection(source):
                unused = {"reranker": None, "adjust": ()}  # each configuration has its own
                whole = stack.enter_context(_opened(source, unused, trust=trust))
                built = {name: _over(whole, source, path) for name, path in configs.items()}
            else:
                loaded = {name: _config(path) for name, path in configs.items()}
                with progress("indexing") as bar:
                    built = build_all(_documents(source, judged), loaded, progress=bar)
            places = {
                name: _place(each, judged, recordings, k, resume, folder=True) for name, each in built.items()
            }
            with progresses(*built) as bars:
                done = record_all(built, judged, paths=places, k=k, progress=dict(zip(built, bars, strict=True)))
            made.update((recording.name, recording) for recording in done)
    costs = parsed_prices(prices)
    everywhere = costs.pop("", {})
    comparison = compared(
        [made[name] for name in named],
        dataset=judged,
        baseline=baseline,
        measures=wanted,
        prices=_by_pipeline(everywhere, costs, made),
        k=k,
    )
    show_report(comparison, as_json=as_json, markdown=markdown, html=html, full=full)


def judged_queries(
    name: str | None,
    split: str | None,
    topics: Path | None,
    qrels: Path | None,
    ignored: Path | None,
    queries: int | None,
) -> Dataset:
    """The dataset that a command's options name.

    Raises:
        InputError: they name none or two, or something in it is wrong.
    """
    from hybridrank.errors import InputError
    from hybridrank.evaluation import load_dataset, load_trec

    if (topics is None) != (qrels is None):
        raise InputError("--topics and --qrels go together")
    if (name is None) == (topics is None):
        raise InputError("say which queries are judged: --dataset, or --topics and --qrels")
    if topics is not None and qrels is not None:
        if split is not None:
            raise InputError("--split goes with a BEIR directory only")
        found = load_trec(topics, qrels, ignored=ignored)
    else:
        found = load_dataset(str(name), split=split, ignored=ignored)
    return found if queries is None else found.sample(queries)


def _documents(source: Path | None, dataset: Dataset | None) -> Any:
    if source is None:
        return () if dataset is None else dataset.documents()
    from hybridrank.ingest.files import load_documents

    return load_documents(source, on_skip=lambda path, reason: err(f"skipped {path}: {reason}"))


def pipeline_over(
    source: Path | None, dataset: Dataset | None, config: Path | None, options: dict[str, Any], *, trust: bool
) -> Pipeline:
    """A collection's pipeline, or one that is built for the command.

    Raises:
        InputError: a collection is to have another configuration.
    """
    from hybridrank.errors import InputError
    from hybridrank.pipeline.pipeline import Pipeline

    if source is not None and is_collection(source):
        if config is not None:
            raise InputError(f"{source} is a collection, and was built with its own --config; leave that out")
        return _opened(source, options, trust=trust)
    with progress("indexing") as bar:
        return Pipeline.build(_documents(source, dataset), config=config, progress=bar, **options)


def _opened(source: Path, options: dict[str, Any], *, trust: bool) -> Pipeline:
    from hybridrank.pipeline.pipeline import Pipeline

    with progress("making indexes again") as bar:
        return Pipeline.open(source, trust=trust, progress=bar, **options)


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
    fixed = ("retrievers", "splitter", "indexed_fields")
    for name in fixed:
        if name in said and wanted.nameable()[name] != pipeline.config.nameable()[name]:
            raise ConfigError(f"{source} was built with other {name}; leave them out", path=f"{config}: $.{name}")
    changes = {name: getattr(wanted, name) for name in type(wanted).model_fields if name not in fixed}
    return pipeline.replace(**changes)


def _place(
    pipeline: Pipeline, dataset: Dataset, given: Path | None, k: int, resume: bool, *, folder: bool = False
) -> Path:
    """The file to record in; told, so that it can be found again."""
    from hybridrank.evaluation.recordings.recorder import recording_path
    from hybridrank.evaluation.recordings.settings import Header
    from hybridrank.models.digests import cache_folder

    place = given if given is not None else cache_folder().expanduser() / "hybridrank" / "recordings"
    if given is None or folder:
        with _writing(place):
            place.mkdir(parents=True, exist_ok=True)
    if place.is_dir():  # only then: a header takes every document, for their digest
        place = recording_path(place, Header.of(pipeline, k=k, dataset=dataset), dataset)
    begin_recording(place, resume=resume)
    return place


def begin_recording(place: Path, *, resume: bool) -> None:
    """Tell where is recorded, and remove what is there if that is not to be gone on with.

    Raises:
        StorageError: it cannot be removed.
    """
    from hybridrank.runtime.files import appending

    with _writing(place):
        if not resume and place.exists():
            with appending(place, what="recording"):  # which nobody else is writing
                place.unlink()
    err(f"{'going on with' if place.exists() else 'recording in'} {place}")


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    from hybridrank.errors import StorageError

    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write to {str(place)!r}: {error.strerror}") from error


def measure_names(text: str | None) -> list[str] | None:
    """Names, with commas or blanks between; checked before anything is searched for."""
    if text is None:
        return None
    from hybridrank.evaluation.metrics.measures import measure_name

    return [measure_name(name) for name in re.split(r"[,\s]+(?![^()]*\))", text.strip(", ")) if name]


def parsed_prices(texts: Sequence[str] | None) -> dict[str, dict[str, float]]:
    """By pipeline ("" for all), the price of each thing."""
    from hybridrank.errors import InputError

    prices: dict[str, dict[str, float]] = {}
    for text in texts or ():
        counter, equals, amount = text.rpartition("=")
        pipeline, _, counter = counter.rpartition(":")
        try:
            price = float(amount)
        except ValueError:
            price = -1.0
        if not equals or not counter or not 0 <= price < float("inf"):
            raise InputError(f"--price is as in search_units=0.002, or cohere:search_units=0.002; not {text!r}")
        prices.setdefault(pipeline, {})[counter] = price
    return prices


def _by_pipeline(
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


def _names(pipelines: Sequence[str], baseline: str | None) -> dict[str, Path]:
    """The paths by name: the one that is given, or the file's, with its directory's where two are alike.

    Raises:
        InputError: a file is neither a configuration nor a recording, two have one name, there is one only, or
            none has the baseline's name. All of that is told before anything is searched for.
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
    """A configuration; of several files, a mistake is told with the one that it is in."""
    from hybridrank.errors import ConfigError
    from hybridrank.pipeline.config import PipelineConfig

    try:
        return PipelineConfig.load(path, **options)
    except ConfigError as error:
        if error.path != "$":
            error.path = f"{path}: {error.path}"
        raise


def _named(source: Path | None, config: Path | None, dataset: Dataset) -> str:
    if config is not None:
        return config.stem
    return source.name if source is not None else dataset.name


def show_report(
    report: Report,
    *,
    as_json: bool,
    markdown: Path | None,
    html: Path | None,
    recording: Recording | None = None,
    full: bool = False,
) -> None:
    """Print a report, or its JSON, and write it where it is asked for.

    Raises:
        StorageError: a file cannot be written.
    """
    from rich.console import Console

    from hybridrank.errors import StorageError
    from hybridrank.evaluation.report import print_report, to_html, to_markdown
    from hybridrank.runtime.files import replace_file

    try:
        if markdown is not None:
            replace_file(markdown, to_markdown(report))
        if html is not None:
            replace_file(html, to_html(report, recording=recording))
    except OSError as error:
        raise StorageError(f"cannot write {error.filename!r}: {error.strerror}") from error
    if as_json:
        say_json(report.to_dict(), indent=2)
    else:
        print_report(report, Console(highlight=False, width=None if sys.stdout.isatty() else 120), full=full)
    for path in (markdown, html):
        if path is not None:
            err(f"wrote {path} ({counted(path.stat().st_size, 'byte')})")
