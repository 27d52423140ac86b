"""Self-contained HTML tables: no network, no script."""

from __future__ import annotations

from collections.abc import Sequence

from hybridrank.values.printable import html_text

__all__ = ["html_table", "notebook_html"]

# No colors of its own: a notebook may be light or dark.
_CSS = """
.hybridrank table { border-collapse: collapse; font-size: .9em; margin: .4em 0 .8em; }
.hybridrank caption { text-align: left; font-weight: 600; caption-side: top; color: inherit; padding: .2em 0; }
.hybridrank th, .hybridrank td { text-align: right; vertical-align: top; padding: .25em .6em; white-space: nowrap;
  border-bottom: 1px solid rgba(128, 128, 128, .35); font-variant-numeric: tabular-nums; }
.hybridrank .word { text-align: left; white-space: normal; overflow-wrap: break-word; max-width: 36em; }
.hybridrank .scroll { overflow-x: auto; }
.hybridrank summary { cursor: pointer; }
"""


def html_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, labels: int = 1) -> str:
    """A table as HTML with all texts escaped. The first `labels` columns are text, the others numbers."""

    def cell(number: int, text: str, *, head: bool = False) -> str:
        word = ' class="word"' if number < labels else ""
        if head:
            return f'<th scope="col"{word}>{html_text(text)}</th>'
        return (
            f'<th scope="row"{word}>{html_text(text)}</th>' if number == 0 else f"<td{word}>{html_text(text)}</td>"
        )

    head = "".join(cell(number, column, head=True) for number, column in enumerate(columns))
    body = "\n".join(
        "<tr>" + "".join(cell(number, text) for number, text in enumerate(row)) + "</tr>" for row in rows
    )
    name = html_text(caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table>\n'
        f"<caption>{name}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def notebook_html(body: str) -> str:
    """`body`, which is HTML, as the output of a notebook's cell, readable on light and dark backgrounds."""
    return f'<div class="hybridrank">\n<style>{_CSS}</style>\n{body}\n</div>'
