"""What a search returns: hits, best first, and the trace that explains them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

from hybridrank.result.trace import Trace
from hybridrank.types import Document, Passage, Span
from hybridrank.values.json_values import MAX_DEPTH, MAX_VALUES, json_notes

__all__ = ["Hit", "SearchResult"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One found document: its `rank` (1-based), and its `score` at the last stage that scored it.

    `score` only orders the hits of one search: it is no probability, and comparing it with a constant or with
    scores of another search has no meaning. `scored_by` names its stage. Scores of different stages are not on
    one scale: documents that the reranker (and the adjusters after it) did not see follow the others in fused
    order, with their fused scores.

    `relevance` is the probability, 0…1, that the document is relevant, from the reranker's own score; None if the
    reranker is not calibrated or did not score the document. It changes neither the order nor `score`
    (docs/relevance.md).

    `spans` are the parts of the document's text that the reranker found relevant, best first; empty where it
    reports none.
    """

    rank: int
    score: float
    document: Document
    scored_by: str
    spans: tuple[Span, ...] = ()
    relevance: float | None = None

    @property
    def id(self) -> str:
        """The document's id."""
        return self.document.id

    @property
    def text(self) -> str:
        """The document's text."""
        return self.document.text

    @property
    def title(self) -> str | None:
        """The document's title, if it has one."""
        return self.document.title

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The document's metadata."""
        return self.document.metadata


@dataclass(frozen=True, slots=True)
class SearchResult(Sequence[Hit]):
    """The hits of a search, best first, and the trace that explains them.

    It is a sequence of `Hit`: it has a length, is iterable, and is false if nothing was found. A slice is a
    `SearchResult` with the same trace, and its hits keep their ranks. Notebooks show it as a table.
    """

    hits: Sequence[Hit]
    trace: Trace

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> SearchResult: ...
    def __getitem__(self, index: int | slice) -> Hit | SearchResult:
        if isinstance(index, slice):
            return replace(self, hits=self.hits[index])
        return self.hits[index]

    @property
    def degraded(self) -> Mapping[str, str]:
        """The stages that failed or were cut short by the deadline, and why: empty for a sound search."""
        return self.trace.degraded

    @property
    def answered(self) -> bool | None:
        """Whether something in the collection answers the query; None if that is not known.

        False if the evidence is below a threshold that refuses at most a set share of the answerable questions
        (`trace.decision`), or if nothing at all was found. None if the reranker is not calibrated, gave no scores
        (as in an outage, and in the first result of a stream), or if a stage failed or was cut short and what was
        read holds no answer.
        """
        if self.trace.decision is not None:
            return self.trace.decision.answered
        fused = next((stage for stage in self.trace.stages if stage.kind == "fuse"), None)
        return False if fused is not None and not fused.ids and not self.degraded else None

    def to_dict(self) -> dict[str, Any]:
        """The hits as JSON values, with each one's rank and score at every stage."""
        return {
            "query": self.trace.query,
            "seconds": self.trace.seconds,
            "degraded": dict(self.degraded),
            "answered": self.answered,
            "hits": [
                {
                    "rank": hit.rank,
                    "score": hit.score,
                    "scored_by": hit.scored_by,
                    "relevance": hit.relevance,
                    "id": hit.id,
                    "title": hit.title,
                    "text": hit.text,
                    "metadata": json_notes(hit.metadata, depth=MAX_DEPTH, values=MAX_VALUES),
                    **_place(hit.document),
                    "spans": [{"start": each.start, "end": each.end, "score": each.score} for each in hit.spans],
                    "stages": {
                        stage: {"rank": rank, "score": score}
                        for stage, (rank, score) in self.trace.path(hit.id).items()
                    },
                }
                for hit in self.hits
            ],
        }

    def explain(self, *, width: int = 100) -> str:
        """A table of every hit's rank and score at each stage, then a line about each stage.

        `width` is in columns, at least 40: a wider table is printed as several, each with some of the stages.

        Raises:
            InputError: `width` is not a whole number of at least 40.
        """
        from hybridrank.result.explain import explain

        return explain(self.hits, self.trace, width=width)

    def __repr__(self) -> str:
        ids = ", ".join(repr(hit.id) for hit in self.hits[:3]) + (", …" if len(self.hits) > 3 else "")
        degraded = f", degraded: {', '.join(self.degraded)}" if self.degraded else ""
        return f"<SearchResult for {self.trace.query!r:.80}: {len(self.hits)} hits ({ids}){degraded}>"

    def _repr_html_(self) -> str:
        from hybridrank.result.html import result_html

        return result_html(self.hits, self.trace)


def _place(document: Document) -> dict[str, Any]:
    if not isinstance(document, Passage):
        return {}
    return {
        "parent": document.parent,
        "start": document.start,
        "end": document.end,
        "headings": list(document.headings),
    }
