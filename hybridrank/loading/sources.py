"""The files under some paths, and the documents in each."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.loading import docx, html, parquet, pdf, records, text
from hybridrank.types import Document

__all__ = ["Files", "Source", "find_files", "load_documents"]

_Records = Iterator[tuple[str, Mapping[str, Any]]]
_TABLES: Mapping[str, Callable[[Path, str], _Records]] = {
    ".jsonl": records.json_lines,
    ".ndjson": records.json_lines,
    ".csv": records.comma_separated,
    ".tsv": records.tab_separated,
    ".parquet": parquet.rows,
}
_TEXTS: Mapping[str, Callable[[Path], tuple[str, str | None]]] = {
    ".txt": text.read_plain,
    ".rst": text.read_plain,
    ".md": text.read_markdown,
    ".markdown": text.read_markdown,
    ".html": html.read_html,
    ".htm": html.read_html,
    ".xhtml": html.read_html,
    ".pdf": pdf.read_pdf,
    ".docx": docx.read_docx,
}
_KNOWN = (*_TABLES, *_TEXTS)
_SKIPPED_FOLDERS = ("node_modules", "__pycache__")
_READING = 1  # raise it when a reader makes other documents of the same bytes: then all is read again

Skip = Callable[[Path, str], None]
"""Called with a file or directory that is left out, and why."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file, and how it is read.

    `path` is absolute. `id` is the path relative to the directory that was given (its name, where the file
    itself was): a file of text is the document with this id, and a record that has no id of its own is
    ``<id>:<line or row>``, counted from 1.
    """

    path: Path
    id: str
    text_field: str = "text"
    id_field: str | None = None

    @property
    def name(self) -> str:
        """What a collection remembers it by: the absolute path, with slashes."""
        return self.path.as_posix()

    @property
    def is_table(self) -> bool:
        """Whether it holds records, any number of documents; else it is one document."""
        return self.path.suffix.lower() in _TABLES

    def digest(self) -> str:
        """A hash of the bytes and of all else that its documents depend on; the file is read in pieces.

        Raises:
            InputError: the file cannot be read.
        """
        fields = (self.text_field, self.id_field) if self.is_table else ()
        hasher = hashlib.sha256(json.dumps([_READING, self.id, *fields]).encode() + b"\n")
        try:
            with self.path.open("rb") as file:
                hashlib.file_digest(file, lambda: hasher)
        except OSError as error:
            raise InputError(f"cannot read {str(self.path)!r}: {error.strerror}") from error
        return hasher.hexdigest()

    def documents(self) -> Iterator[Document]:
        """Read the documents, a table's one by one.

        Raises:
            InputError: the file is damaged, locked by a password, empty of text where it should hold some, or
                a record is unusable; says which file and line or row.
            MissingDependencyError: the library that reads such files is not installed.
        """
        suffix = self.path.suffix.lower()
        if suffix in _TABLES:
            for where, record in _TABLES[suffix](self.path, self.id):
                yield records.to_document(record, where, text_field=self.text_field, id_field=self.id_field)
        else:
            content, title = _TEXTS[suffix](self.path)
            yield Document(id=self.id, text=content, title=title)


@dataclass(frozen=True, slots=True)
class Files:
    """What `find_files` found: the sources in order, and how many files of each other ending were passed over."""

    sources: tuple[Source, ...]
    passed_over: Mapping[str, int]


def find_files(
    paths: Iterable[str | Path],
    *,
    text_field: str = "text",
    id_field: str | None = None,
    on_skip: Skip | None = None,
) -> Files:
    """Find every readable file under `paths`: each is a file or a directory with all below it.

    They come in the order of `paths`, a directory's sorted, each file once. In a directory, files of unknown
    endings are counted; what is hidden (its name begins with a dot), ``node_modules``, ``__pycache__`` and links
    to directories are not looked at; what cannot be read is told to `on_skip`.

    Raises:
        InputError: a path does not exist, or is a file of unknown kind; or two files would be one document,
            as they lie at the same place in two of the directories (records are compared where they are stored).
    """
    if isinstance(paths, str):
        raise InputError("paths must be a collection of paths, not one str")
    found: dict[str, Source] = {}
    documents: dict[str, Path] = {}
    passed_over: Counter[str] = Counter()
    for given in paths:
        for path, doc_id in _below(Path(given), passed_over, on_skip):
            source = Source(path, doc_id, text_field, id_field)
            if source.name in found:
                continue
            found[source.name] = source
            if not source.is_table and documents.setdefault(doc_id, path) != path:
                raise InputError(
                    f"{str(documents[doc_id])!r} and {str(path)!r} would both be document {doc_id!r}; "
                    "give a directory that holds both"
                )
    return Files(tuple(found.values()), dict(passed_over))


def load_documents(
    path: str | Path,
    *,
    text_field: str = "text",
    id_field: str | None = None,
    on_skip: Skip | None = None,
) -> Iterator[Document]:
    """Read documents from a file, or from every file under a directory that can be read.

    Of a record, `text_field` is the text, `id_field` the id (by default ``id`` or ``_id``, else the place in the
    file), ``title`` the title, an object under ``metadata`` the metadata; all other fields join the metadata. A
    file of text is one document with its path as id; its title is what the file says that it is, else its
    first heading. A file in a directory that cannot be read is left out whole, and `on_skip` told why.

    Raises:
        InputError: the path does not exist or is of no known kind, or a record is unusable; says which.
        MissingDependencyError: the library that reads such a file is not installed.
    """
    files = find_files([path], text_field=text_field, id_field=id_field, on_skip=on_skip)
    if not Path(path).is_dir():
        return files.sources[0].documents()
    if not files.sources:
        raise InputError(f"no file under {str(path)!r} can be read; known endings: {', '.join(_KNOWN)}")

    def documents() -> Iterator[Document]:
        for source in files.sources:
            try:
                yield from list(source.documents())  # all of a file or nothing
            except (InputError, MissingDependencyError) as error:
                if on_skip is not None:
                    on_skip(source.path, str(error))

    return documents()


def _below(given: Path, passed_over: Counter[str], on_skip: Skip | None) -> Iterator[tuple[Path, str]]:
    """The files at or under a path: where each is, and its id. Only the directory's own links are resolved."""
    try:
        mode = given.stat().st_mode
    except FileNotFoundError:
        raise InputError(f"there is no file or directory {str(given)!r}") from None
    except OSError as error:
        raise InputError(f"cannot read {str(given)!r}: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        path = given.parent.resolve() / given.name
        if path.suffix.lower() not in _KNOWN:
            raise InputError(
                f"cannot tell what kind of file {str(given)!r} is; known endings: {', '.join(_KNOWN)}"
            )
        if problem := _problem(path):
            raise InputError(f"cannot read {str(given)!r}: {problem}")
        yield path, path.name
        return
    root = given.resolve()
    for path in _walk(root, on_skip):
        suffix = path.suffix.lower()
        if suffix not in _KNOWN:
            passed_over[suffix] += 1
        elif problem := _problem(path):
            if on_skip is not None:
                on_skip(path, problem)
        else:
            yield path, path.relative_to(root).as_posix()


def _walk(root: Path, on_skip: Skip | None) -> list[Path]:
    def failed(error: OSError) -> None:
        if on_skip is not None:
            on_skip(Path(error.filename), f"cannot be listed: {error.strerror}")

    paths = []
    for folder, folders, names in os.walk(root, onerror=failed):
        folders[:] = [name for name in folders if name[0] != "." and name not in _SKIPPED_FOLDERS]
        paths += [Path(folder, name) for name in names if name[0] != "."]
    return sorted(paths)


def _problem(path: Path) -> str | None:
    """Why a file cannot be a source, as far as its name and kind tell."""
    try:
        str(path).encode()
        mode = path.stat().st_mode
    except UnicodeEncodeError:
        return "its path is not UTF-8"
    except OSError as error:
        return error.strerror
    return None if stat.S_ISREG(mode) else "not a regular file"
