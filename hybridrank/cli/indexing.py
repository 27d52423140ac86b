"""``hybridrank index``: indexes files, and updates them after changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridrank.cli.options import (
    IndexFieldOption,
    IntoOption,
    JsonOption,
    NewConfigOption,
    OnErrorOption,
    PresetOption,
    ReadingOptions,
    TrustOption,
    grouped,
)
from hybridrank.cli.output import counted, err, progresses, say, say_json
from hybridrank.cli.stored import open_or_create

if TYPE_CHECKING:
    from hybridrank.collection import Collection
    from hybridrank.ingest.files import Source
    from hybridrank.types import Progress

__all__ = ["index"]


_INCOMPLETE = "+"
"""Behind the digest of a file of which records were left out: they are reported each time."""

_MOST_SHOWN = 10  # files, and records of a file


@dataclass
class Report:
    """The outcome for each file, by its absolute path."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    """Those that lay at another path before."""
    vanished: list[str] = field(default_factory=list)
    """Sources under PATHS that no longer exist, whose documents are kept."""
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Those that could not be read, and why: what they held before is kept."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """The records that could not be used, of files whose other records could, and why."""
    notes: dict[str, list[str]] = field(default_factory=dict)
    """What was assumed or lost in reading: the types of columns, what a library left out."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """How many files there are of each ending that is not known."""
    documents_stored: int = 0
    documents_removed: int = 0


@grouped
def index(
    paths: Annotated[list[Path], typer.Argument(help="Files, and directories with all below them.")],
    into: IntoOption,
    reading: ReadingOptions,
    config: NewConfigOption = None,
    preset: PresetOption = None,
    on_error: OnErrorOption = "skip",
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove the documents of files under PATHS that no longer exist.")
    ] = False,
    moved_from: Annotated[
        Path | None,
        typer.Option(help="The directory that PATHS were moved from: documents stay, under their new paths."),
    ] = None,
    index_field: IndexFieldOption = None,
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
    """
    from hybridrank.errors import InputError
    from hybridrank.ingest.files import find_files
    from hybridrank.ingest.files.moved import is_gone, moved

    report = Report()
    files = find_files(
        paths,
        **reading.arguments(),
        on_error=on_error,
        on_skip=lambda path, reason: report.failed.update({path.as_posix(): reason}),
    )
    report.passed_over = files.passed_over
    if not files.sources:  # a disk that is not mounted, say: nothing to prune by
        raise InputError(f"there is no file to read under {', '.join(map(str, paths))}")
    with (
        open_or_create(into, config, index_field, preset=preset, trust=trust) as collection,
        progresses("files", "documents") as bars,
    ):
        known = collection.sources()
        left = None if moved_from is None else moved_from.resolve()
        report.moved = moved(known, files.sources, left=left)
        if report.moved:
            collection.rename_sources(report.moved)
            known = collection.sources()
        found = {source.name for source in files.sources}
        roots = paths if left is None else [*paths, left]
        vanished = [name for name in _under(known.keys() - found, roots) if is_gone(name)]
        if prune and vanished:
            report.documents_removed = collection.drop_sources(vanished)
            report.removed = vanished
        else:
            report.vanished = vanished
        elsewhere = {digest: name for name, digest in known.items() if name not in found}
        for number, source in enumerate(files.sources, start=1):
            _update(collection, source, known, elsewhere, report, bars[1])
            bars[0](number, len(files.sources))
    if as_json:
        say_json(asdict(report))
    else:
        _print_report(report)
    if report.failed or report.left_out:
        raise typer.Exit(1)


def _under(names: Iterable[str], paths: Iterable[Path]) -> list[str]:
    roots = [path.resolve() for path in paths]
    return sorted(name for name in names if any(Path(name).is_relative_to(root) for root in roots))


def _update(
    collection: Collection,
    source: Source,
    known: Mapping[str, str],
    elsewhere: Mapping[str, str],
    report: Report,
    bar: Progress,
) -> None:
    """Read one file, unless it is unchanged. It is read completely before any of it is stored."""
    from hybridrank.errors import InputError, MissingDependencyError

    left_out: list[str] = []
    notes: list[str] = []
    try:
        digest = source.digest()
        held = known.get(source.name)
        if held == digest or (held is None and _is_held(source, digest, elsewhere)):
            report.unchanged.append(source.name)
            return
        number = sum(1 for _ in source.documents(on_skip=left_out.append, on_note=notes.append))
        if held == digest + _INCOMPLETE:
            report.unchanged.append(source.name)
        else:
            bar(0, number)
            report.documents_stored += collection.put_source(
                source.name,
                digest + _INCOMPLETE if left_out else digest,
                source.documents(on_skip=lambda _: None),  # reported above
                progress=lambda done, _: bar(done, number),
            )
            (report.added if held is None else report.changed).append(source.name)
        if notes:
            report.notes[source.name] = notes
        if left_out:
            report.left_out[source.name] = left_out
    except (InputError, MissingDependencyError) as error:
        report.failed[source.name] = str(error)


def _is_held(source: Source, digest: str, elsewhere: Mapping[str, str]) -> bool:
    """Whether the collection has the same documents, from a copy of the file that still exists."""
    from hybridrank.ingest.files.moved import same_place

    return digest in elsewhere and same_place(elsewhere[digest], source)


def _print_report(report: Report) -> None:
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
