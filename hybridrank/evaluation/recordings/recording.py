"""Recorded searches for the queries of a dataset, from which everything else is computed without searching."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from os import PathLike
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from hybridrank.component.stored_names import current_names
from hybridrank.errors import InputError, StorageError
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.datasets.query_log import QueryLog
from hybridrank.evaluation.recordings.settings import Header
from hybridrank.evaluation.recordings.stage_rankings import fill_stages, rankings_by_stage, stage_kinds
from hybridrank.result.trace import StageKind, Trace
from hybridrank.runtime.files import AppendOnlyFile, appending
from hybridrank.values.problems import first_problem

__all__ = ["RecordedSearch", "Recording", "RecordingFile", "name_from_path", "with_judgments"]

_LONGEST_HEADER = 1 << 20  # bytes
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordedSearch:
    """One query's search: its trace, and the data needed to measure and replay it.

    `chars` are the sizes of the candidates in characters, as a reranker reads them, by id. `parents` says which
    document a passage is of. `first` marks the first search of a run, in which models may have been loaded.
    `unheld` are relevant documents that were not held; None where that is unknown. `synthetic` says what made the
    judgments, where no person did; None: as the recording's header says.
    """

    query_id: str
    trace: Trace
    qrels: Mapping[str, int]
    ignored: frozenset[str] = frozenset()
    chars: Mapping[str, int] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    first: bool = False
    unheld: frozenset[str] | None = None
    synthetic: str | None = None

    def rankings(self) -> dict[str, tuple[str, ...]]:
        """The documents in order, best first, after each stage by name: see `rankings_by_stage`."""
        return rankings_by_stage(self.trace, ignored=self.ignored, parents=self.parents)


@dataclass(frozen=True)
class _Judged:
    """A line that replaces the judgments of a query; its search stays valid."""

    query_id: str
    qrels: Mapping[str, int]
    ignored: frozenset[str] = frozenset()
    unheld: frozenset[str] | None = None
    synthetic: str | None = None


@dataclass(frozen=True)
class Recording:
    """One run of a pipeline over a dataset: a search for each query, and what it was made with.

    It holds the judgments too, so that a recording alone can be measured, tuned and replayed.
    """

    name: str
    header: Header
    searches: Mapping[str, RecordedSearch]
    warnings: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: str | PathLike[str], *, name: str | None = None) -> Recording:
        """Read the file that `record` wrote; its name is the stem unless `name` is given.

        A last line that was cut off, as by a kill, is left out with a warning.

        Raises:
            InputError: there is no such file, it is no recording, or another line of it is damaged; says which.
        """
        file = RecordingFile(Path(path))
        header, searches = file.read()
        return cls(name or name_from_path(Path(path)), header, searches, file.warnings)

    def save(self, path: str | PathLike[str]) -> None:
        """Write it to a new file.

        Raises:
            StorageError: there is such a file already, or it cannot be written.
        """
        target = Path(path)
        if os.path.exists(target):  # not Path.exists, which fails for a name that is too long
            raise StorageError(f"{str(target)!r} is there already")
        file = RecordingFile(target)
        with file.appending():
            if file.has_content:
                raise StorageError(f"{str(target)!r} is there already")
            file.write_header(self.header)
            for search in self.searches.values():
                file.write(search)

    def __len__(self) -> int:
        """How many queries were searched for."""
        return len(self.searches)

    @property
    def dataset(self) -> Dataset:
        """The recorded queries with their judgments; it has no documents.

        Raises:
            InputError: nothing was recorded, or no document is relevant.
        """
        return Dataset(
            name=self.header.dataset or self.name,
            split=self.header.split,
            synthetic=self.synthetic,
            queries={query_id: search.trace.query for query_id, search in self.searches.items()},
            qrels={query_id: search.qrels for query_id, search in self.searches.items()},
            ignored={query_id: search.ignored for query_id, search in self.searches.items() if search.ignored},
        )

    @property
    def synthetic(self) -> str:
        """What made the judgments, where no person did; "" where people judged."""
        told = [self.header.synthetic if s.synthetic is None else s.synthetic for s in self.searches.values()]
        return ", ".join(dict.fromkeys(filter(None, told or [self.header.synthetic])))

    def judged_by(self, dataset: Dataset) -> Recording:
        """The recorded searches for the queries of a dataset, in its order, with its judgments.

        Raises:
            InputError: a query of the dataset was not recorded, or with another text.
        """
        return replace(self, searches={q: self._judged(q, dataset) for q in dataset.queries})

    def _judged(self, query_id: str, dataset: Dataset) -> RecordedSearch:
        search = self.searches.get(query_id)
        if search is None:
            raise InputError(
                f"recording {self.name!r} has no search for query {query_id!r} of {dataset.label} (it has "
                f"{len(self)} of its {len(dataset)} queries)"
            )
        return with_judgments(search, dataset, of=f"recording {self.name!r}")

    @property
    def kinds(self) -> dict[str, StageKind]:
        """The stages, in order, and of which kind each is."""
        return stage_kinds(search.trace for search in self.searches.values())

    def rankings(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The documents in order, best first, by stage and query."""
        kinds = self.kinds
        found: dict[str, dict[str, tuple[str, ...]]] = {stage: {} for stage in kinds}
        for query_id, search in self.searches.items():
            for stage, order in fill_stages(search.rankings(), kinds).items():
                found[stage][query_id] = tuple(order)
        return found

    @property
    def degraded(self) -> dict[str, Mapping[str, str]]:
        """The failed stages and the reasons, by query, for searches in which a stage failed."""
        return {q: search.trace.degraded for q, search in self.searches.items() if search.trace.degraded}


