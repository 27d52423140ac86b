"""``hybridrank doctor``: reports where a recorded pipeline loses relevant documents, with advice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hybridrank.cli.judged import show_report
from hybridrank.cli.options import (
    DatasetOptions,
    FullOption,
    HtmlOption,
    JsonOption,
    MarkdownOption,
    RecordingArgument,
    grouped,
)
from hybridrank.cli.output import counted, err

__all__ = ["doctor"]


@grouped
def doctor(
    recording: RecordingArgument,
    judged: DatasetOptions,
    deeper: Annotated[
        Path | None,
        typer.Option("--deeper", help="One of the same queries with a greater fetch_k: how far down is the rest?"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many results users see.")] = 10,
    grade: Annotated[int, typer.Option("--grade", min=1, help="Relevant is what has this grade or more.")] = 1,
    full: FullOption = False,
    as_json: JsonOption = False,
    markdown: MarkdownOption = None,
    html: HtmlOption = None,
    queries_out: Annotated[
        Path | None,
        typer.Option("--queries-out", help="Write each query with what it lost, and where, as JSON Lines."),
    ] = None,
) -> None:
    """Report where a recorded pipeline lost the relevant documents, with advice and the evidence for it.

    Needs no index, only the recording. --dataset provides other judgments.
    """
    from hybridrank.errors import StorageError
    from hybridrank.evaluation import Recording, diagnose
    from hybridrank.runtime.files import replace_file

    made = Recording.load(recording)
    dataset = judged.load() if judged.given else None
    if dataset is None and judged.queries is not None:
        dataset = made.dataset.sample(judged.queries)
    further = None if deeper is None else Recording.load(deeper)
    diagnosis = diagnose(made, dataset=dataset, deeper=further, k=k, grade=grade)
    if queries_out is not None:
        lines = [json.dumps(query, ensure_ascii=False) + "\n" for query in diagnosis.per_query()]
        try:
            replace_file(queries_out, "".join(lines))
        except OSError as error:
            raise StorageError(f"cannot write {error.filename!r}: {error.strerror}") from error
        err(f"wrote {queries_out} ({counted(len(lines), 'line')})")
    show_report(diagnosis, as_json=as_json, markdown=markdown, html=html, recording=made, full=full)
