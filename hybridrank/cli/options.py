"""Every option that more than one command takes, declared once, and what is parsed from their values.

A group is a dataclass of options: a command that is decorated with `grouped` takes the group as one parameter.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

if TYPE_CHECKING:
    from hybridrank.component import DocumentSplitter
    from hybridrank.evaluation import Dataset
    from hybridrank.filters.language import Filter
    from hybridrank.ingest import Splitter
    from hybridrank.pipeline.config import PipelineConfig

__all__ = [
    "CollectionArgument",
    "DatasetOptions",
    "DepthOption",
    "FilterOption",
    "FullOption",
    "HtmlOption",
    "IndexFieldOption",
    "IntoOption",
    "JsonOption",
    "MarkdownOption",
    "MeasuresOption",
    "NewCollectionOptions",
    "OnErrorOption",
    "PresetOption",
    "PricesOption",
    "ReadingOptions",
    "RecordingArgument",
    "RerankerOption",
    "ResumeOption",
    "SourceArgument",
    "TemporaryConfigOption",
    "TrustOption",
    "grouped",
    "parse_filter",
    "parse_measures",
    "parse_prices",
    "sized_splitter",
]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of its groups: of each parameter whose type is a dataclass."""
    signature = inspect.signature(command, eval_str=True)
    groups = {
        name: each.annotation
        for name, each in signature.parameters.items()
        if isinstance(each.annotation, type) and dataclasses.is_dataclass(each.annotation)
    }
    options: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name not in groups:
            options.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        hints = get_type_hints(groups[name], include_extras=True)
        options += (
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=hints[each.name]
            )
            for each in dataclasses.fields(groups[name])
        )

    def run(**given: Any) -> None:
        made = {
            name: group(**{each.name: given.pop(each.name) for each in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        command(**given, **made)

    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    run.__annotations__ = {each.name: each.annotation for each in options}
    run.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]
    return run


# ── output ───────────────────────────────────────────────────────────────────────────────────────────────────────

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MarkdownOption = Annotated[Path | None, typer.Option("--markdown", help="Write the report to this file, too.")]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="Write it as a page with pictures, too.")]
FullOption = Annotated[
    bool, typer.Option("--full", help="Print examples and every stage, too; files always have them.")
]

# ── collections ──────────────────────────────────────────────────────────────────────────────────────────────────

CollectionArgument = Annotated[Path, typer.Argument(help="A collection's directory.")]
IntoOption = Annotated[
    Path, typer.Option("--into", help="The collection's directory; it is created if there is none.")
]
PresetOption = Annotated[
    str | None,
    typer.Option("--preset", help="A prepared configuration, for a new collection; `models presets` lists them."),
]
FilterOption = Annotated[
    str | None, typer.Option("--filter", help='Only documents whose metadata match, as {"year": {"$gte": 2020}}.')
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Use the stored configuration as it is, even if it runs code, asks servers or reads files.",
    ),
]