def with_judgments(search: RecordedSearch, dataset: Dataset | QueryLog, *, of: str) -> RecordedSearch:
    """A search with the judgments of a dataset.

    Raises:
        InputError: it was a search for another text.
    """
    query_id = search.query_id
    if search.trace.query != dataset.queries[query_id]:
        raise InputError(
            f"{of} was made for another query {query_id!r}: {search.trace.query!r:.60} there, "
            f"{dataset.queries[query_id]!r:.60} in {dataset.label}"
        )
    return replace(
        search,
        qrels=dataset.qrels[query_id],
        ignored=frozenset(dataset.ignored.get(query_id, frozenset())),
        synthetic=dataset.synthetic,
    )


class RecordingFile:
    """The file of a recording: JSON Lines, its first a `Header`, then one for each search as it was made.

    A query may come twice: its later line counts. An appended line survives a killed process; a line that cannot
    be appended whole is removed. One process at a time appends; others may read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: tuple[str, ...] = ()
        self._sound = b""
        self._out: AppendOnlyFile | None = None

    @property
    def has_content(self) -> bool:
        """Whether the file is not empty. Call it within `appending`."""
        return self._file.size > 0

    def read(self) -> tuple[Header, dict[str, RecordedSearch]]:
        """Read the header and the searches, without a last line that was cut off.

        Raises:
            InputError: it cannot be read, is no recording, or a whole line is damaged; says which.
        """
        content = self._content(-1)
        lines = content.splitlines(keepends=True)
        if not lines:
            raise InputError(f"the recording {str(self.path)!r} is empty")
        header = self._header(lines[0])
        searches: dict[str, RecordedSearch] = {}
        for number, line in enumerate(lines[1:], start=2):
            try:
                self._take(line, searches)
            except (ValueError, RecursionError) as error:
                if line.endswith(b"\n"):
                    raise InputError(f"{self.path}:{number} is damaged: {_first(error)}") from None
                lost = f"{self.path}:{number} was cut off, and is left out"
                self.warnings = (*self.warnings, lost)
                _log.warning("%s", lost)
                content = content[: -len(line)]
        self._sound = content
        return header, searches

    def read_header(self) -> Header:
        """Read the header alone.

        Raises:
            InputError: it cannot be read, or is no recording.
        """
        return self._header(self._content(_LONGEST_HEADER).split(b"\n", 1)[0])

    def _content(self, size: int) -> bytes:
        """The first `size` bytes; -1 is all."""
        try:
            with self.path.open("rb") as file:
                return file.read(size)
        except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"cannot read the recording {str(self.path)!r}: {reason}") from error

    def repair(self) -> None:
        """Remove the incomplete last line that `read` found, so that the file can be appended to.

        Within `appending`: nobody else is writing that line.

        Raises:
            StorageError: it cannot be written.
        """
        if self._file.size > len(self._sound):
            self._file.truncate(len(self._sound))
        if not self._sound.endswith(b"\n"):
            self._file.append(b"\n")

    def _header(self, line: bytes) -> Header:
        try:
            said = json.loads(line)
            if said["format"] != Header.format:
                raise ValueError
            if said["version"] > Header.version:
                raise InputError(f"{str(self.path)!r} was written by a newer version of hybridrank; update it")
            said["settings"], said["own"] = current_names(said["settings"]), current_names(said.get("own"))
            header = _headers().validate_json(json.dumps(said))
            if not all(
                isinstance(each.get("retrievers"), Mapping) for each in (header.settings, header.own) if each
            ):
                raise ValueError
            return header
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError(
                f"{str(self.path)!r} is no recording: its first line does not say how it was made"
            ) from None

    @staticmethod
    def _take(line: bytes, searches: dict[str, RecordedSearch]) -> None:
        try:
            search = _searches().validate_json(line)
        except ValidationError:
            if b'"trace"' in line and "trace" in json.loads(line):  # the name may also be that of a document
                raise
            later = _judgments().validate_json(line)
            before = searches.get(later.query_id)
            if before is None:
                problem = f"judgments of query {later.query_id!r}, which was not searched for"
                raise ValueError(problem) from None
            search = replace(
                before,
                qrels=later.qrels,
                ignored=later.ignored,
                unheld=later.unheld,
                synthetic=later.synthetic,
            )
        searches[search.query_id] = search

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Open the file for appending, exclusively; its directory is created. Write only within this context.

        Raises:
            LockedError: another process or thread is writing it.
            StorageError: it cannot be written.
        """
        with appending(self.path, what="recording") as self._out:
            try:
                yield
            finally:
                self._out = None

    @property
    def _file(self) -> AppendOnlyFile:
        if self._out is None:
            raise StorageError(f"the recording {str(self.path)!r} is not open for writing")
        return self._out

    def write_header(self, header: Header) -> None:
        """Write the first line."""
        self._file.append(_headers().dump_json(header) + b"\n")

    def write(self, search: RecordedSearch) -> None:
        """Append a search.

        Raises:
            StorageError: it could not be written whole, and nothing of it is there.
        """
        self._file.append(_searches().dump_json(search) + b"\n")

    def write_judgments(self, search: RecordedSearch) -> None:
        """Append the judgments of a search that is there."""
        later = _Judged(search.query_id, search.qrels, search.ignored, search.unheld, search.synthetic)
        self._file.append(_judgments().dump_json(later) + b"\n")


def name_from_path(path: Path) -> str:
    """The name of a recording, from its file: ``a.recording.jsonl`` holds ``a``."""
    return path.name.removesuffix(".jsonl").removesuffix(".recording")


def _first(error: ValueError | RecursionError) -> str:
    if isinstance(error, ValidationError):
        problem = first_problem(error, None)
        return f"${problem.path}: {problem.text}" if problem.path else problem.text
    return str(error)


@cache
def _headers() -> TypeAdapter[Header]:
    return TypeAdapter(Header)


@cache
def _searches() -> TypeAdapter[RecordedSearch]:
    return TypeAdapter(RecordedSearch)


@cache
def _judgments() -> TypeAdapter[_Judged]:
    return TypeAdapter(_Judged)
