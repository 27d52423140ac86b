"""The content of a collection: show, delete, export, import."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridrank.cli.options import (
    CollectionArgument,
    FilterOption,
    IntoOption,
    JsonOption,
    NewCollectionOptions,
    TrustOption,
    grouped,
    parse_filter,
)
from hybridrank.cli.output import counted, err, interruptible, progress, say, say_json, say_text
from hybridrank.cli.stored import hint_absent_fields, open_documents, open_if_possible, open_or_create
from hybridrank.types import Document
from hybridrank.values.printable import json_text

if TYPE_CHECKING:
    from hybridrank.collection import ExportedDocument

__all__ = ["compact", "delete", "export_documents", "get", "import_documents", "info"]


def info(path: CollectionArgument, trust: TrustOption = False, as_json: JsonOption = False) -> None:
    """Show the number of documents in a collection, its size and its structure."""
    with open_if_possible(path, trust=trust) as collection:
        facts = {**collection.statistics(), "config": collection.config}
    if as_json:
        say_json(facts, indent=2)
    else:
        _print_facts(facts)


def _print_facts(facts: Mapping[str, Any], indent: str = "", *, options: bool = False) -> None:
    """One fact per line; those below ``config`` are `options`, named as in a configuration file."""
    for name, value in facts.items():
        label = f"{indent}{name if options else name.replace('_', ' ')}:"
        if isinstance(value, Mapping) and value:
            say(label)
            _print_facts(value, indent + "  ", options=options or name == "config")
        elif isinstance(value, int) and not isinstance(value, bool):
            say(f"{label} {value:,}")
        else:
            say(f"{label} {value if isinstance(value, str) else json_text(value)}")


def get(
    path: CollectionArgument,
    ids: Annotated[list[str], typer.Argument(help="Documents' ids.")],
    as_json: JsonOption = False,
) -> None:
    """Print documents; as JSON, one object per line, like export. Exit status 1 if an id does not exist."""
    with open_documents(path) as collection:
        documents = collection.get(ids)
    for doc_id in ids:
        if doc_id not in documents:
            err(f"there is no document {doc_id!r}")
        elif as_json:
            say_text(_line(documents[doc_id]))
        else:
            _print_document(documents[doc_id])
    if len(documents) < len(set(ids)):
        raise typer.Exit(1)


def _print_document(document: Document) -> None:
    say(f"id: {document.id}")
    if document.title is not None:
        say(f"title: {document.title}")
    for name, value in document.metadata.items():
        say(f"{name}: {json_text(value)}")
    say_text(f"\n{document.text}\n")


def delete(
    path: CollectionArgument,
    ids: Annotated[list[str] | None, typer.Argument(help="Documents' ids.")] = None,
    filters: FilterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete documents, by id and those that match a filter, at once and without confirmation; print how many.

    Exit status 1 if an id does not exist; the others are deleted. A document from a file is added again when the
    file has changed and is indexed again.
    """
    from hybridrank.errors import InputError

    chosen = parse_filter(filters)
    if not ids and chosen is None:
        raise InputError("say which documents: give ids or --filter ('{}' is all)")
    with open_documents(path) as collection:
        held = collection.get(ids or ())
        deleted = collection.delete(ids or (), filters=chosen)
        if not deleted:
            hint_absent_fields(collection, chosen)
    unknown = [doc_id for doc_id in dict.fromkeys(ids or ()) if doc_id not in held]
    for doc_id in unknown:
        err(f"there is no document {doc_id!r}")
    if as_json:
        say_json({"deleted": deleted, "unknown": unknown})
    else:
        say(f"{counted(deleted, 'document')} deleted")
    if unknown:
        raise typer.Exit(1)


def compact(path: CollectionArgument, trust: TrustOption = False, as_json: JsonOption = False) -> None:
    """Reorganize a collection and save its indexes: smaller, and faster to open."""
    with open_if_possible(path, trust=trust) as collection:
        before = sum(collection.statistics()["bytes"].values())
        collection.compact()
        after = sum(collection.statistics()["bytes"].values())
    if as_json:
        say_json({"bytes_before": before, "bytes_after": after})
    else:
        say(f"{before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now")


def export_documents(
    path: CollectionArgument,
    file: Annotated[str, typer.Argument(help="Where to; - is standard output.")] = "-",
    filters: FilterOption = None,
    vectors: Annotated[
        bool, typer.Option("--vectors", help="Write the vectors too: import takes them instead of embedding.")
    ] = False,
) -> None:
    """Write the documents as JSON Lines: id, text, title and metadata, for import.

    With --vectors, each line has `vectors`, a list of one vector for each unit, by embedder; and, where the
    collection splits documents, `passages`, the start and end of each unit in the text.
    """
    chosen = parse_filter(filters)
    with open_documents(path) as collection:
        lines: Iterator[str] = map(_line, collection.documents(chosen))
        if vectors:
            lines = map(_line_with_vectors, collection.export(chosen))
        if file == "-":
            for line in lines:
                sys.stdout.buffer.write(line.encode() + b"\n")
            sys.stdout.buffer.flush()
            return
        with progress("exporting") as bar:
            number = _write(Path(file), _report_progress(lines, collection.count(chosen), bar))
        if not number:
            hint_absent_fields(collection, chosen)
    err(f"{counted(number, 'document')} exported")


