"""Mined training data as a file: queries, their fused candidates, judgments, and a teacher's scores.

JSON Lines, each line an object with one field that names its kind:

- ``mined``, the first: the format's version, and the settings that it was mined with;
- ``document``: the text of a document that later queries refer to, written once;
- ``query``: its split, judgments and candidates;
- ``finished``, the last: counts. A file without it was interrupted; mining again resumes it.

One file serves rerankers and embedders, independent of the collection.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

from hybridrank.component.stored_names import current_names, without_empty
from hybridrank.errors import InputError
from hybridrank.runtime.files import appending
from hybridrank.types import Document

__all__ = ["Mined", "MinedCandidate", "MinedFile", "MinedQuery", "Split"]

Split: TypeAlias = Literal["train", "dev", "test"]
"""What a query is for: learning, deciding when to stop, or judging the result."""

_VERSION = 1
_BEGINNING = b'{"mined": '


@dataclass(frozen=True, slots=True)
class MinedCandidate:
    """A document of a query: its fused rank (1-based; None if retrieval missed it), and a teacher's score.

    `passage` is the id of its best passage, if documents are split; the model then reads the passage.
    """

    doc_id: str
    rank: int | None
    teacher: float | None = None
    passage: str | None = None

    @property
    def read(self) -> str:
        """The id under which `Mined.documents` has the text for the model."""
        return self.passage or self.doc_id


@dataclass(frozen=True, slots=True)
class MinedQuery:
    """A judged query, its fused candidates best first, then the relevant documents that were missed.

    `relevance` has all its judgments by document, including those of documents that were never found.
    """

    id: str
    text: str
    split: Split
    relevance: Mapping[str, int]
    candidates: tuple[MinedCandidate, ...]

    @property
    def found(self) -> tuple[str, ...]:
        """The ids of the retrieved documents, in fused order."""
        return tuple(candidate.doc_id for candidate in self.candidates if candidate.rank is not None)

    def is_relevant(self, doc_id: str) -> bool:
        """Whether the document is judged relevant."""
        return self.relevance.get(doc_id, 0) > 0


@dataclass(frozen=True)
class Mined:
    """The content of a mined file: its `settings`, `counts`, `documents` by id, queries.

    `digest` is a hash of the file; 32 hexadecimal digits.
    """

    settings: Mapping[str, Any]
    counts: Mapping[str, int]
    documents: Mapping[str, Document]
    queries: Sequence[MinedQuery]
    digest: str
    path: Path = field(default=Path(), compare=False)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a finished file.

        Raises:
            InputError: it is not there, is no mined file, or was interrupted.
        """
        file = Path(path)
        documents: dict[str, Document] = {}
        queries: list[MinedQuery] = []
        settings: Mapping[str, Any] = {}
        counts: Mapping[str, int] | None = None
        for kind, value, _ in _lines(file):
            if kind == "mined":
                settings = value["settings"]
            elif kind == "document":
                documents[value["id"]] = Document(**value)
            elif kind == "query":
                queries.append(_query(value))
            else:
                counts = value
        if counts is None:
            raise InputError(
                f"{file} is unfinished ({len(queries):,} queries so far): mine again with the same settings, "
                "and it goes on"
            )
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()[:32]
        return cls(settings, counts, documents, queries, digest, file)

    def of(self, split: Split) -> list[MinedQuery]:
        """The queries of one split."""
        return [query for query in self.queries if query.split == split]


class MinedFile:
    """A mined file while it is written. Everything that `add` has acknowledged is on disk; an interrupted file is
    resumed.

    Raises:
        InputError: the file is something else, or was mined with other settings; says which.
        LockedError: another process or thread is writing it.
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.done: set[tuple[str, str]] = set()
        self.finished = False
        self._documents: set[str] = set()
        with ExitStack() as stack:
            self._out = stack.enter_context(appending(path, what="mined file"))
            self._resume(json.loads(json.dumps(settings)))
            self._stack = stack.pop_all()

    def _resume(self, settings: Mapping[str, Any]) -> None:
        """Read the file's content, if it was mined with the same settings, or start it."""
        whole = 0
        known: Mapping[str, Any] | None = None
        for kind, value, end in _lines(self.path):
            whole = end
            if kind == "mined":
                known = value["settings"]
            elif kind == "document":
                self._documents.add(value["id"])
            elif kind == "query":
                self.done.add((value["split"], value["id"]))
            else:
                self.finished = True
        if not whole and not _BEGINNING.startswith(self._out.read()[: len(_BEGINNING)]):
            raise InputError(f"{self.path} is no mined file, and is not written over; give another")
        was, now = without_empty(known or {}), without_empty(settings)
        if known is not None and was != now:
            other = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
            raise InputError(
                f"{self.path} was mined with other settings ({', '.join(other)}); give another file, or delete "
                "this one"
            )
        if self._out.size > whole:
            self._out.truncate(whole)  # the rest of an interrupted line
        if known is None:
            self._write([{"mined": {"version": _VERSION, "settings": settings}}])

    def add(self, queries: Iterable[MinedQuery], documents: Mapping[str, Document]) -> None:
        """Write queries, and those of their documents that are not in the file yet.

        Raises:
            StorageError: the file cannot be written.
        """
        lines: list[dict[str, Any]] = []
        for query in queries:
            for candidate in query.candidates:
                if candidate.read not in self._documents:
                    self._documents.add(candidate.read)
                    text = documents[candidate.read].content
                    lines.append({"document": {"id": candidate.read, "text": text}})
            lines.append({"query": _query_fields(query)})
            self.done.add((query.split, query.id))
        self._write(lines)

    def finish(self, counts: Mapping[str, int]) -> None:
        """Write the final line."""
        if not self.finished:
            self._write([{"finished": dict(counts)}])
            self.finished = True

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def _write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        self._out.append(b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines))
        self._out.sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _lines(path: Path) -> Iterator[tuple[str, Any, int]]:
    """Every complete line: its kind, its value, and its end position in the file. An incomplete line ends the
    file.
    """
    try:
        with path.open("rb") as file:
            end = 0
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                yield *_parse_line(line, number, path), end
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from error


def _parse_line(line: bytes, number: int, path: Path) -> tuple[str, Any]:
    try:
        ((kind, value),) = json.loads(line).items()
    except (ValueError, AttributeError):
        kind, value = "", None
    if kind not in (("mined",) if number == 1 else ("document", "query", "finished")):
        raise InputError(f"{path}:{number} is no line of a mined file; mine one with `hybridrank train mine`")
    if kind == "mined" and value.get("version") != _VERSION:
        raise InputError(f"{path} has the format {value.get('version')!r}, and this version reads {_VERSION}")
    if kind == "mined":
        value = current_names(value)
    elif kind == "finished" and "judgements_dropped" in value:
        value["judgments_dropped"] = value.pop("judgements_dropped")  # the former spelling
    return kind, value


def _query_fields(query: MinedQuery) -> dict[str, Any]:
    return {
        "id": query.id,
        "text": query.text,
        "split": query.split,
        "relevance": dict(query.relevance),
        "candidates": [[each.doc_id, each.rank, each.teacher, each.passage] for each in query.candidates],
    }


def _query(value: Mapping[str, Any]) -> MinedQuery:
    if value["split"] not in get_args(Split):
        raise InputError(f"query {value['id']!r} is of the split {value['split']!r}; splits: {get_args(Split)}")
    candidates = tuple(MinedCandidate(*each) for each in value["candidates"])
    return MinedQuery(value["id"], value["text"], value["split"], value["relevance"], candidates)
