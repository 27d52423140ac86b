"""``hybridrank record``: records searches for tuning and replaying, deeper than a pipeline searches."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from hybridrank.cli.judged import begin_recording, open_or_build
from hybridrank.cli.options import (
    DatasetOptions,
    DepthOption,
    RerankerOption,
    ResumeOption,
    SourceArgument,
    TemporaryConfigOption,
    TrustOption,
    grouped,
)
from hybridrank.cli.output import counted, err, progress

__all__ = ["record"]


@grouped
def record(
    to: Annotated[Path, typer.Option("--to", help="The recording's file (.jsonl).")],
    judged: DatasetOptions,
    source: SourceArgument = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", help="Queries that nobody judged: a line each, or a column called query."),
    ] = None,
    deep: Annotated[
        int | None,
        typer.Option("--deep", min=1, help="Each arm fetches so many, and the reranker scores all of them."),
    ] = None,
    config: TemporaryConfigOption = None,
    reranker: RerankerOption = None,
    k: DepthOption = 10,
    resume: ResumeOption = True,
    trust: TrustOption = False,
) -> None:
    """Search for queries, judged or not, and record the complete traces, for tune and replay.

    Each search is recorded as it is made; after an interruption, the same command continues.
    """
    from hybridrank.errors import InputError
    from hybridrank.evaluation import Dataset, QueryLog
    from hybridrank.evaluation import record as recorded

    asked: Dataset | QueryLog
    if log is not None:
        if judged != DatasetOptions(queries=judged.queries):
            raise InputError("--log is of queries that nobody judged; leave --dataset and its like out")
        if source is None:
            raise InputError("--log has no documents of its own: say which collection or files to search")
        asked = QueryLog.load(log)
        if judged.queries is not None:
            asked = asked.sample(judged.queries)
    else:
        asked = judged.load()
    options: dict[str, Any] = {} if reranker is None else {"reranker": reranker}
    with ExitStack() as stack:
        pipeline = stack.enter_context(
            open_or_build(source, None if isinstance(asked, QueryLog) else asked, config, options, trust=trust)
        )
        begin_recording(to, resume=resume)  # now that there is something to search
        with progress("searching") as bar:
            made = recorded(pipeline, asked, path=to, k=k, deep=deep, progress=bar)
    for warning in made.warnings:
        err(f"warning: {warning}")
    err(f"recorded {counted(len(made), 'search').replace('searchs', 'searches')}")
