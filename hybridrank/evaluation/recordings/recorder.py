"""Search for every query of a dataset, and store each search as it is made."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridrank.errors import InputError
from hybridrank.evaluation.datasets.dataset import Dataset
from hybridrank.evaluation.datasets.query_log import QueryLog
from hybridrank.evaluation.recordings.deepening import deepen
from hybridrank.evaluation.recordings.recording import (
    RecordedSearch,
    Recording,
    RecordingFile,
    name_from_path,
    with_judgments,
)
from hybridrank.evaluation.recordings.settings import Header, settings_of
from hybridrank.evaluation.replay.reuse import Reuse
from hybridrank.result.trace import Trace
from hybridrank.runtime.shielding import shielded
from hybridrank.types import Document, Passage

if TYPE_CHECKING:
    from hybridrank.pipeline.pipeline import Pipeline
    from hybridrank.result.hits import SearchResult
    from hybridrank.types import Progress

__all__ = ["record", "recording_path"]


def record(
    pipeline: Pipeline,
    dataset: Dataset | QueryLog,
    *,
    path: str | PathLike[str] | None = None,
    name: str | None = None,
    k: int = 10,
    batch: int = 1,
    reuse: Reuse | None = None,
    deep: int | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Search for every query of `dataset`, judged or not (`QueryLog`), and keep each trace.

    With a `path` each search is written there as soon as it is made (in a directory, to a file named after
    everything that determines the searches), and an interrupted run continues where it stopped: only queries
    that are not recorded yet, or whose search was degraded, are searched for. Judgments may change in between;
    the pipeline, its models, the documents and the queries' texts may not.

    Queries are searched one at a time, as those of users are, so that latencies are those of single searches;
    `batch` searches several at once, which is faster and records no latencies. `k` results are asked for
    (recordings hold all candidates for any `k`). Where documents are split into passages, documents are found.

    With `deep`, each arm fetches that many candidates, and the reranker scores all of them: best for `tune` and
    `replay`. The recording still knows the pipeline's own configuration.

    With `reuse`, a search reuses the results of pipelines recorded with it before, and adds its own.

    Raises:
        InputError: the file is another recording (says what differs), none of the relevant documents is held,
            `batch` is below 1, or above 1 with `reuse`, or `deep` is less than the pipeline fetches.
        LockedError: another process or thread is recording into this file.
        StorageError: the file cannot be written. What was recorded before is kept.
        HybridrankError: a search failed. What was recorded before is kept, and the next run continues from
        there.
    """
    if batch < 1:
        raise InputError(f"a batch holds at least one query, not {batch}")
    if reuse is not None and batch > 1:
        raise InputError("what is shared is shared search by search: leave batch out")
    own = None
    if deep is not None:
        own, pipeline = settings_of(pipeline.config), deepen(pipeline, deep)
    unheld, warnings = None, []
    if isinstance(dataset, Dataset):
        unheld = _unheld(pipeline, dataset)
        warnings = dataset.warnings([(q, doc_id) for q, ids in (unheld or {}).items() for doc_id in sorted(ids)])
    header = replace(Header.of(pipeline, k=k, dataset=dataset), own=own)
    done: dict[str, RecordedSearch] = {}
    with ExitStack() as stack:
        file = None
        if path is not None:
            file = RecordingFile(recording_path(path, header, dataset))
            stack.enter_context(file.appending())
            if file.has_content:
                done = _resume(file, header, dataset)
            else:
                file.write_header(header)
            for query_id, search in done.items():
                now = replace(with_judgments(search, dataset, of=str(file.path)), unheld=_of(unheld, query_id))
                if now != search:
                    file.write_judgments(now)
                done[query_id] = now
            warnings = [*warnings, *file.warnings]
        if reuse is not None:
            for search in done.values():
                units = _units(pipeline, search.trace)
                reuse.learn(pipeline, search.trace, units, **_search_key(header))
        left = [q for q in dataset.queries if q not in done or done[q].trace.degraded]
        if progress is not None:
            progress(len(dataset) - len(left), len(dataset))
        for start in range(0, len(left), batch):
            asked = left[start : start + batch]
            texts = [dataset.queries[query_id] for query_id in asked]
            for query_id, result in zip(asked, _search(pipeline, texts, header, reuse), strict=True):
                units = _units(pipeline, result.trace)
                units.update((hit.document.id, hit.document) for hit in result.hits)
                if reuse is not None:
                    reuse.learn(pipeline, result.trace, units, **_search_key(header))
                done[query_id] = _to_recorded(
                    query_id, result.trace, units, dataset, first=start == 0, unheld=_of(unheld, query_id)
                )
                if file is not None:
                    file.write(done[query_id])
            if progress is not None:
                progress(len(dataset) - len(left) + start + len(asked), len(dataset))
    return Recording(
        name or (dataset.name if file is None else name_from_path(file.path)),
        header,
        {query_id: done[query_id] for query_id in dataset.queries},
        tuple(warnings),
    )


