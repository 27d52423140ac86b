"""Output of all commands: messages, progress, results, rows. Nothing else writes to the terminal.

Output may contain untrusted ids, texts and file names: it goes through `printable` or `as_json` here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from hybridrank.values.printable import json_text, printable

if TYPE_CHECKING:
    from hybridrank.types import Progress

__all__ = [
    "Interruption",
    "ProgressLines",
    "counted",
    "err",
    "interruptible",
    "print_rows",
    "progress",
    "progresses",
    "say",
    "say_json",
    "say_text",
]


_SECONDS_BETWEEN_LINES = 10


def say(line: str = "") -> None:
    """Print one line on standard output."""
    print(printable(line), flush=True)


def say_text(text: str) -> None:
    """Print text of several lines on standard output."""
    print(printable(text, lines=True), flush=True)


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Print JSON on standard output."""
    print(json_text(value, indent=indent), flush=True)


def err(message: str) -> None:
    """Print one line on standard error."""
    print(printable(message), file=sys.stderr, flush=True)


def counted(number: int, what: str) -> str:
    """``1 document``, ``2,000 documents``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@contextmanager
def progresses(*titles: str) -> Iterator[Sequence[Progress]]:
    """A progress callback per title, the outermost first: bars on a terminal, otherwise lines; on standard error.

    A bar is shown from its first step on. A line is printed every ten seconds, so that a log stays readable.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        lines = ProgressLines(titles)
        yield [partial(lines.advance, title) for title in titles]
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks = [bars.add_task(printable(title), total=None, visible=False) for title in titles]
        yield [partial(_advance, bars, task) for task in tasks]


def _advance(bars: Any, task: int, done: int, total: int) -> None:
    bars.update(task, completed=done, total=total, visible=True)


class ProgressLines:
    """Progress as lines for a log: ``files 3 of 40, documents 512 of 9,000; 0:02:10 left``.

    The time left is estimated from the first title that has begun to advance.
    """

    def __init__(self, titles: Sequence[str], *, clock: Callable[[], float] = monotonic) -> None:
        self._steps: dict[str, tuple[int, int]] = dict.fromkeys(titles, (0, 0))
        self._clock = clock
        self._start = self._last = clock()

    def advance(self, title: str, done: int, total: int) -> None:
        """Note a step, and print a line if the last one was long enough ago."""
        self._steps[title] = (done, total)
        now = self._clock()
        if now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        begun = {each: steps for each, steps in self._steps.items() if steps[1]}
        text = ", ".join(
            f"{each} {done:,}" + (f" of {total:,}" if done < total else "")  # else all, or all that is known yet
            for each, (done, total) in begun.items()
        )
        for done, total in begun.values():
            if 0 < done < total:
                seconds = round((now - self._start) / done * (total - done))
                text += f"; about {timedelta(seconds=seconds)} left"
                break
        err(text)


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """One progress bar."""
    with progresses(title) as (bar,):
        yield bar


class Interruption:
    """What a command says when it is interrupted: what it has kept, and what to do next."""

    kept: Callable[[], str]
    then: str


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """End with exit status 130 on Ctrl-C, after one line that says what was kept."""
    import typer

    interruption = Interruption()
    try:
        yield interruption
    except KeyboardInterrupt:
        err(f"interrupted: {interruption.kept()}; {interruption.then}")
        raise typer.Exit(130) from None


def print_rows(rows: list[dict[str, Any]], *, as_json: bool, empty: str = "none") -> None:
    """Print a table, or its rows as JSON; without rows, print `empty`."""
    if as_json:
        say_json(rows, indent=2)
        return
    if not rows:
        say(empty)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(str(value))) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 1000).print(table)
