"""What every command prints with: messages, progress, results, rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hybridrank.result import SearchResult
    from hybridrank.types import Progress

__all__ = ["JsonOption", "counted", "err", "print_rows", "progress", "progresses", "show"]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def err(message: str) -> None:
    """Tell something on standard error."""
    print(message, file=sys.stderr, flush=True)


def counted(number: int, what: str) -> str:
    """``1 document``, ``2,000 documents``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@contextmanager
def progresses(*titles: str) -> Iterator[Sequence[Progress]]:
    """A progress bar for each title on standard error, where that is a terminal; seen from its first step on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = [bars.add_task(title, total=None, visible=False) for title in titles]
        yield [partial(_advance, bars, task) for task in tasks]


def _advance(bars: Any, task: int, done: int, total: int) -> None:
    bars.update(task, completed=done, total=total, visible=True)


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """One progress bar."""
    with progresses(title) as (bar,):
        yield bar


def show(result: SearchResult, *, explain: bool) -> None:
    """Print what a search found."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for stage, reason in result.degraded.items():
        err(f"degraded: {stage}: {reason}")
    if not result.hits:
        console.print("nothing found")
    for hit in result.hits:
        text = " ".join(hit.document.text.split())
        head = Text.assemble(f"{hit.rank:>3}  ", (hit.document.id, "bold"), f"  {hit.score:.3g} ({hit.scored_by})")
        console.print(head)
        console.print(Text(f"     {text[:200]}{'…' if len(text) > 200 else ''}", style="dim"))
    if explain and result.hits:
        console.print()
        console.print(Text(result.explain(width=max(console.width, 100))))


def print_rows(rows: list[dict[str, Any]], *, as_json: bool, empty: str = "none") -> None:
    """Print a table, or its rows as JSON; what to say where there are none is `empty`."""
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not rows:
        print(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 1000).print(table)
