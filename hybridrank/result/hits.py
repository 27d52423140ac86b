"""What a search gives back: hits, and the trace that explains them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hybridrank.result.trace import Stage, Trace
from hybridrank.types import Document, Passage
from hybridrank.values.arguments import whole_number
from hybridrank.values.json_values import MAX_DEPTH, MAX_VALUES, json_notes
from hybridrank.values.printable import printable

__all__ = ["Hit", "SearchResult"]

_PADDING = 3  # columns between those of a table
_MOST_SAID = 1_000  # characters of a stage's notes, and of why it failed
_WHY = 16  # columns at most that reasons claim; they are wrapped


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
                    "metadata": json_notes(hit.document.metadata, depth=MAX_DEPTH, values=MAX_VALUES),
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
        """A table of every hit's rank and score at each stage, and of what each stage did.

        `width` is in columns, at least 40: what would be wider is printed as several tables, each with some of
        the stages.

        Raises:
            InputError: `width` is not a whole number of at least 40.
        """
        from io import StringIO

        from rich.box import SIMPLE_HEAD
        from rich.cells import cell_len
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        width = whole_number(width, "width", least=40)
        # A text is returned: neither a notebook nor an environment variable has a say in what it looks like.
        out = StringIO()
        console = Console(
            file=out, width=width, highlight=False, color_system=None, force_terminal=False, force_jupyter=False
        )
        stages, longest = self.trace.stages, max(12, width // 4)
        paths = [self.trace.path(hit.document.id) for hit in self.hits]
        reasons = list(map(self._why, paths))
        cells = {stage.name: [_cell(path.get(stage.name)) for path in paths] for stage in stages}
        widths = [max(map(len, [printable(name), *column])) for name, column in cells.items()]
        widths.append(min(_WHY, max(map(len, reasons), default=0)))
        ids = [printable(hit.document.id) for hit in self.hits]
        room = width - min(longest, max(map(cell_len, ids), default=0)) - 10  # beside the rank and the document
        for number, (start, end) in enumerate(_parts(widths, room=room)):
            if start == len(cells) and not any(reasons):
                continue  # a table of empty reasons
            # Text, not str, for whatever users wrote: rich reads [brackets] in a str as markup.
            title = Text(f"{self.trace.query!r:.{width}}") if number == 0 else None
            table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
            table.add_column("#", justify="right", no_wrap=True)
            table.add_column("document", overflow="ellipsis", no_wrap=True, max_width=longest)
            names = list(cells)[start:end]
            for name in names:
                table.add_column(Text(printable(name)), justify="right", no_wrap=True)
            explained = end > len(cells)
            if explained:
                table.add_column("why")
            for place, hit in enumerate(self.hits):
                row = [Text(cells[name][place]) for name in names]
                why = [Text(reasons[place])] if explained else []
                table.add_row(str(hit.rank), Text(ids[place]), *row, *why)
            console.print(table)
        for stage in stages:
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
        return printable("; ".join(reasons))


def _cell(place: tuple[int, float] | None) -> str:
    return "–" if place is None else f"{place[0]} ({place[1]:.3g})"


def _parts(widths: Sequence[int], *, room: int) -> Iterator[tuple[int, int]]:
    """The columns, from one to before another, of as many tables as it takes for none to be wider than `room`."""
    start = used = 0
    for number, width in enumerate(widths):
        if number > start and used + width + _PADDING > room:
            yield start, number
            start, used = number, 0
        used += width + _PADDING
    yield start, len(widths)


def _account(stage: Stage) -> str:
    """One line about a stage: its time, what went in and out, and its notes."""
    counts = f"{len(stage.ids)} out" if stage.received is None else f"{stage.received} in, {len(stage.ids)} out"
    batch = f" for {stage.batch} queries" if stage.batch > 1 else ""
    notes = _cut("".join(f", {name.replace('_', ' ')} {value}" for name, value in stage.details.items() if value))
    failed = _cut(f", {'' if stage.late else 'FAILED: '}{stage.error}") if stage.error is not None else ""
    return printable(f"{stage.name}: {stage.seconds * 1000:.1f} ms{batch}, {counts}{notes}{failed}")


def _cut(text: str) -> str:
    """No more of what somebody else said than can be read: the trace has all of it."""
    return text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]}…"


def _place(document: Document) -> dict[str, Any]:
    if not isinstance(document, Passage):
        return {}
    return {
        "parent": document.parent,
        "start": document.start,
        "end": document.end,
        "headings": list(document.headings),
    }
