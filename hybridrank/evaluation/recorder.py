"""Searching for every query of a dataset, and keeping what came of it as it comes."""

from __future__ import annotations

from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from hybridrank.errors import InputError
from hybridrank.evaluation.dataset import Dataset
from hybridrank.evaluation.recording import RecordedSearch, Recording, RecordingFile, judged, named_after
from hybridrank.evaluation.settings import Header
from hybridrank.types import Passage

if TYPE_CHECKING:
    from hybridrank.pipeline import Pipeline
    from hybridrank.result import SearchResult
    from hybridrank.types import Progress

__all__ = ["record"]


def record(
    pipeline: Pipeline,
    dataset: Dataset,
    *,
    path: str | PathLike[str] | None = None,
    name: str | None = None,
    k: int = 10,
    batch: int = 1,
    progress: Progress | None = None,
) -> Recording:
    """Search for every query of `dataset`, and keep each trace.

    With a `path` each search is written there as soon as it is made, and a run that was interrupted goes on where
    it stopped: only queries that are not recorded yet, or whose search was degraded, are searched for. Judgements
    may change in between; the pipeline, its models, the documents and the queries' texts may not.

    Queries are searched for one at a time, as users' are, so that their times are what a search takes; `batch`
    sends more at once, which is quicker and leaves no latencies. `k` results are asked for (recordings hold all
    candidates, whatever it is). Where documents are split into passages, documents are what is found.

    Raises:
        InputError: the file is another recording (says what differs), none of the relevant documents is held, or
            `batch` is below 1.
        StorageError: the file cannot be written.
        HybridrankError: a search failed. What was recorded before is kept, and the next run goes on from there.
    """
    if batch < 1:
        raise InputError(f"a batch holds at least one query, not {batch}")
    warnings = dataset.warnings(_unknown(pipeline, dataset))
    header = Header.of(pipeline, k=k, dataset=dataset.name, split=dataset.split)
    done: dict[str, RecordedSearch] = {}
    with ExitStack() as stack:
        file = None
        if path is not None:
            file = RecordingFile(Path(path))
            done = _resumed(file, header, dataset) if file.begun else {}
            stream = stack.enter_context(file.appending())
            if not file.begun:
                file.write_header(stream, header)
            for query_id, search in done.items():
                now = judged(search, dataset, of=str(path))
                if (now.qrels, now.ignored) != (search.qrels, search.ignored):
                    file.write_judgements(stream, now)
                done[query_id] = now
            warnings = [*warnings, *file.warnings]
        left = [q for q in dataset.queries if q not in done or done[q].trace.degraded]
        if progress is not None:
            progress(len(dataset) - len(left), len(dataset))
        for start in range(0, len(left), batch):
            asked = left[start : start + batch]
            results = _search(pipeline, [dataset.queries[q] for q in asked], k, header.per_document, batch)
            for query_id, result in zip(asked, results, strict=True):
                done[query_id] = _recorded(pipeline, query_id, result, dataset, first=start == 0)
                if file is not None:
                    file.write(stream, done[query_id])
            if progress is not None:
                progress(len(dataset) - len(left) + start + len(asked), len(dataset))
    return Recording(
        name or (dataset.name if path is None else named_after(Path(path))),
        header,
        {query_id: done[query_id] for query_id in dataset.queries},
        tuple(warnings),
    )


def _unknown(pipeline: Pipeline, dataset: Dataset) -> list[tuple[str, str]]:
    """Judgements whose documents are not held; none where remote engines hold them, which nobody can ask."""
    if not len(pipeline):
        return []
    return dataset.unknown_documents(
        pipeline.get({doc_id for query_id in dataset.queries for doc_id in dataset.relevant(query_id)})
    )


def _search(pipeline: Pipeline, queries: list[str], k: int, per_document: bool, batch: int) -> list[SearchResult]:
    if batch == 1:
        return [pipeline.search(queries[0], k=k, per_document=per_document)]
    return pipeline.search_many(queries, k=k, per_document=per_document)


def _resumed(file: RecordingFile, header: Header, dataset: Dataset) -> dict[str, RecordedSearch]:
    """The searches of a file that are for queries of this dataset."""
    before, searches = file.read(mend=True)
    if difference := before.difference(header):
        raise InputError(
            f"{str(file.path)!r} was recorded with something else: {difference}; record in another file, or "
            "delete this one"
        )
    return {query_id: search for query_id, search in searches.items() if query_id in dataset.queries}


def _recorded(
    pipeline: Pipeline, query_id: str, result: SearchResult, dataset: Dataset, *, first: bool
) -> RecordedSearch:
    units = {doc_id for stage in result.trace.stages for doc_id in stage.ids}
    found = {hit.document.id: hit.document for hit in result.hits}
    with pipeline.collection.reading() as view:
        found.update(view.units(units))
    return RecordedSearch(
        query_id,
        result.trace,
        qrels=dict(dataset.qrels[query_id]),
        ignored=frozenset(dataset.ignored.get(query_id, frozenset())),
        chars={unit: len(found[unit].content) for unit in sorted(units) if unit in found},
        parents={unit: part.parent for unit in sorted(units) if isinstance(part := found.get(unit), Passage)},
        first=first,
    )
