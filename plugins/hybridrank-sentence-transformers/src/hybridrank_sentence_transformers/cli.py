"""``hybridrank train``: mine, fine-tune a reranker or an embedder, export. torch is imported by what needs it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridrank.cli import JsonOption, TrustOption, err, print_rows, progress, say, say_json

if TYPE_CHECKING:
    from hybridrank.evaluation import Dataset
    from hybridrank_sentence_transformers.training import TrainingOptions, Tuned

__all__ = ["app"]

app = typer.Typer(
    help="Fine-tune a reranker or an embedder on your own documents and queries.", no_args_is_help=True
)

MinedArgument = Annotated[Path, typer.Argument(help="What mine wrote.")]
IntoOption = Annotated[Path, typer.Option("--into", help="The new directory of the model.")]
ModelOption = Annotated[str | None, typer.Option(help="What to start from: a model's id, or its directory.")]
OptionOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="An option of the training, as epochs=2; may be repeated. The README has all."),
]


@app.command()
def mine(
    data: Annotated[
        str, typer.Argument(help="A BEIR directory; or a CSV or TSV of query and relevant_id, of clicks, say.")
    ],
    into: Annotated[Path, typer.Option("--into", help="The file to write; an interrupted one is resumed.")],
    collection: Annotated[
        Path | None, typer.Option(help="The collection to mine; else the data's own documents are indexed.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A pipeline's TOML file, for those.")] = None,
    split: Annotated[str, typer.Option(help="Queries to learn from, of a BEIR directory.")] = "train",
    test_split: Annotated[
        str | None, typer.Option(help="Queries to judge the result by, of the same BEIR directory.")
    ] = None,
    test: Annotated[str | None, typer.Option(help="Queries to judge the result by, in another place.")] = None,
    test_share: Annotated[
        float, typer.Option(min=0, max=0.9, help="Else: the share of the queries that is set aside for it.")
    ] = 0.2,
    dev_share: Annotated[
        float, typer.Option(min=0, max=0.9, help="The share of the training queries that says when to stop.")
    ] = 0.1,
    depth: Annotated[int, typer.Option(min=2, help="Fused candidates for each query.")] = 50,
    teacher: Annotated[str | None, typer.Option(help="A registered reranker that scores them.")] = None,
    teacher_options: Annotated[str, typer.Option(help="Its options, as a JSON object.")] = "{}",
    held_out_documents: Annotated[
        str, typer.Option(help="What may be learned of the test's documents: no-positives, nowhere or anywhere.")
    ] = "no-positives",
    queries: Annotated[int | None, typer.Option(min=1, help="Learn from at most so many, at random.")] = None,
    test_queries: Annotated[int | None, typer.Option(min=1, help="Judge by at most so many.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="For every random choice.")] = 0,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Mine training data: search for judged queries, and write the training data."""
    from typing import get_args

    from hybridrank.errors import ConfigError
    from hybridrank.training import HeldOutDocuments
    from hybridrank.training import mine as mined

    if held_out_documents not in get_args(HeldOutDocuments):
        raise ConfigError(f"one of {', '.join(get_args(HeldOutDocuments))}", path="--held-out-documents")
    train, held_out = _parts(data, split, test_split, test, test_share, seed)
    if queries is not None:
        train = train.sample(queries, seed=seed)
    if test_queries is not None and held_out is not None:
        held_out = held_out.sample(test_queries, seed=seed)
    with _pipeline(collection, config, train, trust=trust) as pipeline, progress("mining") as bar:
        found = mined(
            pipeline,
            into,
            train=train,
            test=held_out,
            depth=depth,
            teacher=None if teacher is None else {**_object(teacher_options, "--teacher-options"), "use": teacher},
            held_out_documents=held_out_documents,  # type: ignore[arg-type]
            dev_share=dev_share,
            seed=seed,
            progress=bar,
        )
    _tell({**found.counts, "documents": len(found.documents)}, as_json)


