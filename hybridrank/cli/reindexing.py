"""``hybridrank reindex``: another splitter, embedder or index for a live collection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridrank.cli.judged import open_pipeline
from hybridrank.cli.options import CollectionArgument, IndexFieldOption, JsonOption, TrustOption, sized_splitter
from hybridrank.cli.output import counted, err, progress, progresses, say, say_json
from hybridrank.cli.stored import open_documents

if TYPE_CHECKING:
    from hybridrank.collection import ReindexReport
    from hybridrank.component.protocols import IndexedRetriever
    from hybridrank.evaluation import Gate
    from hybridrank.pipeline.pipeline import Pipeline
    from hybridrank.types import Progress

__all__ = ["reindex"]


def reindex(
    path: CollectionArgument,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="A pipeline's TOML file: what it names is changed, the rest stays."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=32, help="Split documents into passages of at most so many tokens.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(min=0, help="Tokens that a passage repeats from the one before it.")
    ] = None,
    no_split: Annotated[bool, typer.Option("--no-split", help="Index documents whole.")] = False,
    embedder: Annotated[
        str | None, typer.Option(help="A registered embedder, or the id of a model that the onnx embedder runs.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="The language of BM25's text analysis.")] = None,
    index_field: IndexFieldOption = None,
    gate: Annotated[
        Path | None,
        typer.Option(
            help="Judged questions: a .csv or .tsv with query and relevant_id, a BEIR directory, or a recording "
            "(.jsonl). The collection is switched only if it is not significantly worse on them."
        ),
    ] = None,
    measure: Annotated[str, typer.Option(help="The gate's measure, a name of ir_measures.")] = "nDCG@10",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and how many texts must be embedded.")
    ] = False,
    rollback: Annotated[
        bool,
        typer.Option("--rollback", help="Go back to the layout of before, or remove the one that is being built."),
    ] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Remove the layout of before the last reindex, and free its space.")
    ] = False,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Change how a collection splits, embeds and indexes its documents, while it is in use.

    The other layout is built next to the current one: searches and writes go on meanwhile, in every process. Then
    the collection is switched to it at once, and the layout of before is kept until --finish; --rollback goes back
    to it. Texts that were embedded before are not embedded again. If it is interrupted, the same command goes on.

    Exit status 1 if the gate refuses; nothing is switched then.
    """
    from hybridrank.errors import InputError

    changes = [config, max_tokens, overlap, no_split or None, embedder, language, index_field]
    named = any(each is not None for each in changes)
    if sum((named, rollback, finish)) != 1:
        raise InputError(
            "say what to change (as by --max-tokens, --embedder, --config), or --rollback or --finish"
        )
    if (gate is not None or dry_run) and not named:
        raise InputError("--gate and --dry-run go with a change, not with --rollback or --finish")
    if finish:
        _finish(path, as_json=as_json)
        return
    if rollback:
        _rollback(path, trust=trust, as_json=as_json)
        return
    with open_pipeline(path, {}, trust=trust) as pipeline, progresses("reindexing", "searching") as bars:
        options: dict[str, Any] = {} if config is None else _table(config)
        options |= _splitter(pipeline, max_tokens, overlap, no_split)
        options |= _retrievers(pipeline, embedder, language, options)
        if index_field:
            options["indexed_fields"] = index_field
        asked = None if gate is None else _gate(gate, measure, bars[1])
        try:
            report = pipeline.reindex(gate=asked, dry_run=dry_run, progress=bars[0], **options)
        except KeyboardInterrupt:
            err("interrupted: searches go on with the current layout; the same command goes on where this stopped")
            raise typer.Exit(130) from None
    _print(report, dry_run=dry_run, as_json=as_json)
    if report.gate is not None and not report.switched:
        raise typer.Exit(1)


def _finish(path: Path, *, as_json: bool) -> None:
    with open_documents(path) as collection:
        before = collection.statistics()["bytes"]["database"]
        collection.finish_reindex()
        after = collection.statistics()["bytes"]["database"]
    if as_json:
        say_json({"bytes_before": before, "bytes_after": after})
    else:
        say(f"the layout of before is removed: {before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now")


