"""Tuning without judgments: the reranker's own scores at full depth replace them."""

from __future__ import annotations

from dataclasses import replace

from hybridrank.errors import InputError
from hybridrank.evaluation.recordings.recording import Recording
from hybridrank.types import Ranking

__all__ = ["agree"]


def agree(recording: Recording, *, k: int = 10) -> Recording:
    """The recording, in which the `k` documents are relevant that the reranker scored highest of all it was shown.

    Its first has the grade `k`, the last the grade 1; real judgments are dropped. Measures then show how well a
    cheaper search finds what the reranker would have found, not whether the reranker is right.

    Raises:
        InputError: nothing was reranked.
    """
    if k < 1:
        raise InputError(f"agreement is about at least one document, not {k}")
    searches = {}
    for query_id, search in recording.searches.items():
        stage = next((stage for stage in search.trace.stages if stage.kind == "rerank"), None)
        grades: dict[str, int] = {}
        if stage is not None:
            best = Ranking.of(zip(stage.ids, stage.scores, strict=True)).ids
            found = dict.fromkeys(search.parents.get(doc_id, doc_id) for doc_id in best)
            first = [doc_id for doc_id in found if doc_id not in search.ignored][:k]
            grades = {doc_id: k - place for place, doc_id in enumerate(first)}
        searches[query_id] = replace(search, qrels=grades)
    if not any(search.qrels for search in searches.values()):
        raise InputError(f"nothing was reranked in {recording.name!r}: there are no scores to agree with")
    header = replace(recording.header, synthetic="the reranker's own scores at full depth")
    return replace(recording, header=header, searches=searches)
