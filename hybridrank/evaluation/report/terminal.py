"""A report as tables in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank.evaluation.comparing import Comparison
from hybridrank.evaluation.report.content import Report, sections, title

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_report"]


_LONG = ("examples", "stages")  # of a comparison


def print_report(report: Report, console: Console, *, full: bool = True) -> None:
    """Print what there is to say; if not `full`, of a comparison neither the examples nor every stage."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    # Text, not str, for whatever users wrote: rich reads [brackets] in a str as markup.
    console.print(Text(title(report), style="bold"))
    short = not full and isinstance(report, Comparison)
    for section in sections(report):
        if short and section.anchor in _LONG:
            continue
        console.print()
        console.print(Text(section.title, style="bold"))
        for paragraph in section.paragraphs:
            console.print(Text(f"· {paragraph}" if len(section.paragraphs) > 1 else paragraph))
        for table in section.tables:
            shown = Table(title=Text(table.caption, style="italic"), title_justify="left", box=SIMPLE_HEAD)
            for number, column in enumerate(table.columns):
                numeric = number >= table.labels
                shown.add_column(
                    Text(column), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold"
                )
            for row in table.rows:
                shown.add_row(*map(Text, row))
            console.print(shown)
