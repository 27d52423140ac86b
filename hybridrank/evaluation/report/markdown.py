"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hybridrank.evaluation.report.content import Report, Table, sections, title

__all__ = ["to_markdown"]

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def to_markdown(report: Report) -> str:
    """The whole report, with pipe tables."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield f"# {_escaped(title(report))}"
    for section in sections(report):
        yield from ("", f"## {_escaped(section.title)}", "")
        several = len(section.paragraphs) > 1
        yield from (f"- {_escaped(each)}" if several else _escaped(each) for each in section.paragraphs)
        for table in section.tables:
            yield from ("", f"*{_escaped(table.caption)}*", "")
            yield from _table(table)
    yield ""


def _table(table: Table) -> Iterator[str]:
    yield _row(table.columns)
    yield _row(["---" if number < table.labels else "---:" for number in range(len(table.columns))], escape=False)
    yield from map(_row, table.rows)


def _row(cells: Sequence[str], *, escape: bool = True) -> str:
    return "| " + " | ".join(_escaped(cell) if escape else cell for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Text that stays as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
