"""``hybridrank index``: files into a collection, and again when they have changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hybridrank.cli.output import JsonOption, counted, err, progresses, say, say_json
from hybridrank.cli.stored import ConfigOption, IndexFieldOption, IntoOption, TrustOption, made_or_opened

if TYPE_CHECKING:
    from hybridrank.collection import Collection
    from hybridrank.loading import Source
    from hybridrank.types import Progress

__all__ = ["index"]


@dataclass
class Report:
    """What became of the files, by their absolute paths."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Those that could not be read, and why: what they held before is kept."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """How many files there are of each ending that is not known."""
    documents_stored: int = 0
    documents_removed: int = 0


def index(
    paths: Annotated[list[Path], typer.Argument(help="Files, and directories with all below them.")],
    into: IntoOption,
    config: ConfigOption = None,
    text_field: Annotated[str, typer.Option(help="The field that holds the text, in records.")] = "text",
    id_field: Annotated[
        str | None, typer.Option(help="The field that holds the id, in records; else id or _id.")
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what came from files under PATHS that are no more.")
    ] = False,
    index_field: IndexFieldOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put files into a collection, new or old: JSONL, CSV, TSV, Parquet, Markdown, HTML, PDF, DOCX, plain text.

    Files that have not changed since are skipped. A file of text is a document, known by its path below the
    directory that was given; a file of records is many. A file that cannot be read is reported, leaves what the
    collection holds of it as it was, and makes the exit status 1.
    """
    from hybridrank.errors import InputError
    from hybridrank.loading import find_files

    report = Report()
    files = find_files(
        paths,
        text_field=text_field,
        id_field=id_field,
        on_skip=lambda path, reason: report.failed.update({path.as_posix(): reason}),
    )
    report.passed_over = files.passed_over
    if not files.sources:  # a disk that is not mounted, say: nothing to prune by
        raise InputError(f"there is no file to read under {', '.join(map(str, paths))}")
    with (
        made_or_opened(into, config, index_field, trust=trust) as collection,
        progresses("files", "documents") as bars,
    ):
        known = collection.sources()
        if prune:
            _prune(collection, _vanished(known, paths, files.sources), report)
        for number, source in enumerate(files.sources, start=1):
            _update(collection, source, known, report, bars[1])
            bars[0](number, len(files.sources))
    if as_json:
        say_json(asdict(report))
    else:
        _tell(report)
    if report.failed:
        raise typer.Exit(1)


def _vanished(known: Iterable[str], paths: Iterable[Path], sources: Iterable[Source]) -> list[str]:
    """The known files under `paths` that are not there any more; not those that merely cannot be seen."""
    found = {source.name for source in sources}
    roots = [path.resolve() for path in paths]
    return [
        name
        for name in known
        if name not in found and any(Path(name).is_relative_to(root) for root in roots) and _gone(Path(name))
    ]


def _gone(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _prune(collection: Collection, names: list[str], report: Report) -> None:
    if names:
        report.documents_removed = collection.drop_sources(names)
        report.removed = names


def _update(
    collection: Collection, source: Source, known: Mapping[str, str], report: Report, bar: Progress
) -> None:
    """Read one file, if it is not known as it is. It is read through before any of it is stored."""
    from hybridrank.collection.documents import checked
    from hybridrank.errors import InputError, MissingDependencyError

    try:
        digest = source.digest()
        if known.get(source.name) == digest:
            report.unchanged.append(source.name)
            return
        number = sum(1 for _ in checked(source.documents()))
        bar(0, number)
        report.documents_stored += collection.put_source(
            source.name, digest, source.documents(), progress=lambda done, _: bar(done, number)
        )
        (report.changed if source.name in known else report.added).append(source.name)
    except (InputError, MissingDependencyError) as error:
        report.failed[source.name] = str(error)


def _tell(report: Report) -> None:
    reasons = defaultdict(list)
    for path, reason in report.failed.items():
        reasons[reason].append(path)
    for reason, paths in reasons.items():
        others = f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""
        err(f"could not read {paths[0]}{others}: {reason}")
    stored = f" ({counted(report.documents_stored, 'document')} stored)" if report.added or report.changed else ""
    removed = f" ({counted(report.documents_removed, 'document')})" if report.removed else ""
    say(
        f"{counted(len(report.added), 'file')} added, {len(report.changed):,} changed{stored}, "
        f"{len(report.unchanged):,} unchanged, {len(report.removed):,} removed{removed}, "
        f"{len(report.failed):,} could not be read"
    )
    if report.passed_over:
        endings = sorted(report.passed_over.items(), key=lambda entry: (-entry[1], entry[0]))
        most = ", ".join(f"{number:,} {ending or 'without ending'}" for ending, number in endings[:5])
        others = ", …" if len(endings) > 5 else ""
        say(f"passed over, of other kinds: {counted(sum(report.passed_over.values()), 'file')} ({most}{others})")
