"""``hybridrank index``: indexes files, and updates them after changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
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
    from hybridrank.collection import Collection
    from hybridrank.ingest.sync import OnSync, SyncProgress, SyncReport

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
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and index files whenever they change, until Ctrl-C.")
    ] = False,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Index files into a new or existing collection: text, Markdown, HTML, PDF, office files, books, mail,
    notebooks, source code, tables, JSON, and archives of these.

    Unchanged files are skipped. A text file is one document, whose id is its path relative to the given
    directory; a file of records holds many. A moved directory is detected.

    A file that cannot be read is reported, and its documents in the collection stay unchanged; an invalid record
    is reported with its line, and the others are stored. Either sets the exit status to 1.

    Columns of CSV and TSV are typed: numbers, booleans and dates are recognized, and the types reported.

    report.pdf.metadata.json (or .yaml) next to report.pdf has metadata of its document. --meta and --meta-csv
    override what files say of themselves; they stay when files are indexed again. Metadata alone embeds nothing.
    """
    from hybridrank.ingest.sync import find, sync_found

    if watch:
        _require_watchfiles()
    user: dict[str, Any] = {"metadata": _fields(meta or ()), "metadata_csv": meta_csv}
    found = find(paths, **user, **reading.arguments(), on_error=on_error)  # nothing is made for what is wrong here
    with (
        open_or_create(into, new, trust=trust) as collection,
        interruptible() as interruption,
    ):
        interruption.kept = lambda: f"{counted(len(collection), 'document')} stored"
        interruption.then = "the same command goes on where it stopped"

        def follow(now: SyncProgress) -> None:
            interruption.kept = lambda: (
                f"{now.files_done:,} of {counted(now.files, 'file')} done, "
                f"{counted(len(collection), 'document')} stored"
            )

        with progresses("files", "documents") as bars:

            def show(now: SyncProgress) -> None:
                follow(now)
                if now.documents:
                    bars[1](now.documents_done, now.documents)
                bars[0](now.files_done, now.files)

            report = sync_found(collection, found, prune=prune, moved_from=moved_from, progress=show)
        _show_report(report, as_json=as_json)
        if watch:
            arguments = {**user, **reading.arguments(), "on_error": on_error, "prune": prune}
            _watch(collection, paths, arguments, follow, as_json=as_json)
    if not report.complete:
        raise typer.Exit(1)


def _watch(
    collection: Collection, paths: Sequence[Path], options: Mapping[str, Any], follow: OnSync, *, as_json: bool
) -> None:
    """Report on every change until Ctrl-C, which ends the command in order while nothing is being stored."""
    storing = False

    def progress(now: SyncProgress) -> None:
        nonlocal storing
        storing = now.files_done < now.files
        follow(now)

    err(f"watching {counted(len(paths), 'path')}; Ctrl-C stops")
    try:
        for number, report in enumerate(collection.watch(paths, progress=progress, **options)):
            if number or report.added or report.changed or report.moved or report.removed:
                _show_report(report, as_json=as_json)
    except KeyboardInterrupt:
        if storing:
            raise
        err("stopped watching")
        raise typer.Exit from None


def _require_watchfiles() -> None:
    """Fail before anything is indexed."""
    from importlib.util import find_spec

    from hybridrank.errors import MissingDependencyError

    if find_spec("watchfiles") is None:
        raise MissingDependencyError('--watch needs watchfiles: pip install "hybridrank[watch]"')


def _show_report(report: SyncReport, *, as_json: bool) -> None:
    if as_json:
        say_json(report.to_dict())
    else:
        _print_report(report)


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