def parse_filter(text: str | None) -> Filter | None:
    """Parse the value of ``--filter``.

    Raises:
        InputError: it is not JSON, or not a filter.
    """
    from hybridrank.errors import InputError
    from hybridrank.filters.language import Filter

    if text is None:
        return None
    try:
        return Filter.of(json.loads(text))
    except InputError as error:
        raise InputError(f"--filter: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f'--filter: not JSON: {error}; write it as {{"year": {{"$gte": 2020}}}}') from None


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────

OnErrorOption = Annotated[
    Literal["skip", "raise"],
    typer.Option(
        help="What to do with a record that cannot be used: skip it, or raise it as an error of its file."
    ),
]


IndexFieldOption = Annotated[
    list[str] | None,
    typer.Option("--index-field", help="A metadata field to index for quick filters; may be repeated."),
]


def sized_splitter(before: DocumentSplitter | None, max_tokens: int | None, overlap: int | None) -> Splitter:
    """A splitter with other sizes. A document that fits into a passage of a given size stays whole.

    Raises:
        InputError: the splitter is not hybridrank's own.
    """
    from hybridrank.errors import InputError
    from hybridrank.ingest import Splitter

    if before is None:
        before = Splitter()
    elif not isinstance(before, Splitter):
        name = getattr(before, "use", type(before).__name__)
        raise InputError(f'--max-tokens and --overlap are options of hybridrank\'s splitter; this one is "{name}"')
    size = before.max_tokens if max_tokens is None else max_tokens
    whole = before.keep_whole if max_tokens is None or before.keep_whole is None else size
    repeated = min(before.overlap, size // 2) if overlap is None else overlap
    return Splitter.from_config(
        {**before.to_config(), "max_tokens": size, "overlap": repeated}
        | ({} if whole is None else {"keep_whole": whole})
    )


@dataclass(frozen=True)
class NewCollectionOptions:
    """How a new collection is built; an existing one must have been built in the same way."""

    config: Annotated[
        Path | None, typer.Option("--config", help="A pipeline's TOML file, for a new collection.")
    ] = None
    preset: PresetOption = None
    index_field: IndexFieldOption = None
    no_split: Annotated[
        bool, typer.Option("--no-split", help="Keep every document whole, however long it is.")
    ] = False
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            min=32,
            help="The maximum size of a passage, and of a whole document; by default what fits the models.",
        ),
    ] = None
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap", min=0, help="The maximum number of tokens that a passage repeats; by default 32."
        ),
    ] = None

    def settings(self) -> PipelineConfig:
        """The configuration of a new collection.

        Raises:
            ConfigError: the file cannot be read, or the configuration is wrong.
            InputError: options contradict each other.
        """
        from hybridrank.errors import InputError
        from hybridrank.pipeline.config import PipelineConfig

        sized = self.max_tokens is not None or self.overlap is not None
        if self.no_split and sized:
            raise InputError("--no-split does not go with --max-tokens and --overlap")
        settings = PipelineConfig.load(self.config, preset=self.preset)
        options: dict[str, Any] = {}
        if self.index_field:
            options["indexed_fields"] = tuple(dict.fromkeys(self.index_field))
        if self.no_split:
            options["splitter"] = None
        elif sized:
            options["splitter"] = sized_splitter(settings.with_splitter()[1], self.max_tokens, self.overlap)
        return PipelineConfig.load(settings, **options) if options else settings

    @property
    def given(self) -> dict[str, str]:
        """The fields of the configuration that were given, each with its option."""
        given = {} if not self.index_field else {"indexed_fields": "--index-field"}
        splitting = ("no_split", "max_tokens", "overlap")
        if option := next((name for name in splitting if getattr(self, name) not in (None, False)), None):
            given["splitter"] = f"--{option.replace('_', '-')}"
        return given


