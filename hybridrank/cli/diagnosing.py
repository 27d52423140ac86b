"""``hybridrank doctor``: where a recorded pipeline loses relevant documents, and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hybridrank.cli.evaluating import (
    DatasetOption,
    HtmlOption,
    IgnoredOption,
    MarkdownOption,
    QrelsOption,
    QueriesOption,
    SplitOption,
    TopicsOption,
    judged_queries,
    show_report,
)
from hybridrank.cli.output import JsonOption, counted, err

__all__ = ["doctor"]


def doctor(
    recording: Annotated[Path, typer.Argument(help="A recording, as evaluate and compare make them.")],
    deeper: Annotated[
        Path | None,
        typer.Option("--deeper", help="One of the same queries with a greater fetch_k: how far down is the rest?"),
    ] = None,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    topics: TopicsOption = None,
    qrels: QrelsOption = None,
    ignored: IgnoredOption = None,
    queries: QueriesOption = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many results users see.")] = 10,
    grade: Annotated[int, typer.Option("--grade", min=1, help="Relevant is what has this grade or more.")] = 1,
    full: Annotated[
        bool, typer.Option("--full", help="Print examples and every stage, too; files always have them.")
    ] = False,
    as_json: JsonOption = False,
    markdown: MarkdownOption = None,
    html: HtmlOption = None,
    queries_out: Annotated[
        Path | None,
        typer.Option("--queries-out", help="Write each query with what it lost, and where, as JSON Lines."),
    ] = None,
) -> None:
    """Say where a recorded pipeline lost the relevant documents, and what to do about it, with the evidence.

    Needs no index: it reads the recording alone. --dataset brings other judgments.
    """
    from hybridrank.errors import StorageError
    from hybridrank.evaluation import Recording, diagnose
    from hybridrank.runtime.files import replace_file

    made = Recording.load(recording)
    given = any(each is not None for each in (dataset, topics, qrels))
    judged = judged_queries(dataset, split, topics, qrels, ignored, queries) if given else None
    if judged is None and queries is not None:
        judged = made.dataset.sample(queries)
    further = None if deeper is None else Recording.load(deeper)
    diagnosis = diagnose(made, dataset=judged, deeper=further, k=k, grade=grade)
    if queries_out is not None:
        lines = [json.dumps(query, ensure_ascii=False) + "\n" for query in diagnosis.per_query()]
        try:
            replace_file(queries_out, "".join(lines))
        except OSError as error:
            raise StorageError(f"cannot write {error.filename!r}: {error.strerror}") from error
        err(f"wrote {queries_out} ({counted(len(lines), 'line')})")
    show_report(diagnosis, as_json=as_json, markdown=markdown, html=html, recording=made, full=full)
