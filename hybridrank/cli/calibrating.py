"""``hybridrank calibrate``: fits relevance and the bound on refused questions to judged questions."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hybridrank.cli.judged import choose_recording_path, open_or_build
from hybridrank.cli.options import (
    DatasetOptions,
    JsonOption,
    KeptRecordingOption,
    RerankerOption,
    ResumeOption,
    SourceArgument,
    TemporaryConfigOption,
    TrustOption,
    grouped,
)
from hybridrank.cli.output import err, progress, say_json, say_text
from hybridrank.cli.stored import is_collection, open_documents

if TYPE_CHECKING:
    from hybridrank.evaluation import Recording

__all__ = ["calibrate"]

_K = 10


@grouped
def calibrate(
    judged: DatasetOptions,
    source: SourceArgument = None,
    recording: KeptRecordingOption = None,
    max_refused: Annotated[
        float, typer.Option("--max-refused", help="The share of answerable questions that may be refused.")
    ] = 0.05,
    confidence: Annotated[
        float, typer.Option("--confidence", help="How sure the bound is; 0 bounds the average.")
    ] = 0.95,
    method: Annotated[
        Literal["platt", "isotonic"], typer.Option("--method", help="The curve from scores to relevance.")
    ] = "platt",
    toml: Annotated[
        Path | None, typer.Option("--toml", help="Write a TOML file instead of storing it in the collection.")
    ] = None,
    config: TemporaryConfigOption = None,
    reranker: RerankerOption = None,
    resume: ResumeOption = True,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Calibrate the reranker on judged questions: relevance of hits, and when a search is not answered.

    The result is stored in the collection, or written with --toml. Without judgments on the command line, the
    searches of --recording are read, and nothing is searched.
    """
    from hybridrank.errors import InputError
    from hybridrank.evaluation import Recording
    from hybridrank.evaluation import calibrate as calibrated
    from hybridrank.rerank import Relevance

    Relevance(max_refused=max_refused, confidence=confidence)  # wrong ones are refused before anything is searched
    stored = source is not None and is_collection(source)
    if judged.given:
        recorded = _search(judged, source, recording, config, reranker, resume=resume, trust=trust)
    elif recording is not None:
        if given := [
            name for name, value in (("--config", config), ("--reranker", reranker)) if value is not None
        ]:
            raise InputError(f"{given[0]} is for searching, and --recording alone searches nothing; leave it out")
        recorded = Recording.load(recording)
    else:
        raise InputError("say which questions are judged: --dataset, or --topics and --qrels; or a --recording")
    report = calibrated(recorded, max_refused=max_refused, confidence=confidence, method=method, trust=trust)
    if as_json:
        say_json(report.to_dict(), indent=2)
    else:
        say_text(str(report))
    for warning in report.warnings:
        err(f"warning: {warning}")
    if toml is not None:
        report.write(toml)
        err(f"wrote {toml}: its table [relevance] belongs in the pipeline's TOML file")
    elif stored and source is not None:
        with open_documents(source) as collection:
            collection.store_relevance(report.relevance)
        err(f"stored in {source}")
    else:
        err("nothing was stored: give a collection, or write a file with --toml")


def _search(
    judged: DatasetOptions,
    source: Path | None,
    recording: Path | None,
    config: Path | None,
    reranker: str | None,
    *,
    resume: bool,
    trust: bool,
) -> Recording:
    from hybridrank.evaluation import record

    dataset = judged.load()
    options: dict[str, Any] = {} if reranker is None else {"reranker": reranker}
    with ExitStack() as stack:
        pipeline = stack.enter_context(open_or_build(source, dataset, config, options, trust=trust))
        place = choose_recording_path(pipeline, dataset, recording, _K, resume)
        with progress("searching") as bar:
            return record(pipeline, dataset, path=place, k=_K, progress=bar)
