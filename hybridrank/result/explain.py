"""The explanation of a search: every hit's rank and score at each stage, as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from hybridrank.result.trace import Stage, Trace
from hybridrank.values.arguments import whole_number
from hybridrank.values.printable import printable

if TYPE_CHECKING:
    from hybridrank.result.hits import Hit

__all__ = ["explain", "reasons", "stage_notes"]

_PADDING = 3  # columns between two columns of a table
_LONGEST_NOTE = 1_000  # maximum characters of a stage's details, and of its error
_WHY = 16  # columns that the reasons claim at most; they are wrapped


def explain(hits: Sequence[Hit], trace: Trace, *, width: int) -> str:
    """A table of every hit's rank and score at each stage, then a line about each stage.

    A table wider than `width` columns is printed as several, each with some of the stages.

    Raises:
        InputError: `width` is not a whole number of at least 40.
    """
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = whole_number(width, "width", least=40)
    # The result is text: neither a notebook nor an environment variable changes how it looks.
    out = StringIO()
    console = Console(
        file=out, width=width, highlight=False, color_system=None, force_terminal=False, force_jupyter=False
    )
    stages, longest = trace.stages, max(12, width // 4)
    paths = [trace.path(hit.id) for hit in hits]
    why = [reasons(trace, path) for path in paths]
    cells = {stage.name: [_cell(path.get(stage.name)) for path in paths] for stage in stages if stage.ranks}
    widths = [max(map(len, [printable(name), *column])) for name, column in cells.items()]
    widths.append(min(_WHY, max(map(len, why), default=0)))
    ids = [printable(hit.id) for hit in hits]
    room = width - min(longest, max(map(cell_len, ids), default=0)) - 10  # next to the rank and the document
    for number, (start, end) in enumerate(_parts(widths, room=room)):
        if start == len(cells) and not any(why):
            continue  # a table of empty reasons
        # Text, not str, for what users wrote: rich reads [brackets] in a str as markup.
        title = Text(f"{trace.query!r:.{width}}") if number == 0 else None
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        table.add_column("#", justify="right", no_wrap=True)
        table.add_column("document", overflow="ellipsis", no_wrap=True, max_width=longest)
        names = list(cells)[start:end]
        for name in names:
            table.add_column(Text(printable(name)), justify="right", no_wrap=True)
        explained = end > len(cells)
        if explained:
            table.add_column("why")
        for place, hit in enumerate(hits):
            row = [Text(cells[name][place]) for name in names]
            reason = [Text(why[place])] if explained else []
            table.add_row(str(hit.rank), Text(ids[place]), *row, *reason)
        console.print(table)
    for stage in stages:
        console.print(Text(_describe(stage)))
    if trace.decision is not None:
        console.print(Text(printable(trace.decision.describe())))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def reasons(trace: Trace, path: Mapping[str, tuple[int, float]]) -> str:
    """How a document got its rank, in a few words; `path` is its rank and score at every stage."""
    arms = [stage.name for stage in trace.stages if stage.kind == "retrieve"]
    finders = [name for name in arms if name in path]
    found = [f"only {finders[0]} found it"] if len(finders) == 1 < len(arms) else []
    ranked = [stage for stage in trace.stages if stage.ranks and stage.kind != "retrieve"]
    before = ranked[0].name if ranked else ""
    for after in ranked[1:]:
        if before in path and after.name in path:
            if (moved := path[before][0] - path[after.name][0]) != 0:
                found.append(f"{after.name} {'raised' if moved > 0 else 'lowered'} it by {abs(moved)}")
        elif before in path and after.kind == "rerank":
            found.append("not shown to the reranker" if after.error is None else "not reranked")
        if after.ids:  # otherwise it failed, and the order stays
            before = after.name
    return printable("; ".join(found))


def _describe(stage: Stage) -> str:
    """One line about a stage: its time, how many candidates went in and came out, and its notes."""
    counts = f"{len(stage.ids)} out" if stage.received is None else f"{stage.received} in, {len(stage.ids)} out"
    batch = f" for {stage.batch} queries" if stage.batch > 1 else ""
    return printable(
        ", ".join([f"{stage.name}: {stage.seconds * 1000:.1f} ms{batch}", counts, *stage_notes(stage)])
    )


def stage_notes(stage: Stage) -> list[str]:
    """The details that the backend reported, and the error of the stage."""
    reported = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in stage.details.items() if value)
    failed = "" if stage.error is None else f"{'' if stage.late else 'FAILED: '}{stage.error}"
    return [_cut(text) for text in (reported, failed) if text]


def _cell(place: tuple[int, float] | None) -> str:
    return "–" if place is None else f"{place[0]} ({place[1]:.3g})"


def _parts(widths: Sequence[int], *, room: int) -> Iterator[tuple[int, int]]:
    """Split the columns into tables no wider than `room`: the first column of each, and the one after its last."""
    start = used = 0
    for number, width in enumerate(widths):
        if number > start and used + width + _PADDING > room:
            yield start, number
            start, used = number, 0
        used += width + _PADDING
    yield start, len(widths)


def _cut(text: str) -> str:
    """Truncate a backend's text to a readable length: the trace has all of it."""
    return text if len(text) <= _LONGEST_NOTE else f"{text[:_LONGEST_NOTE]}…"
