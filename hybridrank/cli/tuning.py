"""``hybridrank tune``: the best settings on recorded searches, and their gain on held-out queries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybridrank.cli.judged import show_report
from hybridrank.cli.options import (
    DepthOption,
    HtmlOption,
    JsonOption,
    MarkdownOption,
    PricesOption,
    TrustOption,
    parse_prices,
)
from hybridrank.cli.output import err, progress

__all__ = ["tune"]


def tune(
    recordings: Annotated[
        list[Path],
        typer.Argument(
            help="What record wrote (.jsonl), recorded deep; several, to choose between their pipelines."
        ),
    ],
    objective: Annotated[str, typer.Option("--objective", help="The measure, of ir_measures.")] = "nDCG@10",
    p95: Annotated[
        float | None, typer.Option("--p95", help="Seconds that 95 of a hundred searches may not exceed.")
    ] = None,
    cost: Annotated[
        float | None, typer.Option("--cost", help="What a thousand queries may cost, at the prices given.")
    ] = None,
    prices: PricesOption = None,
    default: Annotated[
        Path | None,
        typer.Option("--default", help="The TOML file that gains are measured from; else what was recorded."),
    ] = None,
    unsupervised: Annotated[
        bool,
        typer.Option("--unsupervised", help="Without judgments: agree with the reranker at full depth."),
    ] = False,
    k: DepthOption = 10,
    folds: Annotated[int, typer.Option("--folds", min=2, help="For cross-validation.")] = 5,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, help="Standard errors within which the simplest is chosen.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the folds and of the statistics.")] = 0,
    write: Annotated[
        Path | None, typer.Option("--write", help="Write the pipeline's TOML file, with what was chosen.")
    ] = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
    markdown: MarkdownOption = None,
    html: HtmlOption = None,
) -> None:
    """Tune fusion, weights, depths and blend on recorded searches; keep the default unless the gain is
    significant.

    No search and no model is run. With several recordings of the same queries, their pipelines are compared too:
    other models, or other k1 and b.
    """
    from hybridrank.errors import InputError
    from hybridrank.evaluation import Goal, Recording, Variant
    from hybridrank.evaluation import tune as tuned

    costs = parse_prices(prices)
    if costs and "" not in costs:
        raise InputError("--price takes no pipeline here: as in search_units=0.002")
    goal = Goal(objective, p95=p95, cost=cost, prices=costs.get("", {}))
    loaded = [Recording.load(path) for path in recordings]
    start = None if default is None else Variant.onto(loaded[0].header, default, trust=trust)
    with progress("trying") as bar:
        found = tuned(
            loaded,
            goal=goal,
            default=start,
            unsupervised=unsupervised,
            k=k,
            folds=folds,
            tolerance=tolerance,
            seed=seed,
            trust=trust,
            progress=bar,
        )
    show_report(found, as_json=as_json, markdown=markdown, html=html)
    if write is not None:
        found.write(write, trust=trust)
        unchanged = found.answer == found.default
        err(f"wrote {write}: {'the default' if unchanged else found.answer.variant.label}")
