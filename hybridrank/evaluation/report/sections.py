"""What reports are made of: sections of sentences and tables, and numbers as words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybridrank.evaluation.metrics.statistics import Interval

__all__ = ["Section", "Table", "between", "counted", "money", "p_value"]


@dataclass(frozen=True)
class Table:
    """Rows of text under named columns; the first `labels` columns are words, the others numbers."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1


@dataclass(frozen=True)
class Section:
    """A part of a report. `anchor` is its name for the page's pictures."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    anchor: str = ""


def between(interval: Interval | None, *, signed: bool = False) -> str:
    """An interval in words."""
    if interval is None:
        return "–"
    sign = "+" if signed else ""
    return f"{interval.low:{sign}.3f} to {interval.high:{sign}.3f}"


def p_value(value: float | None) -> str:
    """A p-value, with three digits."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def counted(number: int, one: str, many: str) -> str:
    """``1 query``, ``2,000 queries``."""
    return f"{number:,} {one if number == 1 else many}"


def money(amount: float) -> str:
    """An amount, with as many digits as tell."""
    return f"{amount:,.2f}" if amount >= 0.1 or not amount else f"{amount:.2g}"
