"""A report as one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Iterator

from hybridrank import __version__
from hybridrank.evaluation.comparison.comparing import Comparison
from hybridrank.evaluation.recordings.recording import Recording
from hybridrank.evaluation.report.content import Report, Section, sections, title
from hybridrank.evaluation.report.notebook import section_html
from hybridrank.evaluation.report.plots import movements, trade_off
from hybridrank.values.printable import html_text

__all__ = ["to_html"]

_CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", Roboto, Arial, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 74rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 1.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; padding-bottom: .2rem; border-bottom: 1px solid #ccc; }
p, li { max-width: 46rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .875rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .3rem .55rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top;
         font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th { border-bottom: 2px solid #666; vertical-align: bottom; white-space: normal; }
.word { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 8.5rem; }
tbody th { font-weight: 600; }
.warnings { background: #fff7e6; border-left: 5px solid #b35806; padding: .5rem 1.25rem; margin: 1.5rem 0; }
.warnings h2 { border: 0; margin: .25rem 0; font-size: 1.05rem; }
figure { margin: 1.25rem 0; break-inside: avoid; }
figure svg { max-width: 100%; height: auto; }
figcaption { font-size: .875rem; max-width: 46rem; }
footer { margin-top: 3rem; font-size: .8rem; color: #555; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } .scroll { overflow: visible; }
  table { font-size: 7pt; } th, td { padding: .12rem .28rem; } tr, .warnings { break-inside: avoid; }
  h2 { break-after: avoid; } }
"""


def to_html(report: Report, *, recording: Recording | None = None) -> str:
    """The whole report as a page, with pictures.

    `recording` is the one that an evaluation was made of, for the picture of how documents move; a comparison has
    its own.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    recordings = report.recordings if isinstance(report, Comparison) else tuple(filter(None, [recording]))
    pictures = {"stages": list(_movements(recordings))}
    if isinstance(report, Comparison):
        pictures["results"] = list(_trade_offs(report))
    body = "\n".join(_section(section, pictures.get(section.anchor, [])) for section in sections(report))
    head = html_text(title(report))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{head}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_CSS}</style>\n</head>\n<body>\n<main>\n<h1>{head}</h1>\n{body}\n</main>\n"
        f"<footer>Made by hybridrank {html_text(__version__)}.</footer>\n</body>\n</html>\n"
    )


def _section(section: Section, pictures: list[str]) -> str:
    marked = ' class="warnings"' if section.anchor == "warnings" else ""
    head, content = html_text(section.title), section_html(section)
    return f"<section{marked}>\n<h2>{head}</h2>\n{content}\n{''.join(pictures)}</section>"


def _trade_offs(comparison: Comparison) -> Iterator[str]:
    first = comparison.measures[0]
    timed = {
        e.name: (1000 * e.latencies["search"].p95, e.mean(first))
        for e in comparison.evaluations
        if "search" in e.latencies
    }
    priced = {e.name: (e.cost, e.mean(first)) for e in comparison.evaluations if e.cost is not None}
    for points, cost in ((timed, "milliseconds, p95 of single searches"), (priced, "cost of 1,000 queries")):
        if len(points) > 1:
            drawing = trade_off(points, cost=cost, quality=first)
            yield _picture(
                drawing,
                f"{first} against {cost}. The dashed line is the Pareto front: no pipeline here is both as cheap "
                "and as good as one on it (circles); crosses are beaten." + _left_out(comparison, points),
            )


def _left_out(comparison: Comparison, points: dict[str, tuple[float, float]]) -> str:
    absent = [e.name for e in comparison.evaluations if e.name not in points]
    return f" Not known for {', '.join(absent)}." if absent else ""


def _movements(recordings: tuple[Recording, ...]) -> Iterator[str]:
    for recording in recordings:
        yield _picture(
            movements(recording),
            f"{recording.name}: where the relevant documents of all queries stood after each stage. Bands show "
            "what moved from where to where after the fusion.",
        )


def _picture(svg: str, caption: str) -> str:
    return f"<figure>\n{svg}\n<figcaption>{html_text(caption)}</figcaption>\n</figure>\n"