@dataclass(frozen=True)
class ReadingOptions:
    """How files are read."""

    text_field: Annotated[
        str | None, typer.Option(help="The field of a record that holds the text; by default text.")
    ] = None
    id_field: Annotated[
        str | None, typer.Option(help="The field of a record that holds the id; by default id or _id.")
    ] = None
    encoding: Annotated[
        str | None,
        typer.Option(
            help="The encoding of text files that have no byte order mark and declare none; by default UTF-8."
        ),
    ] = None
    types: Annotated[
        list[str] | None,
        typer.Option(
            help="Types of columns of CSV and TSV, as year=int,zip=str, of str, int, float, bool, date; or one "
            "for all, as str. The others are inferred."
        ),
    ] = None
    quotes: Annotated[
        bool | None, typer.Option(help="Whether quotation marks enclose fields: by default in CSV, not in TSV.")
    ] = None

    @property
    def given(self) -> list[str]:
        """The options that were given, as they are written: ``--text-field``."""
        return [f"--{name.replace('_', '-')}" for name, value in vars(self).items() if value is not None]

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `hybridrank.ingest.files.load_documents`.

        Raises:
            InputError: ``--types`` gives no types.
        """
        return {**vars(self), "text_field": self.text_field or "text", "types": self._types()}

    def _types(self) -> Any:
        from hybridrank.errors import InputError

        parts = [part.strip() for text in self.types or () for part in text.split(",")]
        if len(parts) == 1 and "=" not in parts[0]:
            return parts[0]
        types: dict[str, str] = {}
        for part in parts:
            column, equals, kind = part.rpartition("=")
            if not equals or not column.strip():
                raise InputError(f"--types is as in year=int,zip=str, or one type for all columns, not {part!r}")
            types[column.strip()] = kind.strip()
        return types


# ── pipelines, and what they are evaluated on ────────────────────────────────────────────────────────────────────

SourceArgument = Annotated[
    Path | None,
    typer.Argument(help="A collection's directory, or files; without it, the dataset's own documents."),
]
RecordingArgument = Annotated[Path, typer.Argument(help="What record, evaluate or compare wrote (.jsonl).")]
TemporaryConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A pipeline's TOML file; a collection has its own configuration.")
]
RerankerOption = Annotated[str | None, typer.Option(help="A registered reranker, or none.")]
DepthOption = Annotated[int, typer.Option("-k", min=1, help="Results for each query.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume/--no-resume", help="Continue what was recorded before, or start again.")
]
KeptRecordingOption = Annotated[
    Path | None, typer.Option("--recording", help="Where the searches are kept; else in the user's cache.")
]
MeasuresOption = Annotated[
    str | None, typer.Option("--measures", help='Names of ir_measures, as in "nDCG@10, RR@10, P@5".')
]
PricesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price", help="The price of one unit of a usage counter, as in search_units=0.002; may be repeated."
    ),
]


@dataclass(frozen=True)
class DatasetOptions:
    """Which judged queries."""

    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", help="A BEIR directory, a .csv or .tsv with query and relevant_id, or ir_datasets:<id>."
        ),
    ] = None
    split: Annotated[
        str | None, typer.Option("--split", help="The split of a BEIR directory; by default test.")
    ] = None
    topics: Annotated[Path | None, typer.Option("--topics", help="A TREC topics file, with --qrels.")] = None
    qrels: Annotated[Path | None, typer.Option("--qrels", help="A TREC qrels file, with --topics.")] = None
    ignored: Annotated[
        Path | None,
        typer.Option(
            "--ignored", help="A table of query-id and corpus-id: documents to remove from the rankings."
        ),
    ] = None
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries", min=1, help="The number of queries to sample at random (seed 0); by default all."
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether any judgments are named."""
        return any(each is not None for each in (self.dataset, self.topics, self.qrels))

    def load(self) -> Dataset:
        """Load the dataset.

        Raises:
            InputError: the options name none or two, or something in it is wrong.
        """
        from hybridrank.errors import InputError
        from hybridrank.evaluation import load_dataset, load_trec

        if (self.topics is None) != (self.qrels is None):
            raise InputError("--topics and --qrels go together")
        if (self.dataset is None) == (self.topics is None):
            raise InputError("say which queries are judged: --dataset, or --topics and --qrels")
        if self.topics is not None and self.qrels is not None:
            if self.split is not None:
                raise InputError("--split goes with a BEIR directory only")
            found = load_trec(self.topics, self.qrels, ignored=self.ignored)
        else:
            found = load_dataset(str(self.dataset), split=self.split, ignored=self.ignored)
        return found if self.queries is None else found.sample(self.queries)


def parse_measures(text: str | None) -> list[str] | None:
    """Parse the value of ``--measures``: names with commas or blanks between them; unknown ones are an error."""
    if text is None:
        return None
    from hybridrank.evaluation.metrics.measures import measure_name

    return [measure_name(name) for name in re.split(r"[,\s]+(?![^()]*\))", text.strip(", ")) if name]


def parse_prices(texts: Sequence[str] | None) -> dict[str, dict[str, float]]:
    """Parse the values of ``--price``: the price of each thing, by pipeline ("" for all).

    Raises:
        InputError: one is not ``name=number`` or ``pipeline:name=number``.
    """
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