def recording_path(path: str | PathLike[str], header: Header, dataset: Dataset | QueryLog) -> Path:
    """The file itself, or the path in a directory of the recording with this header."""
    place = Path(path)
    if not os.path.isdir(place):  # a name that no file can have is none
        return place
    label = re.sub(r"[^\w.-]+", "-", dataset.label)
    named = place / f"{label}-{header.digest}.jsonl"
    return named if named.exists() else _under_former_names(place, label, header) or named


def _under_former_names(folder: Path, label: str, header: Header) -> Path | None:
    """Find the recording in a directory that was made with these settings under their former names.

    Its file name has a digest of the former names.
    """
    for path in sorted(folder.glob(f"{glob.escape(label)}-{'[0-9a-f]' * 16}.jsonl")):
        with suppress(InputError):
            if RecordingFile(path).read_header().difference(header) is None:
                return path
    return None


def _unheld(pipeline: Pipeline, dataset: Dataset) -> dict[str, set[str]] | None:
    """Relevant documents that are not held, by query; None where remote engines hold the documents."""
    if not len(pipeline):
        return None
    relevant = {doc_id for query_id in dataset.queries for doc_id in dataset.relevant(query_id)}
    unheld: dict[str, set[str]] = {}
    for query_id, doc_id in dataset.unknown_documents(pipeline.get(relevant)):
        unheld.setdefault(query_id, set()).add(doc_id)
    return unheld


def _of(unheld: Mapping[str, set[str]] | None, query_id: str) -> frozenset[str] | None:
    return None if unheld is None else frozenset(unheld.get(query_id, ()))


def _search(pipeline: Pipeline, queries: list[str], header: Header, reuse: Reuse | None) -> list[SearchResult]:
    if reuse is not None:
        return [reuse.search(pipeline, queries[0], k=header.k, **_search_key(header))]
    if len(queries) == 1:
        return [pipeline.search(queries[0], k=header.k, per_document=header.per_document)]
    return pipeline.search_many(queries, k=header.k, per_document=header.per_document)


def _search_key(header: Header) -> dict[str, Any]:
    """What is searched, for `Reuse`: which documents, and how they are split."""
    splitter = json.dumps(header.settings.get("splitter"))
    return {"per_document": header.per_document, "documents": f"{header.documents['digest']} {splitter}"}


def _units(pipeline: Pipeline, trace: Trace) -> dict[str, Document]:
    """The candidates of a search, by id: those that are held here."""

    def read() -> dict[str, Document]:
        with pipeline.collection.reading() as view:
            return dict(view.units({doc_id for stage in trace.stages for doc_id in stage.ids}))

    return shielded(read)


def _resume(file: RecordingFile, header: Header, dataset: Dataset | QueryLog) -> dict[str, RecordedSearch]:
    """The searches of a file that are for queries of this dataset. A file that is refused is left as it was."""
    before, searches = file.read()
    if difference := before.difference(header):
        raise InputError(
            f"{str(file.path)!r} was recorded with something else: {difference}; record in another file, or "
            "delete this one"
        )
    found = {query_id: search for query_id, search in searches.items() if query_id in dataset.queries}
    for search in found.values():
        with_judgments(search, dataset, of=str(file.path))
    file.repair()
    return found


def _to_recorded(
    query_id: str,
    trace: Trace,
    units: Mapping[str, Document],
    dataset: Dataset | QueryLog,
    *,
    first: bool,
    unheld: frozenset[str] | None,
) -> RecordedSearch:
    candidates = dict.fromkeys(doc_id for stage in trace.stages for doc_id in stage.ids)
    return RecordedSearch(
        query_id,
        trace,
        qrels=dict(dataset.qrels[query_id]),
        ignored=frozenset(dataset.ignored.get(query_id, frozenset())),
        chars={unit: len(units[unit].content) for unit in candidates if unit in units},
        parents={unit: part.parent for unit in candidates if isinstance(part := units.get(unit), Passage)},
        first=first,
        unheld=unheld,
        synthetic=dataset.synthetic,
    )
