"""Shared code of the commands that search for judged queries, or report on such searches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridrank.cli.output import counted, err, progress, say_json
from hybridrank.cli.stored import is_collection

if TYPE_CHECKING:
    from hybridrank.evaluation import Dataset, Recording
    from hybridrank.evaluation.report.content import Report
    from hybridrank.pipeline.pipeline import Pipeline
    from hybridrank.types import Document

__all__ = [
    "begin_recording",
    "choose_recording_path",
    "documents_of",
    "open_or_build",
    "open_pipeline",
    "show_report",
]


def documents_of(source: Path | None, dataset: Dataset | None) -> Iterable[Document]:
    """The documents of files, or without files the dataset's own."""
    if source is None:
        return () if dataset is None else dataset.documents()
    from hybridrank.ingest.files import load_documents

    return load_documents(source, on_skip=lambda path, reason: err(f"skipped {path}: {reason}"))


def open_pipeline(collection: Path, options: dict[str, Any], *, trust: bool) -> Pipeline:
    """Open a collection's pipeline, with some of its options replaced."""
    from hybridrank.pipeline.pipeline import Pipeline

    with progress("building indexes") as bar:
        return Pipeline.open(collection, trust=trust, progress=bar, **options)


def open_or_build(
    source: Path | None, dataset: Dataset | None, config: Path | None, options: dict[str, Any], *, trust: bool
) -> Pipeline:
    """Open a collection's pipeline, or build one in memory.

    Raises:
        InputError: a collection is to have another configuration.
    """
    from hybridrank.errors import InputError
    from hybridrank.pipeline.pipeline import Pipeline

    if source is not None and is_collection(source):
        if config is not None:
            raise InputError(f"{source} is a collection, and was built with its own --config; leave that out")
        return open_pipeline(source, options, trust=trust)
    with progress("indexing") as bar:
        return Pipeline.build(documents_of(source, dataset), config=config, progress=bar, **options)


def choose_recording_path(
    pipeline: Pipeline, dataset: Dataset, given: Path | None, k: int, resume: bool, *, folder: bool = False
) -> Path:
    """The file to record in, which is printed; without one, a file in the user's cache."""
    from hybridrank.evaluation.recordings.recorder import recording_path
    from hybridrank.evaluation.recordings.settings import Header
    from hybridrank.models.digests import cache_folder

    place = given if given is not None else cache_folder().expanduser() / "hybridrank" / "recordings"
    if given is None or folder:
        with _write_errors(place):
            place.mkdir(parents=True, exist_ok=True)
    if place.is_dir():  # only then: a header reads every document, for their digest
        place = recording_path(place, Header.of(pipeline, k=k, dataset=dataset), dataset)
    begin_recording(place, resume=resume)
    return place


def begin_recording(place: Path, *, resume: bool) -> None:
    """Print the recording's path, and remove the existing file unless the recording is resumed.

    Raises:
        StorageError: it cannot be removed.
    """
    from hybridrank.runtime.files import appending

    with _write_errors(place):
        if not resume and place.exists():
            with appending(place, what="recording"):  # which nobody else is writing
                place.unlink()
    err(f"{'going on with' if place.exists() else 'recording in'} {place}")


@contextmanager
def _write_errors(place: Path) -> Iterator[None]:
    from hybridrank.errors import StorageError

    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write to {str(place)!r}: {error.strerror}") from error


def show_report(
    report: Report,
    *,
    as_json: bool,
    markdown: Path | None,
    html: Path | None,
    recording: Recording | None = None,
    full: bool = False,
) -> None:
    """Print a report, or its JSON, and write it to the files that are given.

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
