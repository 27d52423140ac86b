"""A report as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hybridrank.evaluation.report.content import Report, Table, sections, title
from hybridrank.values.printable import markdown_text

__all__ = ["to_markdown"]


def to_markdown(report: Report) -> str:
    """The whole report, with pipe tables."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield f"# {markdown_text(title(report))}"
    for section in sections(report):
        yield from ("", f"## {markdown_text(section.title)}", "")
        several = len(section.paragraphs) > 1
        yield from (f"- {markdown_text(each)}" if several else markdown_text(each) for each in section.paragraphs)
        for table in section.tables:
            yield from ("", f"*{markdown_text(table.caption)}*", "")
            yield from _table(table)
    yield ""


def _table(table: Table) -> Iterator[str]:
    yield _row(table.columns)
    yield _row(["---" if number < table.labels else "---:" for number in range(len(table.columns))], escape=False)
    yield from map(_row, table.rows)


def _row(cells: Sequence[str], *, escape: bool = True) -> str:
    return "| " + " | ".join(markdown_text(cell) if escape else cell for cell in cells) + " |"
