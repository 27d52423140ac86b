"""``hybridrank index``: indexes files, and updates them after changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridrank.cli.options import (
    IntoOption,
    JsonOption,
    NewCollectionOptions,
    OnErrorOption,
    ReadingOptions,
    TrustOption,
    grouped,
)
from hybridrank.cli.output import counted, err, interruptible, progresses, say, say_json
from hybridrank.cli.stored import open_or_create

if TYPE_CHECKING:
    from hybridrank.ingest.sync import SyncProgress, SyncReport

__all__ = ["index"]


_MOST_SHOWN = 10  # files, and records of a file


@grouped
def index(
    paths: Annotated[list[Path], typer.Argument(help="Files, and directories with all below them.")],
    into: IntoOption,
    reading: ReadingOptions,
    new: NewCollectionOptions,
    on_error: OnErrorOption = "skip",
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove the documents of files under PATHS that no longer exist.")
    ] = False,
    meta: Annotated[
        list[str] | None,
        typer.Option(
            "--meta",
            help="Metadata for the documents of all files, as key=value; a value in JSON has its type, any other "
            "is text, and null removes the field. Repeatable.",
        ),
    ] = None,
    meta_csv: Annotated[
        Path | None,
        typer.Option(
            help="A CSV file of metadata: a column path (as in the documents' metadata) or id, and one for each "
            "field."
        ),
    ] = None,
    moved_from: Annotated[
        Path | None,
        typer.Option(help="The directory that PATHS were moved from: documents stay, under their new paths."),
    ] = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Index files into a new or existing collection: JSONL, CSV, TSV, Parquet, Markdown, HTML, PDF, DOCX, plain
    text.

    Unchanged files are skipped. A text file is one document, whose id is its path relative to the given
    directory; a file of records holds many. A moved directory is detected.

    A file that cannot be read is reported, and its documents in the collection stay unchanged; an invalid record
    is reported with its line, and the others are stored. Either sets the exit status to 1.

    Columns of CSV and TSV are typed: numbers, booleans and dates are recognized, and the types reported.

    report.pdf.metadata.json (or .yaml) next to report.pdf has metadata of its document. --meta and --meta-csv
    override what files say of themselves; they stay when files are indexed again. Metadata alone embeds nothing.
    """
    from hybridrank.ingest.sync import find, sync_found

    user = {"metadata": _fields(meta or ()), "metadata_csv": meta_csv}
    found = find(paths, **user, **reading.arguments(), on_error=on_error)  # nothing is made for what is wrong here
    with (
        open_or_create(into, new, trust=trust) as collection,
        progresses("files", "documents") as bars,
        interruptible() as interruption,
    ):
        interruption.kept = lambda: f"{counted(len(collection), 'document')} stored"
        interruption.then = "the same command goes on where it stopped"

        def show(now: SyncProgress) -> None:
            interruption.kept = lambda: (
                f"{now.files_done:,} of {counted(now.files, 'file')} done, "
                f"{counted(len(collection), 'document')} stored"
            )
            if now.documents:
                bars[1](now.documents_done, now.documents)
            bars[0](now.files_done, now.files)

        report = sync_found(collection, found, prune=prune, moved_from=moved_from, progress=show)
    if as_json:
        say_json(report.to_dict())
    else:
        _print_report(report)
    if not report.complete:
        raise typer.Exit(1)


def _fields(given: Sequence[str]) -> dict[str, Any]:
    """Metadata from the values of ``--meta``."""
    from hybridrank.errors import InputError

    fields: dict[str, Any] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--meta is as in project=apollo, not {each!r}")
        try:
            fields[name.strip()] = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            fields[name.strip()] = text
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are text


def _print_report(report: SyncReport) -> None:
    reasons = defaultdict(list)
    for path, reason in report.failed.items():
        reasons[reason].append(path)
    for reason, paths in reasons.items():
        err(f"could not read {_some(paths, most=1)}: {reason}")
    for path, records in report.left_out.items():
        for reason in records[:_MOST_SHOWN]:
            err(f"left out, of {path}: {reason}")
        if len(records) > _MOST_SHOWN:
            err(f"left out, of {path}: {len(records) - _MOST_SHOWN:,} more; --json names them")
    stored = f" ({counted(report.documents_stored, 'document')} stored)" if report.added or report.changed else ""
    removed = f" ({counted(report.documents_removed, 'document')})" if report.removed else ""
    say(
        f"{counted(len(report.added), 'file')} added, {len(report.changed):,} changed{stored}, "
        f"{len(report.unchanged):,} unchanged, {len(report.removed):,} removed{removed}, "
        f"{len(report.failed):,} could not be read"
        + (f", {counted(sum(map(len, report.left_out.values())), 'record')} left out" if report.left_out else "")
    )
    for path, notes in report.notes.items():
        for note in notes:
            say(f"{path}: {note}")
    if report.moved:
        old, new = next(iter(report.moved.items()))
        others = f", and {len(report.moved) - 1:,} more" if len(report.moved) > 1 else ""
        say(f"moved: {old} to {new}{others}")
    if report.removed:
        say(f"removed: {_some(report.removed)}")
    if report.vanished:
        say(f"no more there: {_some(report.vanished)}; --prune removes what came from {_them(report.vanished)}")
    if report.passed_over:
        endings = sorted(report.passed_over.items(), key=lambda entry: (-entry[1], entry[0]))
        most = ", ".join(f"{number:,} {ending or 'without ending'}" for ending, number in endings[:5])
        others = ", …" if len(endings) > 5 else ""
        say(f"passed over, of other kinds: {counted(sum(report.passed_over.values()), 'file')} ({most}{others})")


def _some(names: Sequence[str], *, most: int = _MOST_SHOWN) -> str:
    others = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + others


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"
