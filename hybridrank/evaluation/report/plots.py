"""The pictures of a report, as SVG: quality against time and cost, and where relevant documents stood."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from itertools import pairwise
from typing import Any

from hybridrank.errors import MissingDependencyError
from hybridrank.evaluation.recordings.recording import Recording
from hybridrank.values.printable import html_text, printable

__all__ = ["movements", "pareto", "trade_off"]

_BLUES = ("#08306b", "#2171b5", "#6baed6", "#c6dbef")
_MISSED = "#d9d9d9"
_INK = "#1a1a1a"
_FRONT = "#b35806"
_FONT = "DejaVu Sans"  # comes with matplotlib; what a page's reader has may be another
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and selected
    "svg.hashsalt": "hybridrank",
    "font.family": [_FONT],
    "font.size": 10,
    "text.parse_math": False,  # a pipeline may have a $ in its name
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#666666",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
}


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Those of the points (cost, quality), by name, than which none is as cheap and as good; the cheapest first.

    >>> pareto({"a": (1.0, 0.5), "b": (2.0, 0.7), "c": (3.0, 0.6)})
    ['a', 'b']
    """
    front: list[str] = []
    best = float("-inf")
    for name, (_, quality) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1], item[0])):
        if quality > best:
            front.append(name)
            best = quality
    return front


def trade_off(points: Mapping[str, tuple[float, float]], *, cost: str, quality: str) -> str:
    """A picture of pipelines (cost, quality), by name, with the front of those that none beats in both."""
    with _figure(7.2, 4.2) as (figure, svg):
        axes = figure.subplots()
        costs = [x for x, _ in points.values()]
        if min(costs) > 0 and max(costs) > 20 * min(costs):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        front = pareto(points)
        axes.step(
            *zip(*(points[name] for name in front), strict=True),
            where="post",
            color=_FRONT,
            linewidth=1.5,
            linestyle="--",
            zorder=2,
        )
        for name, (x, y) in points.items():
            on_front = name in front
            axes.plot(
                x, y, "o" if on_front else "X", color=_FRONT if on_front else _BLUES[1], markersize=9, zorder=3
            )
        axes.set_xlabel(cost)
        axes.set_ylabel(quality)
        axes.margins(x=0.12, y=0.18)
        _label(figure, axes, points)
        return svg(
            f"{quality} against {cost}: " + "; ".join(f"{n} {y:.3f} at {x:.3g}" for n, (x, y) in points.items())
        )


def movements(recording: Recording) -> str:
    """A picture of where the relevant documents stood after each stage, and how the later stages moved them.

    Arms stand side by side; between the fusion and what comes after it, bands show what went from where to where.
    """
    kinds = recording.kinds
    bounds, labels = _depths(recording)
    orders = recording.rankings()
    relevant = [
        (q, d)
        for q, search in recording.searches.items()
        for d, g in search.qrels.items()
        if g > 0 and d not in search.ignored
    ]
    places = {
        stage: [_place(orders[stage][query_id], doc_id, bounds) for query_id, doc_id in relevant]
        for stage in kinds
    }
    colors = [*_BLUES[: len(labels) - 1], _MISSED]
    with _figure(max(5.0, 1.5 + 1.35 * len(kinds)), 4.2) as (figure, svg):
        axes = figure.subplots()
        bases: dict[str, list[float]] = {}
        for column, stage in enumerate(kinds):
            counts = Counter(places[stage])
            shares = [counts[place] / len(relevant) for place in range(len(labels))]
            bases[stage] = [1 - sum(shares[: place + 1]) for place in range(len(labels))]  # the best on top
            for place, share in enumerate(shares):
                axes.bar(
                    column, share, bottom=bases[stage][place], width=0.5, color=colors[place],
                    edgecolor="white", linewidth=0.8, zorder=3,
                    label=labels[place] if column == 0 else None,
                )  # fmt: skip
                if share >= 0.04:
                    dark = place < min(2, len(labels) - 2)
                    axes.text(
                        column, bases[stage][place] + share / 2, f"{share:.0%}", ha="center", va="center",
                        color="white" if dark else _INK, fontsize=9, zorder=4,
                    )  # fmt: skip
        later = [stage for stage, kind in kinds.items() if kind != "retrieve"]
        columns = {stage: column for column, stage in enumerate(kinds)}
        for before, after in pairwise(later):
            _bands(axes, places, bases, columns, before, after, colors, len(relevant))
        axes.set_xticks(range(len(kinds)), [_short(name, 16) for name in kinds])
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        axes.set_ylabel("relevant documents")
        axes.set_ylim(0, 1)
        axes.grid(visible=False)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, title="rank")
        said = (
            f"{stage} " + ", ".join(f"{places[stage].count(n)} {label}" for n, label in enumerate(labels))
            for stage in kinds
        )
        return svg(f"Ranks of {len(relevant)} relevant documents after each stage: " + "; ".join(said))


