"""Results and traces as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridrank.result.explain import reasons, stage_notes
from hybridrank.result.trace import Stage, Trace
from hybridrank.values.html import html_table, notebook_html
from hybridrank.values.printable import html_text

if TYPE_CHECKING:
    from hybridrank.result.hits import Hit

__all__ = ["result_html", "trace_html"]

_LONGEST_TEXT = 240  # characters of a document
_LISTED = 20  # ids of a stage


def result_html(hits: Sequence[Hit], trace: Trace) -> str:
    """The hits as a table with their ranks at every stage, and the stages, folded."""
    names = [stage.name for stage in trace.stages if stage.ranks]
    titled = any(hit.title for hit in hits)
    calibrated = any(hit.relevance is not None for hit in hits)
    rows = []
    for hit in hits:
        path = trace.path(hit.id)
        ranks = [str(path[name][0]) if name in path else "–" for name in names]
        words = [hit.id, *([hit.title or ""] if titled else []), _brief(hit.text), reasons(trace, path)]
        relevance = ["–" if hit.relevance is None else f"{hit.relevance:.2f}"] if calibrated else []
        rows.append([str(hit.rank), *words, *ranks, *relevance, f"{hit.score:.3g}", hit.scored_by])
    labels = ["#", "id", *(["title"] if titled else []), "text", "why"]
    relevance = ["relevance"] if calibrated else []
    columns = [*labels, *(f"{name} rank" for name in names), *relevance, "score", "scored by"]
    found = html_table(trace.query, columns, rows, labels=len(labels)) if hits else "<p>Nothing found.</p>"
    decided = "" if trace.decision is None else f"<p>{html_text(trace.decision.describe())}</p>\n"
    stages = f"<details><summary>{_summary(trace)}</summary>\n{_stages(trace.stages)}\n</details>"
    return notebook_html(f"{_degraded(trace)}{found}\n{decided}{stages}")


def trace_html(trace: Trace) -> str:
    """The stages as a table, with the best documents of each."""
    listed = [
        [stage.name, " ".join(f"{rank}. {doc_id}" for rank, doc_id in enumerate(stage.ids[:_LISTED], start=1))]
        for stage in trace.stages
    ]
    best = html_table(f"The best {_LISTED} of each stage", ["stage", "documents"], listed, labels=2)
    folded = f"<details><summary>Documents</summary>\n{best}\n</details>"
    head = f"<p>{html_text(trace.query)}</p>\n<p>{_summary(trace)}</p>"
    return notebook_html(f"{head}\n{_degraded(trace)}{_stages(trace.stages)}\n{folded}")


def _stages(stages: Sequence[Stage]) -> str:
    rows = [
        [
            stage.name,
            stage.kind,
            "; ".join(stage_notes(stage)),
            f"{1000 * stage.seconds:.1f}",
            "–" if stage.received is None else str(stage.received),
            str(len(stage.ids)),
        ]
        for stage in stages
    ]
    return html_table("Stages", ["stage", "kind", "notes", "ms", "in", "out"], rows, labels=3)


def _summary(trace: Trace) -> str:
    return f"{1000 * trace.seconds:.1f} ms; k {trace.k}, fetch_k {trace.fetch_k}, rerank_k {trace.rerank_k}"


def _degraded(trace: Trace) -> str:
    return "".join(
        f"<p><strong>degraded</strong>: {html_text(name)}: {html_text(reason)}</p>\n"
        for name, reason in trace.degraded.items()
    )


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_TEXT else f"{line[: _LONGEST_TEXT - 1]}…"
