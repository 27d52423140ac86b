"""``hybridrank search`` and ``hybridrank demo``: search, with the ranks at each stage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridrank.cli.hits import hits_as_json, show
from hybridrank.cli.judged import open_pipeline
from hybridrank.cli.options import (
    FilterOption,
    JsonOption,
    ReadingOptions,
    RerankerOption,
    TemporaryConfigOption,
    TrustOption,
    grouped,
    parse_filter,
)
from hybridrank.cli.output import err, progress, say, say_json, say_text
from hybridrank.cli.stored import hint_absent_fields, is_collection

if TYPE_CHECKING:
    from hybridrank.context import Context
    from hybridrank.pipeline.pipeline import Pipeline
    from hybridrank.result.hits import SearchResult

__all__ = ["demo", "search"]

_NOT_ANSWERED = 3
_CONTEXT_TOKENS = 3000


def demo(
    documents: Annotated[int, typer.Option(min=10, help="Index at most this many docstrings.")] = 1000,
    k: Annotated[int, typer.Option("-k", min=1, help="Results for each question.")] = 3,
    reranker: RerankerOption = None,
) -> None:
    """Search the Python standard library by meaning, and show the ranks at each stage."""
    from hybridrank.cli.demo import QUESTIONS, standard_library
    from hybridrank.pipeline.pipeline import Pipeline

    corpus = standard_library(documents)
    say(f"Indexing {len(corpus)} docstrings of the standard library for BM25 and for vectors …")
    options: dict[str, Any] = {} if reranker is None else {"reranker": reranker}
    with progress("indexing") as bar:
        pipeline = Pipeline.build(corpus, progress=bar, **options)
    for question in QUESTIONS:
        say()
        say(f"— {question}")
        result = pipeline.search(question, k=k)
        show(result, pipeline.snippets(result), explain=True)
    if sys.stdin.isatty():
        _ask(pipeline, k=k, explain=True)


@grouped
def search(
    source: Annotated[Path, typer.Argument(help="A collection's directory; or a file, or a directory of files.")],
    query: Annotated[
        list[str] | None,
        typer.Argument(help="Queries, each in quotes; without one, they are read from the terminal."),
    ] = None,
    *,
    k: Annotated[int, typer.Option("-k", min=1, help="Results for each query.")] = 5,
    filters: FilterOption = None,
    per_document: Annotated[
        bool, typer.Option("--per-document", help="Only the best passage of each document.")
    ] = False,
    min_score: Annotated[
        float | None,
        typer.Option(
            help="Drop hits that the reranker scored lower or did not score; if it failed, none are dropped."
        ),
    ] = None,
    min_relevance: Annotated[
        float | None,
        typer.Option(help="Drop hits of a lower relevance, 0 to 1, or that the reranker did not score."),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(help="Time limit of each search, in seconds; the reranker scores as many candidates as fit."),
    ] = None,
    config: TemporaryConfigOption = None,
    reranker: RerankerOption = None,
    reading: ReadingOptions,
    trust: TrustOption = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show every stage's ranks and scores.")] = False,
    context: Annotated[
        bool, typer.Option("--context", help="Print the hits as numbered sources for a prompt instead.")
    ] = False,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="The size of --context, of about three bytes a token; by default 3000."),
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="How --context is written: text, markdown or xml; by default text.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search a collection, or index a file or a directory of files in memory and search it.

    Exits with 3 if nothing in it answers a question; where that is unknown, with 0.
    """
    from hybridrank.context import pack
    from hybridrank.errors import InputError
    from hybridrank.types import Query

    if not context and (max_tokens is not None or template is not None):
        raise InputError("--max-tokens and --template go with --context")
    if context and explain:
        raise InputError("--context does not go with --explain")
    packing: dict[str, Any] = {"max_tokens": max_tokens or _CONTEXT_TOKENS, "template": template or "text"}
    if context:
        pack([], **packing)  # a wrong template is reported before anything is indexed
    chosen = parse_filter(filters)
    queries = [Query(text, filters=chosen) for text in query or ()]
    if not queries and (as_json or context or not sys.stdin.isatty()):
        raise InputError("give at least one query")
    options: dict[str, Any] = {} if reranker is None else {"reranker": reranker}
    if is_collection(source):
        if given := [*(["--config"] if config is not None else []), *reading.given]:
            raise InputError(f"{source} is a collection, and was built with its own {given[0]}; leave that out")
        pipeline = open_pipeline(source, options, trust=trust)
    else:
        pipeline = _build(source, reading.arguments(), config, options)
    how: dict[str, Any] = {"per_document": per_document, "min_score": min_score, "deadline": deadline}
    if min_relevance is not None:
        how["min_relevance"] = min_relevance
    answered = []
    with pipeline:
        if deadline is not None:
            pipeline.warm_up()  # else loading the models would take all of the time
        if not queries:
            _ask(pipeline, k=k, explain=explain, filters=chosen, **how)
        for asked in queries:
            result = pipeline.search(asked, k=k, **how)
            answered.append(result.answered)
            if as_json:
                written = hits_as_json(result, pipeline.snippets(result))
                if context:
                    written["context"] = pack(result, collection=pipeline, **packing).to_dict()
                say_json(written)
            elif context:
                _say_context(result, pack(result, collection=pipeline, **packing))
            else:
                say(f"— {asked.text}")
                show(result, pipeline.snippets(result), explain=explain)
            if not result.hits:
                hint_absent_fields(pipeline.collection, chosen)
    if False in answered:
        raise typer.Exit(_NOT_ANSWERED)


def _say_context(result: SearchResult, packed: Context) -> None:
    """Print the sources on standard output, to be piped, and what is missing on standard error."""
    for stage, reason in result.degraded.items():
        err(f"degraded: {stage}: {reason}")
    for each in packed.dropped:
        err(f"left out {each.id}: {each.reason}")
    if packed.cut:
        err("the first source is too long, and was cut")
    if result.answered is False:
        err("probably none of these answers the question")
    say_text(packed.text)


def _build(path: Path, reading: dict[str, Any], config: Path | None, options: dict[str, Any]) -> Pipeline:
    from hybridrank.ingest.files import load_documents
    from hybridrank.pipeline.pipeline import Pipeline

    def on_skip(path: Path, reason: str) -> None:
        err(f"skipped {path}: {reason}")

    def on_note(path: Path, note: str) -> None:
        err(f"{path}: {note}")

    documents = load_documents(path, **reading, on_skip=on_skip, on_note=on_note)
    with progress("indexing") as bar:
        return Pipeline.build(documents, config=config, progress=bar, **options)


def _ask(pipeline: Pipeline, *, k: int, explain: bool, **options: Any) -> None:
    """Answer queries from the terminal until there are no more."""
    while True:
        try:
            question = input("\nquery (empty to stop)> ").strip()
        except (EOFError, KeyboardInterrupt):
            say()
            return
        if not question:
            return
        result = pipeline.search(question, k=k, **options)
        show(result, pipeline.snippets(result), explain=explain)
