"""Watching files: a collection follows every change until it is stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Event
from typing import Unpack

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.ingest.sync import SourceStore, SyncOptions, SyncReport, sync

__all__ = ["watch"]

_DEBOUNCE = 1600  # milliseconds in which changes are grouped, at most
_STEP = 200  # milliseconds without a change that end a group: most files are complete by then
_LOOK = 500  # milliseconds between looks at the stop event


def watch(
    collection: SourceStore,
    paths: Iterable[str | Path] | str | Path,
    *,
    stop: Event | None = None,
    **options: Unpack[SyncOptions],
) -> Iterator[SyncReport]:
    """Synchronize now, and after every change of the files; see `Collection.watch`."""
    try:
        from watchfiles import watch as changes
    except ImportError as error:
        raise MissingDependencyError('watching files: pip install "hybridrank[watch]"') from error

    given = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    # the directory of a file, since editors replace files
    watched = {path.resolve() if path.is_dir() else path.parent.resolve() for path in given}
    if missing := [path for path in given if not path.exists()]:
        raise InputError(f"there is no file or directory {str(missing[0])!r}")
    own = collection.path.resolve()  # lies perhaps below the paths, and changes with each report
    groups = changes(
        *watched,
        watch_filter=lambda _, name: not Path(name).is_relative_to(own),
        debounce=_DEBOUNCE,
        step=_STEP,
        rust_timeout=_LOOK,
        yield_on_timeout=True,
        stop_event=stop,
        ignore_permission_denied=True,
    )
    next(groups, None)  # watching has begun before the first look: no change falls between
    last = sync(collection, given, **options)
    yield last
    for group in groups:
        if not group:
            continue
        try:
            report = sync(collection, given, **options)
        except InputError:  # all files, or a path itself, are gone for now
            continue
        if _news(report) or _problems(report) != _problems(last):
            yield report
        last = report


def _news(report: SyncReport) -> bool:
    return bool(report.added or report.changed or report.moved or report.removed)


def _problems(report: SyncReport) -> tuple[object, ...]:
    return report.failed, report.left_out, report.vanished
