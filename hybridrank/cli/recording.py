"""``hybridrank record``: searches kept for tuning and replaying, deeper than a pipeline searches."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from hybridrank.cli.evaluating import (
    ConfigOption,
    DatasetOption,
    DepthOption,
    IgnoredOption,
    QrelsOption,
    QueriesOption,
    RerankerOption,
    ResumeOption,
    SourceArgument,
    SplitOption,
    TopicsOption,
    begin_recording,
    judged_queries,
    pipeline_over,
)
from hybridrank.cli.output import counted, err, progress
from hybridrank.cli.stored import TrustOption

__all__ = ["record"]


def record(
    to: Annotated[Path, typer.Option("--to", help="The recording's file (.jsonl).")],
    source: SourceArgument = None,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    topics: TopicsOption = None,
    qrels: QrelsOption = None,
    ignored: IgnoredOption = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", help="Queries that nobody judged: a line each, or a column called query."),
    ] = None,
    queries: QueriesOption = None,
    deep: Annotated[
        int | None,
        typer.Option("--deep", min=1, help="Each arm fetches so many, and the reranker scores all of them."),
    ] = None,
    config: ConfigOption = None,
    reranker: RerankerOption = None,
    k: DepthOption = 10,
    resume: ResumeOption = True,
    trust: TrustOption = False,
) -> None:
    """Search for queries, judged or not, and keep all that came of it, for tune and replay.

    Each search is recorded as it is made; interrupted, the same command goes on where it stopped.
    """
    from hybridrank.errors import InputError
    from hybridrank.evaluation import Dataset, QueryLog
    from hybridrank.evaluation import record as recorded

    asked: Dataset | QueryLog
    if log is not None:
        if any(each is not None for each in (dataset, split, topics, qrels, ignored)):
            raise InputError("--log is of queries that nobody judged; leave --dataset and its like out")
        if source is None:
            raise InputError("--log has no documents of its own: say which collection or files to search")
        asked = QueryLog.load(log) if queries is None else QueryLog.load(log).sample(queries)
    else:
        asked = judged_queries(dataset, split, topics, qrels, ignored, queries)
    options: dict[str, Any] = {} if reranker is None else {"reranker": reranker}
    with ExitStack() as stack:
        pipeline = stack.enter_context(
            pipeline_over(source, None if isinstance(asked, QueryLog) else asked, config, options, trust=trust)
        )
        begin_recording(to, resume=resume)  # now that there is something to search
        with progress("searching") as bar:
            made = recorded(pipeline, asked, path=to, k=k, deep=deep, progress=bar)
    for warning in made.warnings:
        err(f"warning: {warning}")
    err(f"recorded {counted(len(made), 'search').replace('searchs', 'searches')}")
