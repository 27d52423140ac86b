"""Synchronization of a collection with files: only what is new or has changed is read and stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, TypedDict, Unpack

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.ingest.files.distinct import with_distinct_ids
from hybridrank.ingest.files.moved import is_gone, moved, same_place
from hybridrank.ingest.files.reading import ColumnType, OnError, ReadOptions
from hybridrank.ingest.files.sources import Files, Source, list_files
from hybridrank.ingest.user_metadata import FileMetadata, UserMetadata
from hybridrank.types import Document, Progress

__all__ = [
    "Found",
    "OnSync",
    "SourceStore",
    "SyncOptions",
    "SyncProgress",
    "SyncReport",
    "find",
    "sync",
    "sync_found",
]

_INCOMPLETE = "+"
"""Behind the digest of a file of which records were left out: they are reported each time."""


class SourceStore(Protocol):
    """A collection that keeps track of the files that its documents came from."""

    @property
    def path(self) -> Path:
        """Its directory."""

    def sources(self) -> dict[str, str]:
        """The digests of its sources, by name."""

    def holders(self, ids: Collection[str]) -> dict[str, str]:
        """The names of the sources that some documents belong to, by the documents' ids."""

    def put_source(
        self,
        name: str,
        digest: str,
        documents: Iterable[Document],
        *,
        edits: Callable[[str], Mapping[str, Any]] | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Replace the documents of a source; returns how many. `edits` are the user's metadata, by document id."""

    def update_source(self, name: str, edits: Callable[[str], Mapping[str, Any]]) -> int:
        """Set metadata of a source's documents, by id; returns how many have changed."""

    def rename_sources(self, names: Mapping[str, str]) -> None:
        """Rename sources, by their old names."""

    def drop_sources(self, names: Iterable[str]) -> int:
        """Delete sources; returns the number of their documents."""


@dataclass
class SyncReport:
    """The outcome for each file, by its absolute path."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)
    """New paths of files that have moved, by their old paths; their documents were kept."""
    vanished: list[str] = field(default_factory=list)
    """Files that no longer exist, whose documents are kept."""
    removed: list[str] = field(default_factory=list)
    """Files that no longer exist, whose documents were removed."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why a file could not be read; its documents in the collection are kept."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """The invalid records of files whose other records were stored, each with its line and the reason."""
    notes: dict[str, list[str]] = field(default_factory=dict)
    """What was assumed or lost in reading: the types of columns, what a library left out."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """The number of files of each unknown ending."""
    documents_stored: int = 0
    documents_removed: int = 0

    @property
    def complete(self) -> bool:
        """Whether every file could be read, and every record stored."""
        return not self.failed and not self.left_out

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    def __repr__(self) -> str:
        """Show the counts alone: a folder may hold many thousands of files."""
        names = ("added", "changed", "unchanged", "moved", "vanished", "removed", "failed")
        counts = ", ".join(f"{name}={len(getattr(self, name)):,}" for name in names)
        left_out = sum(map(len, self.left_out.values()))
        return f"SyncReport({counts}, records left out={left_out:,}, documents stored={self.documents_stored:,})"


class SyncProgress(NamedTuple):
    """How far a synchronization is: in files, and in the documents of the current file."""

    path: str
    """The current file, absolute."""
    files_done: int
    files: int
    documents_done: int = 0
    documents: int = 0


OnSync: TypeAlias = Callable[[SyncProgress], None]
"""Called before and after each file, and while its documents are embedded and stored."""


class ReadingArguments(TypedDict, total=False):
    """The options for reading files: those of `hybridrank.ingest.load_documents`."""

    text_field: str
    id_field: str | None
    encoding: str | None
    types: ColumnType | Mapping[str, ColumnType] | None
    quotes: bool | None
    on_error: OnError
    file_metadata: bool


class FindArguments(ReadingArguments, total=False):
    """The options that say what is read: those for reading files, and the user's metadata."""

    metadata: FileMetadata | None
    metadata_csv: str | Path | None


class SyncOptions(FindArguments, total=False):
    """The options of `Collection.sync`: those for reading files, and these."""

    prune: bool
    moved_from: str | Path | None
    progress: OnSync | None


def sync(
    collection: SourceStore,
    paths: Iterable[str | Path] | str | Path,
    *,
    prune: bool = False,
    moved_from: str | Path | None = None,
    progress: OnSync | None = None,
    **reading: Unpack[FindArguments],
) -> SyncReport:
    """Store the documents of files and of directories with all below them; see `Collection.sync`."""
    found = find(paths, **reading)
    return sync_found(collection, found, prune=prune, moved_from=moved_from, progress=progress)


class Found(NamedTuple):
    """The files under some paths."""

    paths: Sequence[Path]
    files: Files
    failed: Mapping[str, str]
    """Those that cannot be read, as far as their names tell, and why."""
    metadata: UserMetadata


def find(
    paths: Iterable[str | Path] | str | Path,
    *,
    metadata: FileMetadata | None = None,
    metadata_csv: str | Path | None = None,
    **reading: Unpack[ReadingArguments],
) -> Found:
    """List the files to synchronize, without a collection: wrong paths and options are found before one is made.

    Raises:
        InputError: a path does not exist, no file can be read, an option has no meaning, or the table of metadata
            cannot be used.
    """
    user = UserMetadata(metadata, metadata_csv)
    given = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    failed: dict[str, str] = {}
    options = ReadOptions(**{name: value for name, value in reading.items() if value is not None})  # type: ignore[arg-type]
    files = list_files(given, options, lambda path, reason: failed.update({path.as_posix(): reason}))
    if user.table is not None:  # it is no document
        sources = tuple(source for source in files.sources if source.path != user.table)
        files = Files(sources, files.passed_over)
    if not files.sources:  # a disk that is not mounted, say: nothing to prune by
        raise InputError(f"there is no file to read under {', '.join(map(str, given))}")
    return Found(given, files, failed, user)


def sync_found(
    collection: SourceStore,
    found: Found,
    *,
    prune: bool = False,
    moved_from: str | Path | None = None,
    progress: OnSync | None = None,
) -> SyncReport:
    """Store the documents of files that were found; see `Collection.sync`."""
    given, files, failed, user = found
    report = SyncReport(failed=dict(failed), passed_over=files.passed_over)
    known = collection.sources()
    left = None if moved_from is None else Path(moved_from).resolve()
    report.moved = moved(known, files.sources, left=left)
    if report.moved:
        collection.rename_sources(report.moved)
        known = collection.sources()
    names = {source.name for source in files.sources}
    vanished = [
        name for name in _under(known.keys() - names, given if left is None else [*given, left]) if is_gone(name)
    ]
    if prune and vanished:
        report.documents_removed = collection.drop_sources(vanished)
        report.removed = vanished
    else:
        report.vanished = vanished
    sources = with_distinct_ids(
        files.sources,
        holders=collection.holders,
        known=known.keys(),
        may_take=lambda source, holder: is_gone(holder) or _is_copy(source, known.get(holder)),
    )
    elsewhere = {digest: name for name, digest in known.items() if name not in names}
    update = _Update(collection, known, elsewhere, user, report)
    tell = progress or _ignore
    for number, source in enumerate(sources):
        at = SyncProgress(source.name, number, len(sources))

        def tell_documents(done: int, of: int, at: SyncProgress = at) -> None:
            tell(at._replace(documents_done=done, documents=of))

        tell(at)
        update.update(source, tell_documents)
        tell(at._replace(files_done=number + 1))
    if (unused := user.unused()) is not None:
        report.notes[str(user.table)] = [unused]
    return report


def _is_copy(source: Source, digest: str | None) -> bool:
    """Whether a file has the same content and id as one whose digest is known."""
    try:
        return digest is not None and source.digest() == digest
    except InputError:  # it is reported when it is read
        return False


def _ignore(progress: SyncProgress) -> None:
    """Ignore progress."""


def _under(names: Iterable[str], paths: Iterable[Path]) -> list[str]:
    roots = [path.resolve() for path in paths]
    return sorted(name for name in names if any(Path(name).is_relative_to(root) for root in roots))


@dataclass(frozen=True)
class _Update:
    """Updates one file after another, and reports on each."""

    collection: SourceStore
    known: Mapping[str, str]
    elsewhere: Mapping[str, str]
    """The known files that are not among those to update, by digest."""
    user: UserMetadata
    report: SyncReport

    def update(self, source: Source, progress: Progress) -> None:
        """Read one file, unless it is unchanged. It is read completely before any of it is stored."""
        report = self.report
        left_out: list[str] = []
        notes: list[str] = []
        try:
            digest = source.digest()
            edits = self.user.edits(source)
            held = self.known.get(source.name)
            if held == digest or (held is None and self._is_held(source, digest)):
                self._keep(source, edits)
                return
            number = sum(1 for _ in source.documents(on_skip=left_out.append, on_note=notes.append))
            if held == digest + _INCOMPLETE:
                self._keep(source, edits)
            else:
                progress(0, number)
                report.documents_stored += self.collection.put_source(
                    source.name,
                    digest + _INCOMPLETE if left_out else digest,
                    source.documents(on_skip=lambda _: None),  # reported above
                    edits=edits,
                    progress=lambda done, _: progress(done, number),
                )
                (report.added if held is None else report.changed).append(source.name)
            if notes:
                report.notes[source.name] = notes
            if left_out:
                report.left_out[source.name] = left_out
        except (InputError, MissingDependencyError) as error:
            report.failed[source.name] = str(error)

    def _keep(self, source: Source, edits: Callable[[str], Mapping[str, Any]] | None) -> None:
        """Keep the documents of a file, which may have got other metadata from the user."""
        edited = edits is not None and self.collection.update_source(source.name, edits)
        (self.report.changed if edited else self.report.unchanged).append(source.name)

    def _is_held(self, source: Source, digest: str) -> bool:
        """Whether the collection has the same documents, from a copy of the file that still exists."""
        return digest in self.elsewhere and same_place(self.elsewhere[digest], source)
