"""``hybridrank judge``: synthetic judgments by a chat model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridrank.cli import JsonOption, counted, err, is_collection, progress, say, say_json

if TYPE_CHECKING:
    from hybridrank.evaluation import Dataset
    from hybridrank.types import Document
    from hybridrank_llm.judging import ChatModel, Counts

__all__ = ["app"]

app = typer.Typer(
    help="Synthetic judgments by a chat model, marked as such in every report.", no_args_is_help=True
)

IntoOption = Annotated[Path, typer.Option("--into", help="The dataset's directory; what is there is resumed.")]
UrlOption = Annotated[str, typer.Option("--url", help="Where the API is, as in http://localhost:8000/v1.")]
ModelOption = Annotated[str, typer.Option("--model", help="The model's name at that server.")]
KeyOption = Annotated[
    str | None, typer.Option("--api-key-env", help="The environment variable that holds the key.")
]
ConcurrencyOption = Annotated[int, typer.Option("--concurrency", min=1, help="Requests at one time.")]
ExtraOption = Annotated[
    str, typer.Option("--extra", help='Further fields of each request, as JSON: {"max_tokens": 200}.')
]
StructuredOption = Annotated[
    bool, typer.Option("--structured", help="Ask the server to hold the model to a JSON schema.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of what is drawn at random.")]
PricesOption = Annotated[
    list[str] | None,
    typer.Option("--price", help="What one token costs, as in input_tokens=0.0000002; may be repeated."),
]


@app.command("queries")
def queries(
    into: IntoOption,
    url: UrlOption,
    model: ModelOption,
    source: Annotated[
        Path | None,
        typer.Argument(help="A collection's directory, or files; without it, what the dataset's directory has."),
    ] = None,
    number: Annotated[int, typer.Option("-n", "--queries", min=1, help="How many queries.")] = 50,
    split: Annotated[str, typer.Option("--split", help="What these judgments are called.")] = "test",
    api_key_env: KeyOption = None,
    concurrency: ConcurrencyOption = 8,
    structured: StructuredOption = False,
    extra: ExtraOption = "{}",
    seed: SeedOption = 0,
    prices: PricesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a model write queries for documents that are drawn at random; each document answers its query.

    If interrupted, the same command resumes.
    """
    from hybridrank_llm.judging import make_queries

    chosen, costs = _model(url, model, api_key_env, concurrency, structured, extra), _prices(prices)
    with progress("queries") as bar:
        dataset, counts = make_queries(
            _documents(source), model=chosen, into=into, queries=number, split=split, seed=seed, progress=bar
        )
    _show(dataset, counts, costs, into, as_json=as_json)


@app.command("grade")
def grade(
    recordings: Annotated[list[Path], typer.Argument(help="Recordings, as hybridrank evaluate makes them.")],
    into: IntoOption,
    url: UrlOption,
    model: ModelOption,
    documents: Annotated[
        Path | None,
        typer.Option("--documents", help="What was searched; without it, what the dataset's directory has."),
    ] = None,
    depth: Annotated[int, typer.Option("--depth", min=1, help="The first so many after each stage.")] = 10,
    number: Annotated[int | None, typer.Option("--queries", min=1, help="Only so many, at random.")] = None,
    split: Annotated[str, typer.Option("--split", help="What these judgments are called.")] = "graded",
    api_key_env: KeyOption = None,
    concurrency: ConcurrencyOption = 8,
    structured: StructuredOption = False,
    extra: ExtraOption = "{}",
    seed: SeedOption = 0,
    prices: PricesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a model grade, from 0 to 3, the first results of recorded pipelines.

    If interrupted, the same command resumes.
    """
    from hybridrank.evaluation import Recording
    from hybridrank_llm.judging import grade as graded

    chosen, costs = _model(url, model, api_key_env, concurrency, structured, extra), _prices(prices)
    made = [Recording.load(path) for path in recordings]
    with progress("grading") as bar:
        dataset, counts = graded(
            made,
            _documents(documents),
            model=chosen,
            into=into,
            depth=depth,
            queries=number,
            split=split,
            seed=seed,
            progress=bar,
        )
    _show(dataset, counts, costs, into, as_json=as_json)


def _model(
    url: str, model: str, api_key_env: str | None, concurrency: int, structured: bool, extra: str
) -> ChatModel:
    from hybridrank.errors import ConfigError
    from hybridrank.remote import Limits
    from hybridrank_llm.judging import ChatModel

    try:
        fields = json.loads(extra)
    except ValueError as error:
        raise ConfigError(f"not JSON: {error}", path="--extra") from None
    if not isinstance(fields, dict):
        raise ConfigError("not a JSON object", path="--extra")
    return ChatModel(
        url=url,
        model=model,
        api_key_env=api_key_env,
        structured=structured,
        extra=fields,
        limits=Limits(concurrency=concurrency, timeout=60.0),
    )


def _documents(source: Path | None) -> list[Document] | None:
    if source is None:
        return None
    if is_collection(source):
        from hybridrank import Collection

        with Collection.open(source, {}) as collection:
            return list(collection.documents())
    from hybridrank.ingest import load_documents

    return list(load_documents(source, on_skip=lambda path, reason: err(f"skipped {path}: {reason}")))


def _prices(texts: Sequence[str] | None) -> dict[str, float]:
    from hybridrank.errors import InputError

    prices = {}
    for text in texts or ():
        counter, _, amount = text.partition("=")
        try:
            prices[counter] = float(amount)
        except ValueError:
            prices[counter] = -1.0
        if counter not in ("input_tokens", "output_tokens", "requests") or not 0 <= prices[counter] < float("inf"):
            raise InputError(f"--price is as in input_tokens=0.0000002 (or output_tokens, requests), not {text!r}")
    return prices


def _show(dataset: Dataset, counts: Counts, prices: Mapping[str, float], into: Path, *, as_json: bool) -> None:
    judged = sum(map(len, dataset.qrels.values()))
    grades = [grade for of in dataset.qrels.values() for grade in of.values()]
    said: dict[str, Any] = {
        "dataset": str(into),
        "split": dataset.split,
        "synthetic": dataset.synthetic,
        "queries": len(dataset),
        "judgments": judged,
        "grades": {str(grade): grades.count(grade) for grade in sorted(set(grades))},
        "counts": dict(counts),
    }
    if prices:
        said["cost"] = sum(price * counts.get(counter, 0) for counter, price in prices.items())
    if as_json:
        say_json(said, indent=2)
        return
    say(f"{counted(judged, 'judgment')} of {len(dataset):,} queries, by {dataset.synthetic}: synthetic")
    say("grades: " + ", ".join(f"{number:,} of {grade}" for grade, number in said["grades"].items()))
    say(", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items()))
    if "cost" in said:
        say(f"cost at the prices given: {said['cost']:.4g}")
    say(f"use it: hybridrank evaluate --dataset {into} --split {dataset.split}")
