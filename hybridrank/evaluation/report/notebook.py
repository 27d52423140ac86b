"""A report as the output of a notebook's cell: the page's sections, without pictures."""

from __future__ import annotations

from hybridrank.evaluation.report.content import Report, sections, title
from hybridrank.evaluation.report.sections import Section
from hybridrank.values.html import html_table, notebook_html
from hybridrank.values.printable import html_text

__all__ = ["section_html", "to_notebook"]

_FOLDED = ("examples", "stages")  # of a comparison or a diagnosis


def to_notebook(report: Report) -> str:
    """The whole report as an HTML fragment; long sections are folded."""
    found = sections(report)
    parts = [f"<h3>{html_text(title(report))}</h3>"]
    for section in found:
        head, content = html_text(section.title), section_html(section)
        if section.anchor in _FOLDED and len(found) > 3:
            parts.append(f"<details><summary><strong>{head}</strong></summary>\n{content}\n</details>")
        else:
            parts.append(f"<h4>{head}</h4>\n{content}")
    return notebook_html("\n".join(parts))


def section_html(section: Section) -> str:
    """The paragraphs of a section, a list if there are several, then its tables."""
    tag = "li" if len(section.paragraphs) > 1 else "p"
    paragraphs = "\n".join(f"<{tag}>{html_text(each)}</{tag}>" for each in section.paragraphs)
    text = f"<ul>\n{paragraphs}\n</ul>" if tag == "li" else paragraphs
    tables = (
        html_table(table.caption, table.columns, table.rows, labels=table.labels) for table in section.tables
    )
    return "\n".join([text, *tables])