def _report_progress(lines: Iterable[str], total: int, bar: Any) -> Iterator[str]:
    for done, line in enumerate(lines, start=1):
        yield line
        if done % 1000 == 0 or done == total:
            bar(done, total)


def _write(path: Path, lines: Iterable[str]) -> int:
    """Write a file atomically."""
    from hybridrank.errors import InputError
    from hybridrank.runtime.files import replacing

    if path.is_dir():
        raise InputError(f"cannot write {str(path)!r}: it is a directory")
    number = 0
    try:
        with replacing(path) as out:
            for line in lines:
                out.write(line.encode() + b"\n")
                number += 1
    except OSError as error:
        raise InputError(f"cannot write {str(path)!r}: {error.strerror}") from error
    return number


def _line_with_vectors(exported: ExportedDocument) -> str:
    """The same with the vectors: nine digits are a float32 exactly."""
    fields: dict[str, Any] = {}
    if list(exported.spans) != [(0, len(exported.document.text))]:
        fields["passages"] = [list(span) for span in exported.spans]
    fields["vectors"] = {
        name: [[float(f"{value:.9g}") for value in row] for row in rows.tolist()]
        for name, rows in exported.vectors.items()
    }
    return _line(exported.document, fields)


def _line(document: Document, more: Mapping[str, Any] | None = None) -> str:
    fields: dict[str, Any] = {"id": document.id}
    if document.title is not None:
        fields["title"] = document.title
    if document.metadata:
        fields["metadata"] = dict(document.metadata)
    return json_text({**fields, "text": document.text, **(more or {})})


@grouped
def import_documents(
    file: Annotated[str, typer.Argument(help="What export wrote; - is standard input.")],
    into: IntoOption,
    new: NewCollectionOptions,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add the documents that export wrote to a new or existing collection; for any other file use index.

    A document replaces the one with the same id. If a line is invalid, the documents before it may have been
    stored: fix it, and import the file again.
    """
    documents = _read_documents(file)
    first = next(documents, None)  # nothing is made for a file that cannot be read
    with (
        open_or_create(into, new, trust=trust) as collection,
        progress("documents") as bar,
        interruptible() as interruption,
    ):
        interruption.kept = lambda: f"{counted(len(collection), 'document')} stored"
        interruption.then = "import the file again: nothing that is stored is embedded again"
        number = 0 if first is None else collection.add_exported(_all(first, documents), progress=bar)
    if as_json:
        say_json({"imported": number})
    else:
        say(f"{counted(number, 'document')} imported")


def _all(first: ExportedDocument, others: Iterable[ExportedDocument]) -> Iterator[ExportedDocument]:
    yield first
    yield from others


def _read_documents(file: str) -> Iterator[ExportedDocument]:
    from hybridrank.errors import InputError
    from hybridrank.ingest.files.records import json_lines, json_records

    path = Path(file)
    records = json_records(sys.stdin.buffer, "standard input") if file == "-" else json_lines(path, path.name)
    for where, record in records:
        if unknown := sorted(record.keys() - {"id", "text", "title", "metadata", "passages", "vectors"}):
            raise InputError(f"{where} has a field {unknown[0]!r}, so it is no export; use index for such a file")
        if lacking := [name for name in ("id", "text") if name not in record]:
            raise InputError(f"{where} is no exported document: it has no {lacking[0]!r}")
        try:
            yield _exported(dict(record))
        except InputError as error:
            raise InputError(f"{where} is no exported document: {error}") from None


def _exported(record: dict[str, Any]) -> ExportedDocument:
    """The document of a line, with its vectors if it has any."""
    import numpy as np

    from hybridrank.collection import ExportedDocument
    from hybridrank.errors import InputError

    spans, vectors = record.pop("passages", None), record.pop("vectors", {})
    document = Document(**record)
    if spans is None:
        spans = [[0, len(document.text)]]
    if not isinstance(spans, list) or not all(
        isinstance(span, list) and list(map(type, span)) == [int, int] for span in spans
    ):
        raise InputError("its passages are no pairs of start and end")
    if not isinstance(vectors, dict):
        raise InputError("its vectors are no object of an embedder's name and a list of vectors")
    matrices = {}
    for name, rows in vectors.items():
        try:
            matrices[name] = np.asarray(rows, np.float32)
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(f"its vectors of {name} are no lists of numbers of one length") from error
    return ExportedDocument(document, [(start, end) for start, end in spans], matrices)
