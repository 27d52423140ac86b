"""A report as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hybridrank.evaluation.comparison.evaluating import Evaluation
from hybridrank.evaluation.report.content import Report, Table, sections, title
from hybridrank.values.printable import printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_report"]


_LONG = ("examples", "stages")  # of a comparison or a diagnosis
_PADDING = 2  # between columns
_NARROW = 26  # columns of words are wrapped to no less


def print_report(report: Report, console: Console, *, full: bool = True) -> None:
    """Print the report; if not `full`, but of an evaluation neither the examples nor every stage."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid
    from rich.text import Text

    # Text, not str, for whatever users wrote: rich reads [brackets] in a str as markup.
    console.print(Text(printable(title(report)), style="bold"))
    short = not full and not isinstance(report, Evaluation)
    for section in sections(report):
        if short and section.anchor in _LONG:
            continue
        console.print()
        console.print(Text(printable(section.title), style="bold"))
        for paragraph in section.paragraphs:
            words = printable(paragraph)
            console.print(Text(f"· {words}" if len(section.paragraphs) > 1 else words))
        for table in map(_printable, section.tables):
            for columns in _fitting(table, console.width):
                shown = Grid(title=Text(table.caption, style="italic"), title_justify="left", box=SIMPLE_HEAD)
                for number in columns:
                    numeric = number >= table.labels
                    shown.add_column(
                        Text(table.columns[number]),
                        justify="right" if numeric else "left",
                        no_wrap=numeric,
                        overflow="fold",
                    )
                for row in table.rows:
                    shown.add_row(*(Text(row[number]) for number in columns))
                console.print(shown)


def _printable(table: Table) -> Table:
    rows = [[printable(cell) for cell in row] for row in table.rows]
    return Table(printable(table.caption), [printable(name) for name in table.columns], rows, table.labels)


def _fitting(table: Table, width: int) -> Iterator[list[int]]:
    """The columns of as many tables as it takes for every number to be seen; each has the words."""
    words = list(range(table.labels))
    widths = [
        max(len(cell) for cell in (table.columns[n], *(row[n] for row in table.rows))) + _PADDING
        for n in range(len(table.columns))
    ]
    room = width - sum(min(widths[n], _NARROW) for n in words) - _PADDING
    columns: list[int] = []
    for number in range(table.labels, len(table.columns)):
        if columns and sum(widths[n] for n in columns) + widths[number] > room:
            yield words + columns
            columns = []
        columns.append(number)
    yield words + columns