def _bands(
    axes: Any,
    places: Mapping[str, Sequence[int]],
    bases: Mapping[str, Sequence[float]],
    columns: Mapping[str, int],
    before: str,
    after: str,
    colors: Sequence[str],
    total: int,
) -> None:
    import numpy as np

    moves = Counter(zip(places[before], places[after], strict=True))
    x = np.linspace(0, 1, 40)
    smooth = x * x * (3 - 2 * x)
    left = {p: bases[before][p] + places[before].count(p) / total for p in range(len(colors))}
    right = {p: bases[after][p] + places[after].count(p) / total for p in range(len(colors))}
    for (start, end), count in sorted(moves.items()):
        share = count / total
        top = left[start] + (right[end] - left[start]) * smooth
        axes.fill_between(
            columns[before] + 0.25 + 0.5 * x, top - share, top, color=colors[start], alpha=0.45, linewidth=0
        )
        left[start] -= share
        right[end] -= share


def _depths(recording: Recording) -> tuple[list[int], list[str]]:
    """The last rank of each group of ranks, and what the groups are called; the last one is "not found"."""
    trace = next(iter(recording.searches.values())).trace
    reranks = "rerank" in recording.kinds.values()
    marks = {3, 10, *([trace.rerank_k] if reranks else []), trace.fetch_k}
    bounds = sorted(mark for mark in marks if mark <= max(10, trace.fetch_k))
    while len(bounds) > len(_BLUES) - 1:
        bounds.remove(bounds[-2] if bounds[-2] != trace.rerank_k else bounds[0])
    starts = [1, *(bound + 1 for bound in bounds)]
    labels = [f"{s}–{e}" if s < e else f"{s}" for s, e in zip(starts, bounds, strict=False)]
    return bounds, [*labels, f"after {bounds[-1]}", "not found"]


def _place(order: Sequence[str], doc_id: str, bounds: Sequence[int]) -> int:
    if doc_id not in order:
        return len(bounds) + 1
    rank = order.index(doc_id) + 1
    return next((place for place, bound in enumerate(bounds) if rank <= bound), len(bounds))


def _short(name: str, most: int = 40) -> str:
    """A name that leaves room for the picture."""
    shown = printable(name)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _label(figure: Any, axes: Any, points: Mapping[str, tuple[float, float]]) -> None:
    """A name above each point, to its left where there is room, and higher where another would be in its way."""
    figure.canvas.draw()
    edge = axes.transAxes.transform((0, 0))[0]
    scale = 72 / figure.dpi
    taken: list[tuple[float, float, float]] = []  # left, right and height, in points
    for name, point in sorted(points.items(), key=lambda item: item[1][1]):
        x, y = axes.transData.transform(point) * scale
        width = 6.2 * len(_short(name))
        to_left = x - width > edge * scale
        left, height = (x - width if to_left else x), y + 9
        while any(left < end and start < left + width and abs(height - other) < 13 for start, end, other in taken):
            height += 13
        taken.append((left, left + width, height))
        axes.annotate(
            _short(name),
            point,
            xytext=(-4 if to_left else 4, height - y),
            textcoords="offset points",
            ha="right" if to_left else "left",
            zorder=2.5,  # over lines, under points
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8},
        )


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Any, Callable[[str], str]]]:
    """A figure of so many inches, and what makes SVG of it with a text that says what is to be seen."""
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError('pictures need matplotlib; pip install "hybridrank[evaluate]"') from error

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)

        def svg(told: str) -> str:
            out = StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
            return _inline(out.getvalue(), told)

        yield figure, svg


def _inline(svg: str, told: str) -> str:
    """The drawing as part of a page: its ids its own, and with a text in place of what cannot be seen."""
    from hashlib import sha256

    prefix = sha256(told.encode()).hexdigest()[:8]
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = body.replace(f"'{_FONT}'", f"'{_FONT}', Verdana, Arial, sans-serif")
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", body)
    return body.replace("<svg", f'<svg role="img" aria-label="{html_text(told)}"', 1)
