"""What a search gives back: hits, and the trace that explains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hybridrank.trace import Stage, Trace
from hybridrank.types import Document, Passage

__all__ = ["Hit", "SearchResult"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One found document: its `rank` (1-based), and its `score` at the last stage that scored it.

    `scored_by` names that stage. Scores of different stages are not on one scale: behind the documents that a
    reranker scored, and adjusters after it, come in fused order and with their fused scores those that it was not
    shown.
    """

    rank: int
    score: float
    document: Document
    scored_by: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best documents for a query, best first, and the trace of how they came to be."""

    hits: Sequence[Hit]
    trace: Trace

    @property
    def degraded(self) -> Mapping[str, str]:
        """The stages that failed, and why: empty for a sound search."""
        return self.trace.degraded

    def to_dict(self) -> dict[str, Any]:
        """The hits as JSON values, with each one's rank and score at every stage."""
        return {
            "query": self.trace.query,
            "seconds": self.trace.seconds,
            "degraded": dict(self.degraded),
            "hits": [
                {
                    "rank": hit.rank,
                    "score": hit.score,
                    "scored_by": hit.scored_by,
                    "id": hit.document.id,
                    "title": hit.document.title,
                    "text": hit.document.text,
                    "metadata": dict(hit.document.metadata),
                    **_place(hit.document),
                    "stages": {
                        stage: {"rank": rank, "score": score}
                        for stage, (rank, score) in self.trace.path(hit.document.id).items()
                    },
                }
                for hit in self.hits
            ],
        }

    def explain(self, *, width: int = 100) -> str:
        """A table of every hit's rank and score at each stage, and of what each stage did; `width` in columns."""
        from io import StringIO

        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        # Text, not str, for whatever users wrote: rich reads [brackets] in a str as markup.
        table = Table(title=Text(f"{self.trace.query!r:.{width}}"), title_justify="left", box=SIMPLE_HEAD)
        table.add_column("#", justify="right", no_wrap=True)
        table.add_column("document", overflow="ellipsis", no_wrap=True, max_width=max(12, width // 4))
        for stage in self.trace.stages:
            table.add_column(Text(stage.name), justify="right", no_wrap=True)
        table.add_column("why")
        for hit in self.hits:
            path = self.trace.path(hit.document.id)
            cells = [
                f"{path[stage.name][0]} ({path[stage.name][1]:.3g})" if stage.name in path else "–"
                for stage in self.trace.stages
            ]
            table.add_row(str(hit.rank), Text(hit.document.id), *cells, Text(self._why(path)))

        out = StringIO()
        console = Console(file=out, width=width, highlight=False)
        console.print(table)
        for stage in self.trace.stages:
            console.print(Text(_account(stage)))
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"

    def _why(self, path: Mapping[str, tuple[int, float]]) -> str:
        """How one document came to its place, in a few words."""
        arms = [stage.name for stage in self.trace.stages if stage.kind == "retrieve"]
        finders = [name for name in arms if name in path]
        reasons = [f"only {finders[0]} found it"] if len(finders) == 1 < len(arms) else []
        ranked = [stage for stage in self.trace.stages if stage.kind != "retrieve"]
        before = ranked[0].name if ranked else ""
        for after in ranked[1:]:
            if before in path and after.name in path:
                if (moved := path[before][0] - path[after.name][0]) != 0:
                    reasons.append(f"{after.name} {'raised' if moved > 0 else 'lowered'} it by {abs(moved)}")
            elif before in path and after.kind == "rerank":
                reasons.append("not shown to the reranker" if after.error is None else "not reranked")
            if after.ids:  # else it failed, and the order is the one before
                before = after.name
        return "; ".join(reasons)


def _account(stage: Stage) -> str:
    """One line about a stage: its time, what went in and out, and its notes."""
    counts = f"{len(stage.ids)} out" if stage.received is None else f"{stage.received} in, {len(stage.ids)} out"
    batch = f" for {stage.batch} queries" if stage.batch > 1 else ""
    notes = "".join(f", {name.replace('_', ' ')} {value}" for name, value in stage.details.items() if value)
    failed = f", FAILED: {stage.error}" if stage.error is not None else ""
    return f"{stage.name}: {stage.seconds * 1000:.1f} ms{batch}, {counts}{notes}{failed}"


def _place(document: Document) -> dict[str, Any]:
    if not isinstance(document, Passage):
        return {}
    return {
        "parent": document.parent,
        "start": document.start,
        "end": document.end,
        "headings": list(document.headings),
    }