@app.command()
def reranker(
    mined: MinedArgument,
    into: IntoOption,
    model: ModelOption = None,
    loss: Annotated[
        str,
        typer.Option(help="lambda, listnet, plistmle, ranknet, bce; of a teacher: distil-listnet, distil-margin."),
    ] = "lambda",
    options: OptionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune a cross-encoder. The same command goes on with a training that was interrupted."""
    from hybridrank_sentence_transformers.training import train_reranker

    chosen: dict[str, Any] = {} if model is None else {"model": model}
    with _quietly(), progress("training") as bar:
        made = train_reranker(mined, into, loss=loss, options=_options(options), progress=bar, **chosen)
    _report(made, as_json)


@app.command()
def embedder(
    mined: MinedArgument,
    into: IntoOption,
    model: ModelOption = None,
    options: OptionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune an embedder on the same data. The same command goes on with a training that was interrupted."""
    from hybridrank_sentence_transformers.training import train_embedder

    chosen: dict[str, Any] = {} if model is None else {"model": model}
    defaults = {"batch_size": 32, "negatives": 1, "positives": 2}
    with _quietly(), progress("training") as bar:
        made = train_embedder(mined, into, options=_options(options, defaults), progress=bar, **chosen)
    _report(made, as_json)


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A model that was trained, or any other with weights for torch.")],
    into: Annotated[Path, typer.Option("--into", help="The new directory.")],
    mined: Annotated[Path, typer.Option("--mined", help="What mine wrote: the graph is checked by it.")],
    int8: Annotated[bool, typer.Option("--int8", help="Add a graph with weights of 8 bits.")] = False,
    min_correlation: Annotated[float, typer.Option(help="Of the int8 graph's scores with the model's.")] = 0.95,
    max_difference: Annotated[float, typer.Option(help="Of those, in standard deviations.")] = 1.0,
    as_json: JsonOption = False,
) -> None:
    """Export a model for ONNX Runtime, as hybridrank's cross-encoder and onnx embedder open it."""
    from dataclasses import asdict

    from hybridrank_sentence_transformers.training import export_onnx

    with _quietly():
        found = export_onnx(
            model, into, mined, int8=int8, min_correlation=min_correlation, max_difference=max_difference
        )
    print_rows([asdict(each) for each in found], as_json=as_json)


def _parts(
    data: str, split: str, test_split: str | None, test: str | None, test_share: float, seed: int
) -> tuple[Dataset, Dataset | None]:
    """The queries to learn from, and those to judge by."""
    from hybridrank.errors import InputError
    from hybridrank.evaluation import load_dataset

    train = load_dataset(data, split=split if Path(data).is_dir() else None)
    if test is not None and test_split is not None and not Path(test).is_dir():
        raise InputError(f"--test-split goes with a BEIR directory, and {test} is none")
    if test is not None or test_split is not None:
        return train, load_dataset(test or data, split=test_split)
    size = round(len(train) * test_share)
    if not size:
        return train, None
    if size == len(train):
        raise InputError(f"{len(train)} queries are too few to set aside {test_share} of; give --test, or more")
    held_out = train.sample(size, seed=seed)
    rest = [query_id for query_id in train.queries if query_id not in held_out.queries]
    return train.only(rest), held_out


def _pipeline(collection: Path | None, config: Path | None, data: Dataset, *, trust: bool) -> Any:
    from hybridrank import Pipeline
    from hybridrank.errors import InputError

    with progress("indexing") as bar:
        if collection is None:
            return Pipeline.build(data.documents(), config=config, progress=bar)
        if config is not None:
            raise InputError(f"{collection} is a collection, and was built with its own configuration")
        return Pipeline.open(collection, trust=trust, progress=bar)


def _options(given: list[str] | None, defaults: Mapping[str, Any] | None = None) -> TrainingOptions:
    from hybridrank.errors import ConfigError
    from hybridrank_sentence_transformers.training import TrainingOptions

    chosen: dict[str, Any] = dict(defaults or {})
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals:
            raise ConfigError(f"{each!r} is not NAME=VALUE", path="--set")
        chosen[name.strip().replace("-", "_")] = None if value.strip().lower() == "none" else value.strip()
    return TrainingOptions(**chosen)


def _object(text: str, option: str) -> dict[str, Any]:
    from hybridrank.errors import ConfigError

    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"not JSON: {error}", path=option) from None
    if not isinstance(value, dict):
        raise ConfigError("not a JSON object", path=option)
    return value


@contextmanager
def _quietly() -> Iterator[None]:
    """Disable the bars and the reports of transformers: progress is reported here."""
    with suppress(ImportError):  # a missing package is reported where it is needed
        from transformers.utils import logging

        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _tell(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(facts)
        return
    for name, value in facts.items():
        say(f"{name.replace('_', ' ')}: {value:,}")


def _report(made: Tuned, as_json: bool) -> None:
    if as_json:
        say_json({"path": str(made.path), **made.report})
        return
    found = made.evaluation
    if found is None:
        err("there were no test queries: nothing is known about how good it is")
    else:
        print_rows(
            [
                {"order": name, **{measure: f"{value:.4f}" for measure, value in means.items()}}
                for name, means in found["means"].items()
            ],
            as_json=False,
        )
        for name, each in found["tuned_against"].items():
            low, high = each["interval"]
            interval = f"({low:+.4f} to {high:+.4f})"
            say(f"tuned against {name}: {each['difference']:+.4f} {interval}, p = {each['p']:.4f}")
    say(str(made.path))
