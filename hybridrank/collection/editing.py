"""Changes of a durable collection other than adding: deleting, metadata, sources, types of fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hybridrank.collection.adding import Edits
from hybridrank.collection.documents import checked_changes, normal_metadata, patched
from hybridrank.collection.indexes.live import LiveIndexes
from hybridrank.errors import InputError
from hybridrank.filters.fields import FieldTypes
from hybridrank.filters.language import Filter

__all__ = ["Editor"]


class Editor:
    """Makes each change in one transaction, and in the indexes; the methods of `Collection` describe them."""

    def __init__(self, live: LiveIndexes) -> None:
        self._live = live

    def delete(self, ids: Collection[str], filters: Filter | None) -> int:
        """Delete documents by id, and those that match; returns how many there were."""
        with self._live.changing("deleting") as change:
            numbers = change.writer.numbers(ids=ids, filters=filters)
            change.remove(numbers)
        self._live.maintain()
        return len(numbers)

    def update_metadata(self, changes: Mapping[str, Mapping[str, Any]]) -> int:
        """Set and remove metadata fields, by document id; returns how many documents were changed."""
        with self._live.changing("updating metadata") as change:
            wanted = checked_changes(changes, change.writer.field_types())
            held, edits = change.writer.documents(wanted), change.writer.edits(wanted)
            for doc_id, fields in wanted.items():
                if doc_id not in held:
                    raise InputError(f"there is no document {doc_id!r}; nothing was changed")
                metadata = patched(held[doc_id].metadata, fields)
                (number,) = change.writer.numbers(ids=[doc_id])
                change.writer.put_metadata(number, metadata, {**edits.get(doc_id, {}), **fields})
        return len(wanted)

    def update_source(self, name: str, edits: Edits) -> int:
        """Set metadata fields of a source's documents; returns how many documents were changed."""
        with self._live.changing("updating metadata") as change:
            types, changed = change.writer.field_types(), 0
            for doc_id, number in change.writer.ids_of_source(name).items():
                fields = normal_metadata(doc_id, edits(doc_id), types)
                edited = change.writer.edits([doc_id]).get(doc_id, {}) if fields else {}
                if all(field in edited and edited[field] == fields[field] for field in fields):
                    continue
                (document,) = change.writer.documents([doc_id]).values()
                change.writer.put_metadata(number, patched(document.metadata, fields), {**edited, **fields})
                changed += 1
        return changed

    def declare_fields(self, declared: FieldTypes) -> None:
        """Store types of further fields, and convert the documents' values to the form of their types."""
        with self._live.changing("declaring fields") as change:
            change.writer.put_field_types(change.writer.field_types().with_types(declared))
            for doc_id in list(change.writer.ids()):
                (document,) = change.writer.documents([doc_id]).values()
                normal = normal_metadata(doc_id, document.metadata, declared)
                if normal != document.metadata:
                    edits = normal_metadata(doc_id, change.writer.edits([doc_id]).get(doc_id, {}), declared)
                    (number,) = change.writer.numbers(ids=[doc_id])
                    change.writer.put_metadata(number, normal, edits)

    def store_option(self, name: str, value: Any) -> dict[str, Any]:
        """Set an option of the stored configuration, or remove it with None; returns the configuration."""
        with self._live.changing("storing an option") as change:
            stored = change.writer.settings()["config"]
            config = {
                option: given for option, given in {**stored, name: value}.items() if option != name or given
            }
            change.writer.put_config(config)
        return config

    def finish_source(self, name: str, digest: str, before: int) -> None:
        """Delete the documents that a source had before a number, and store its digest."""
        with self._live.changing("replacing a source") as change:
            source = change.writer.source(name)
            change.remove(change.writer.of_source(name, before=before))
            change.writer.finish_source(source, digest)
        self._live.maintain()

    def rename_sources(self, names: Mapping[str, str]) -> None:
        """Rename sources, by their names of before."""
        with self._live.changing("renaming sources") as change:
            taken = change.writer.sources().keys() - names.keys()
            if double := sorted(taken & set(names.values())) or len(set(names.values())) < len(names):
                raise InputError(f"a source has one of the new names already: {double}")
            for name, new in names.items():
                change.writer.rename_source(name, new)

    def drop_sources(self, names: Collection[str]) -> int:
        """Delete sources with their documents; returns how many documents there were."""
        dropped = 0
        with self._live.changing("dropping sources") as change:
            for name in names:
                numbers = change.writer.of_source(name)
                change.remove(numbers)
                change.writer.drop_source(name)
                dropped += len(numbers)
        self._live.maintain()
        return dropped
