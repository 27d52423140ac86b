"""The files under some paths, and the documents in each."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError, MissingDependencyError
from hybridrank.ingest.files import (
    archives,
    code,
    docx,
    epub,
    html,
    json_file,
    mail,
    markup,
    notebooks,
    opendocument,
    parquet,
    pdf,
    records,
    rtf,
    slides,
    tables,
    text,
    workbooks,
    xml,
)
from hybridrank.ingest.files.distinct import with_distinct_ids
from hybridrank.ingest.files.encodings import unreadable
from hybridrank.ingest.files.facts import file_facts
from hybridrank.ingest.files.reading import ColumnType, Content, Note, OnBad, OnError, ReadOptions, refuse
from hybridrank.ingest.files.sidecars import is_sidecar, sidecar_bytes, sidecar_fields
from hybridrank.types import Document
from hybridrank.values.json_values import json_object

__all__ = ["Files", "Source", "find_files", "list_files", "load_documents"]

_log = logging.getLogger(__name__)

_Records = Iterator[tuple[str, Mapping[str, Any]]]


def _json_lines(path: Path, label: str, reading: ReadOptions, on_bad: OnBad, note: Note) -> _Records:  # noqa: ARG001
    return records.json_lines(path, label, encoding=reading.encoding, on_bad=on_bad, bounded=True)


def _parquet(path: Path, label: str, reading: ReadOptions, on_bad: OnBad, note: Note) -> _Records:  # noqa: ARG001
    return parquet.rows(path, label, on_bad=on_bad)


_TABLES: Mapping[str, Callable[[Path, str, ReadOptions, OnBad, Note], _Records]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": tables.typed_rows,
    ".tsv": tables.typed_rows,
    ".parquet": _parquet,
    ".json": json_file.json_values,
}
_TEXTS: Mapping[str, Callable[[Path, ReadOptions, Note], Content]] = {
    ".txt": text.read_plain,
    ".rst": markup.read_rst,
    ".adoc": markup.read_asciidoc,
    ".asciidoc": markup.read_asciidoc,
    ".org": markup.read_org,
    ".md": text.read_markdown,
    ".markdown": text.read_markdown,
    ".html": html.read_html,
    ".htm": html.read_html,
    ".xhtml": html.read_html,
    ".pdf": pdf.read_pdf,
    ".docx": docx.read_docx,
    ".odt": opendocument.read_odt,
    ".rtf": rtf.read_rtf,
    ".epub": epub.read_epub,
    ".pptx": slides.read_slides,
    ".xlsx": workbooks.read_workbook,
    ".ods": opendocument.read_sheets,
    ".ipynb": notebooks.read_notebook,
    ".xml": xml.read_xml,
    **dict.fromkeys(code.LANGUAGES, code.read_code),
}
_MAIL = ".eml"
_ARCHIVES = (*archives.ZIPS, *archives.TARS)
_KNOWN = (*_TABLES, *_TEXTS, _MAIL, *_ARCHIVES)
_SKIPPED_FOLDERS = ("node_modules", "__pycache__")
_READING = 4  # raise it when a reader makes other documents of the same bytes: then all is read again
_BY_DEFAULT = ReadOptions()
_MOST_REPORTED = 1000  # records of a file, one by one

Told = Callable[[Path, str], None]
"""Called with a file, and why it or one of its records is left out, or what was assumed about it."""


def _unheard(said: str) -> None:
    """Ignore a report."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file, and how it is read.

    `path` is absolute. `id` is the path relative to the directory that was given (its name, where the file
    itself was), in Unicode's composed form (NFC): a file of text is the document with this id, and a record that
    has no id of its own is ``<id>:<line or row>``, counted from 1.
    """

    path: Path
    id: str
    reading: ReadOptions = _BY_DEFAULT

    @property
    def ending(self) -> str:
        """What its name ends with, in lower case, if that is known: ``.md``, ``.tar.gz``."""
        return _ending(self.path.name)

    @property
    def name(self) -> str:
        """Its name in a collection: the absolute path, with slashes."""
        return self.path.as_posix()

    @property
    def is_table(self) -> bool:
        """Whether it may hold many documents (records, members, attachments); else it is one document."""
        return self.ending not in _TEXTS

    def digest(self) -> str:
        """A hash of the bytes and of everything else that determines its documents; the file is read in pieces.

        Raises:
            InputError: the file or its sidecar cannot be read.
        """
        chosen = json.dumps([_READING, self.id, *self.reading.choices(table=self.is_table)])
        sidecar = sidecar_bytes(self.path)
        hasher = hashlib.sha256(chosen.encode() + b"\n" + (hashlib.sha256(sidecar).digest() if sidecar else b""))
        try:
            with self.path.open("rb") as file:
                hashlib.file_digest(file, lambda: hasher)
        except OSError as error:
            raise unreadable(self.path, error) from error
        return hasher.hexdigest()

    def documents(self, *, on_skip: Note | None = None, on_note: Note | None = None) -> Iterator[Document]:
        """Read the documents, a table's one by one, with the metadata of the file's sidecar.

        An invalid record or member, or one with a duplicate id, is left out, and reported to `on_skip` with the
        reason; if that is None, or `reading` says so, it is an error. `on_note` receives notes on assumptions and
        losses: the types of columns, content that a library left out.

        Raises:
            InputError: the file is damaged, locked by a password, empty of text where it should hold some, or a
                record is unusable, or all are; says which file and line or row.
            MissingDependencyError: the library that reads such files is not installed.
        """
        extra = sidecar_fields(self.path)
        title = extra.pop("title", None)
        for document in self._read(on_skip, on_note or _unheard):
            if extra or title:
                yield replace(
                    document,
                    title=title if isinstance(title, str) else document.title,
                    metadata={**document.metadata, **extra},
                )
            else:
                yield document

    def _read(self, on_skip: Note | None, note: Note) -> Iterator[Document]:
        if not self.is_table:
            yield self._document(_TEXTS[self.ending], note)
        elif on_skip is None or self.reading.on_error == "raise":
            yield from self._many(refuse, note, archives.Budget())
        else:
            left_out = _LeftOut(on_skip, self.id)
            yield from left_out.pass_on(self._many(left_out.add, note, archives.Budget()))

    def _document(self, read: Callable[[Path, ReadOptions, Note], Content], note: Note) -> Document:
        content = read(self.path, self.reading, note)
        facts = file_facts(self.path, self.id) if self.reading.file_metadata else {}
        metadata = {**content.metadata, **facts}
        return Document(id=self.id, text=content.text, title=content.title, metadata=metadata)

    def _many(self, on_bad: OnBad, note: Note, budget: archives.Budget) -> Iterator[Document]:
        ending = self.ending
        if ending in _TABLES:
            yield from self._records(ending, on_bad, note)
        elif ending == _MAIL:
            yield self._document(mail.read_mail, note)
            yield from self._members(
                mail.attachments(self.path, self.id, _KNOWN, budget, on_bad), on_bad, note, budget
            )
        else:
            found = archives.members(self.path, self.id, ending, _KNOWN, budget, on_bad)
            yield from self._members(found, on_bad, note, budget)

    def _members(
        self, found: Iterator[tuple[Path, str]], on_bad: OnBad, note: Note, budget: archives.Budget
    ) -> Iterator[Document]:
        """The documents of the files in this one. What is wrong with one of them is reported under its name."""
        seen: set[str] = set()
        for path, name in found:
            member = Source(path, unicodedata.normalize("NFC", name), self.reading)

            def told(said: object, member: Source = member) -> str:
                return str(said).replace(str(member.path), member.id)

            def bad(error: InputError, told: Callable[[object], str] = told) -> None:
                on_bad(InputError(told(error)))

            def noted(said: str, told: Callable[[object], str] = told, label: str = member.id) -> None:
                note(f"{label}: {told(said)}")

            try:
                if member.is_table:
                    documents = member._many(bad, noted, budget)
                else:
                    documents = iter([member._document(_TEXTS[member.ending], noted)])
                for document in documents:
                    if document.id in seen:
                        raise InputError(f"{member.id!r} repeats the id {document.id!r}; ids must be distinct")
                    seen.add(document.id)
                    yield document
            except (InputError, MissingDependencyError) as error:
                bad(error if isinstance(error, InputError) else InputError(f"{member.id!r}: {error}"))

    def _records(self, suffix: str, on_bad: OnBad, note: Note) -> Iterator[Document]:
        text_field, id_field = self.reading.text_field, self.reading.id_field
        with_place = self.reading.file_metadata
        seen: set[str] = set()
        for where, record in _TABLES[suffix](self.path, self.id, self.reading, on_bad, note):
            try:
                if not with_place:
                    place = {}
                elif where == self.id:
                    place = file_facts(self.path, self.id)
                else:
                    place = {"path": self.id, "row": int(where.rpartition(":")[2])}
                document = records.to_document(record, where, place, text_field=text_field, id_field=id_field)
                if document.id in seen:
                    raise InputError(f"{where} repeats the id {document.id!r}; ids must be distinct")
                json_object(document.metadata, what=f"{where}: document {document.id!r}: metadata")
            except InputError as error:
                on_bad(error)
            else:
                seen.add(document.id)
                yield document


def _ending(name: str) -> str:
    lower = name.lower()
    return next((known for known in archives.TARS if lower.endswith(known)), Path(lower).suffix)


class _LeftOut:
    """Reports the records of a file that are left out, once one is found that is not, and not too many."""

    def __init__(self, tell: Note, label: str) -> None:
        self._tell = tell
        self._label = label
        self._number = 0
        self._first: list[InputError] = []
        self._any_good = False

    def add(self, error: InputError) -> None:
        """Take what is wrong with a record."""
        self._number += 1
        if self._number > _MOST_REPORTED:
            return
        if self._any_good:
            self._tell(str(error))
        else:
            self._first.append(error)

    def pass_on(self, documents: Iterator[Document]) -> Iterator[Document]:
        """The documents; an error if there is none although there are records."""
        for document in documents:
            if not self._any_good:
                self._any_good = True
                for error in self._first:
                    self._tell(str(error))
                self._first.clear()
            yield document
        if not self._any_good and self._first:
            others = (
                f" (and none of the {self._number - 1:,} other records can be used)" if self._number > 1 else ""
            )
            raise InputError(f"{self._first[0]}{others}")
        if self._number > _MOST_REPORTED:
            self._tell(f"{self._label}: {self._number - _MOST_REPORTED:,} more records cannot be used")


@dataclass(frozen=True, slots=True)
class Files:
    """The result of `find_files`: the sources in order, and the number of skipped files by ending."""

    sources: tuple[Source, ...]
    passed_over: Mapping[str, int]


def find_files(
    paths: Iterable[str | Path],
    *,
    text_field: str = "text",
    id_field: str | None = None,
    encoding: str | None = None,
    types: ColumnType | Mapping[str, ColumnType] | None = None,
    quotes: bool | None = None,
    on_error: OnError = "skip",
    file_metadata: bool = True,
    on_skip: Told | None = None,
) -> Files:
    """Find every readable file under `paths`: each is a file or a directory with all below it.

    They come in the order of `paths`, a directory's sorted, each file once. In a directory, files of unknown
    endings are counted; what is hidden (its name begins with a dot), ``node_modules``, ``__pycache__`` and links
    to directories are not looked at; what cannot be read is reported to `on_skip`, and so is the second of two
    files whose names differ only in Unicode's normalization. `load_documents` describes the other options.

    Where two files would be one document, since they lie at the same place in two of the directories, the id of
    the second begins with the name of its directory. Records are compared where they are stored.

    Raises:
        InputError: a path does not exist, or is a file of unknown kind.
    """
    if isinstance(paths, str):
        raise InputError("paths must be a collection of paths, not one str")
    named = {} if types is None else types
    reading = ReadOptions(text_field, id_field, encoding, named, quotes, on_error, file_metadata)
    files = list_files(paths, reading, on_skip)
    return replace(files, sources=tuple(with_distinct_ids(files.sources)))


def list_files(paths: Iterable[str | Path], reading: ReadOptions, on_skip: Told | None = None) -> Files:
    """Find the files as `find_files` does, of which several may have one id."""
    found: dict[str, Source] = {}
    passed_over: Counter[str] = Counter()
    for given in paths:
        here: dict[str, Path] = {}
        for path, doc_id in _below(Path(given), passed_over, on_skip):
            source = Source(path, doc_id, reading)
            if source.name in found:
                continue
            if (other := here.setdefault(doc_id, path)) != path:
                if on_skip is not None:
                    on_skip(path, f"its name differs from that of {str(other)!r} only in Unicode's normalization")
                continue
            found[source.name] = source
    return Files(tuple(found.values()), dict(passed_over))


def load_documents(
    path: str | Path,
    *,
    text_field: str = "text",
    id_field: str | None = None,
    encoding: str | None = None,
    types: ColumnType | Mapping[str, ColumnType] | None = None,
    quotes: bool | None = None,
    on_error: OnError = "skip",
    file_metadata: bool = True,
    on_skip: Told | None = None,
    on_note: Told | None = None,
) -> Iterator[Document]:
    """Read documents from a file, or from every file under a directory that can be read.

    In a record, `text_field` is the text, `id_field` the id (by default ``id`` or ``_id``, else the position in
    the file), ``title`` the title, an object under ``metadata`` the metadata; all other fields are added to the
    metadata. A text file is one document with its path as id; its title is the one that the file declares,
    otherwise its first heading.

    `encoding` is that of text files which have no byte order mark and declare none (by default UTF-8). `types` are
    those of the columns of CSV and TSV, by name or one for all: ``str``, ``int``, ``float``, ``bool`` or ``date``.
    The types of other columns are inferred, and `on_note` receives which. `quotes` says whether quotation marks
    enclose fields: by default in CSV, and not in TSV. With `file_metadata` a document says in its metadata which
    file it comes from (``path``, ``row``, ``modified`` and others; docs/collection.md lists them).

    An invalid record, or an unreadable file in a directory, is left out, and reported to `on_skip` with the
    reason; if that is None, a warning is logged. With ``on_error="raise"``, an invalid record is an error.

    Raises:
        InputError: the path does not exist or is of no known kind, or cannot be read, or none of its records can
            be used, or an option has no meaning; says which.
        MissingDependencyError: the library that reads such a file is not installed.
    """
    skip, note = on_skip or _warn, on_note or _inform
    files = find_files(
        [path],
        text_field=text_field,
        id_field=id_field,
        encoding=encoding,
        types=types,
        quotes=quotes,
        on_error=on_error,
        file_metadata=file_metadata,
        on_skip=skip,
    )
    if not Path(path).is_dir():
        return _documents(files.sources[0], skip, note)
    if not files.sources:
        raise InputError(f"no file under {str(path)!r} can be read; known endings: {', '.join(_KNOWN)}")

    def documents() -> Iterator[Document]:
        for source in files.sources:
            try:
                yield from list(_documents(source, skip, note))  # what cannot be read whole gives nothing
            except (InputError, MissingDependencyError) as error:
                if on_error == "raise" and source.is_table:
                    raise
                skip(source.path, str(error))

    return documents()


def _documents(source: Source, on_skip: Told, on_note: Told) -> Iterator[Document]:
    return source.documents(
        on_skip=lambda reason: on_skip(source.path, reason), on_note=lambda said: on_note(source.path, said)
    )


def _warn(path: Path, reason: str) -> None:
    _log.warning("left out, of %s: %s", path, reason)


def _inform(path: Path, said: str) -> None:
    _log.info("%s: %s", path, said)


def _below(given: Path, passed_over: Counter[str], on_skip: Told | None) -> Iterator[tuple[Path, str]]:
    """The files at or under a path: where each is, and its id. Only the directory's own links are resolved."""
    try:
        mode = given.stat().st_mode
    except FileNotFoundError:
        raise InputError(f"there is no file or directory {str(given)!r}") from None
    except OSError as error:
        raise unreadable(given, error) from error
    if not stat.S_ISDIR(mode):
        path = given.parent.resolve() / given.name
        if is_sidecar(path.name):
            raise InputError(f"{str(given)!r} has the metadata of another file: give that file, or the directory")
        if _ending(path.name) not in _KNOWN:
            raise InputError(
                f"cannot tell what kind of file {str(given)!r} is; known endings: {', '.join(_KNOWN)}"
            )
        if problem := _problem(path):
            raise InputError(f"cannot read {str(given)!r}: {problem}")
        yield path, unicodedata.normalize("NFC", path.name)
        return
    root = given.resolve()
    for path in _walk(root, on_skip):
        ending = _ending(path.name)
        if is_sidecar(path.name):
            continue
        if ending not in _KNOWN:
            passed_over[ending] += 1
        elif problem := _problem(path):
            if on_skip is not None:
                on_skip(path, problem)
        else:
            yield path, unicodedata.normalize("NFC", path.relative_to(root).as_posix())


def _walk(root: Path, on_skip: Told | None) -> list[Path]:
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
