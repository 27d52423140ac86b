"""``hybridrank evaluate``: measures a pipeline on judged queries, stage by stage."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from hybridrank.cli.judged import choose_recording_path, open_or_build, show_report
from hybridrank.cli.options import (
    DatasetOptions,
    DepthOption,
    HtmlOption,
    JsonOption,
    KeptRecordingOption,
    MarkdownOption,
    MeasuresOption,
    PricesOption,
    RerankerOption,
    ResumeOption,
    SourceArgument,
    TemporaryConfigOption,
    TrustOption,
    grouped,
    parse_measures,
    parse_prices,
)
from hybridrank.cli.output import progress

__all__ = ["evaluate"]


@grouped
def evaluate(
    judged: DatasetOptions,
    source: SourceArgument = None,
    config: TemporaryConfigOption = None,
    reranker: RerankerOption = None,
    k: DepthOption = 10,
    measures: MeasuresOption = None,
    prices: PricesOption = None,
    recording: KeptRecordingOption = None,
    resume: ResumeOption = True,
    trust: TrustOption = False,
    as_json: JsonOption = False,
    markdown: MarkdownOption = None,
    html: HtmlOption = None,
) -> None:
    """Search for judged queries, and measure every stage: quality, latency, cost.

    Each search is recorded as it is made; after an interruption, the same command continues.
    """
    from hybridrank import evaluation
    from hybridrank.errors import InputError

    dataset = judged.load()
    options: dict[str, Any] = {} if reranker is None else {"reranker": reranker}
    wanted, costs = parse_measures(measures), parse_prices(prices)
    if "" not in costs and costs:
        raise InputError("--price takes no pipeline here: as in search_units=0.002")
    name = config.stem if config is not None else source.name if source is not None else dataset.name
    with ExitStack() as stack:
        pipeline = stack.enter_context(open_or_build(source, dataset, config, options, trust=trust))
        place = choose_recording_path(pipeline, dataset, recording, k, resume)
        with progress("searching") as bar:
            recorded = evaluation.record(pipeline, dataset, path=place, name=name, k=k, progress=bar)
    report = evaluation.evaluate(recorded, measures=wanted, prices=costs.get(""))
    show_report(report, as_json=as_json, markdown=markdown, html=html, recording=recorded)