def _rollback(path: Path, *, trust: bool, as_json: bool) -> None:
    with open_pipeline(path, {}, trust=trust) as pipeline, progress("going back") as bar:
        report = pipeline.rollback(trust=trust, progress=bar)
    if as_json:
        say_json(report.to_dict())
    elif report.switched:
        say(f"back to the layout of before ({', '.join(report.changed)}); --rollback returns, --finish removes it")
    else:
        say("the layout that was being built is removed; the current one stays in use")


def _table(config: Path) -> dict[str, Any]:
    import tomllib

    from hybridrank.errors import InputError

    try:
        with config.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise InputError(f"cannot read {str(config)!r}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{str(config)!r} is not valid TOML: {error}") from error


def _splitter(pipeline: Pipeline, max_tokens: int | None, overlap: int | None, no_split: bool) -> dict[str, Any]:
    from hybridrank.errors import InputError

    sized = max_tokens is not None or overlap is not None
    if no_split:
        if sized:
            raise InputError("--no-split does not go with --max-tokens and --overlap")
        return {"splitter": None}
    return {"splitter": sized_splitter(pipeline.collection.splitter, max_tokens, overlap)} if sized else {}


def _retrievers(
    pipeline: Pipeline, embedder: str | None, language: str | None, options: dict[str, Any]
) -> dict[str, Any]:
    from hybridrank.component.protocols import VectorRetriever
    from hybridrank.errors import InputError
    from hybridrank.pipeline.config import PipelineConfig

    if embedder is None and language is None:
        return {}
    arms = dict(PipelineConfig.load(options).retrievers if "retrievers" in options else pipeline.config.retrievers)
    dense = [name for name, arm in arms.items() if isinstance(arm, VectorRetriever)]
    lexical = [name for name, arm in arms.items() if "language" in getattr(type(arm), "model_fields", ())]
    if embedder is not None:
        if len(dense) != 1:
            raise InputError(f"--embedder is for one vector arm, and there are {len(dense)}: use --config")
        arms[dense[0]] = _with(arms[dense[0]], "embedder", _embedder(embedder))
    if language is not None:
        if not lexical:
            raise InputError("--language is for BM25, and no arm has a language")
        for name in lexical:
            arms[name] = _with(arms[name], "language", language)
    return {"retrievers": arms}


def _embedder(name: str) -> Any:
    from hybridrank.component.registry import registered

    return {"use": name} if name in registered("embedder") else {"use": "onnx", "model": name}


def _with(arm: Any, option: str, value: Any) -> IndexedRetriever:
    from hybridrank.component.registry import create

    made: IndexedRetriever = create("retriever", {**arm.to_config(), option: value})
    return made


def _gate(path: Path, measure: str, bar: Progress) -> Gate:
    from hybridrank.cli.options import parse_measures
    from hybridrank.errors import InputError
    from hybridrank.evaluation import Gate, Recording, load_dataset

    measures = parse_measures(measure)
    if measures is None or len(measures) != 1:
        raise InputError(f"--measure takes one measure, such as nDCG@10, not {measure!r}")
    dataset = Recording.load(path) if path.suffix == ".jsonl" else load_dataset(path)
    return Gate(dataset, measure=measures[0], progress=bar)


def _print(report: ReindexReport, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        say_json(report.to_dict())
        return
    if not report.changed:
        say("nothing changes: the collection has this configuration")
        return
    cost = f"{counted(report.embedded, 'text')} {'to embed' if dry_run else 'embedded'}"
    units = f"{counted(report.documents, 'document')}, {counted(report.units, 'unit')}"
    say(
        f"{'would change' if dry_run else 'changed'}: {', '.join(report.changed)} ({units}; {cost}, "
        f"{report.reused:,} reused)"
    )
    if report.gate is not None:
        say(str(report.gate))
    if report.switched:
        say("switched; --finish removes the layout of before, --rollback goes back to it")
    elif not dry_run:
        say(
            f"not switched: {report.gate.reason}; the current layout stays in use. The new one is kept for "
            "another try; --rollback removes it"
        )
