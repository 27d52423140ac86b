"""``hybridrank replay``: replays recorded searches with other settings, for comparisons and bounds in CI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridrank.cli.judged import show_report
from hybridrank.cli.options import (
    JsonOption,
    MarkdownOption,
    MeasuresOption,
    RecordingArgument,
    TrustOption,
    parse_measures,
)
from hybridrank.cli.output import err, say, say_json

if TYPE_CHECKING:
    from hybridrank.evaluation import Comparison, Recording

__all__ = ["replay"]

_BROKEN = 1


def replay(
    recording: RecordingArgument,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="The pipeline's TOML file to replay with; else its own choices."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Another recording to compare with; else this one as recorded."),
    ] = None,
    measures: MeasuresOption = None,
    below: Annotated[
        list[str] | None,
        typer.Option("--fail-below", help="Fail where a measure is less, as in nDCG@10=0.70; may be repeated."),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option("--max-drop", help="Fail where a measure loses more than so much, as in nDCG@10=0.01."),
    ] = None,
    k: Annotated[
        int | None, typer.Option("-k", min=1, help="Results for each query; by default as many as recorded.")
    ] = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
    markdown: MarkdownOption = None,
) -> None:
    """Replay recorded searches with another fusion, blend or depth, without an index or a model.

    Exits with 1 if a bound is violated.
    """
    from hybridrank.errors import InputError
    from hybridrank.evaluation import Recording, Variant, compare, replay_all

    if markdown is not None and as_json:
        raise InputError("--markdown goes with a table, not with --json")
    least, most = _parse_bounds(below, "--fail-below"), _parse_bounds(drop, "--max-drop")
    recorded = Recording.load(recording)
    if config is None:
        variant = Variant.recorded(recorded.header, trust=trust)
    else:
        variant = Variant.onto(recorded.header, config, trust=trust)
    replayed = replay_all(recorded, variant, k=k, name="replayed" if config is None else config.stem)
    before = recorded if against is None else Recording.load(against)
    if before.name == replayed.name:
        before = replace(before, name=f"{before.name} (before)")
    wanted = parse_measures(measures)
    asked = [*(name for name, _ in (*least, *most))]
    if wanted is None and asked:
        wanted = list(dict.fromkeys(asked))
    elif wanted is not None:
        wanted = list(dict.fromkeys([*wanted, *asked]))
    comparison = compare([before, replayed], measures=wanted, k=k or recorded.header.k)
    checked = [*_check_bounds(comparison, least, drop=False), *_check_bounds(comparison, most, drop=True)]
    changed = _count_changes(before, replayed, k or recorded.header.k)
    if as_json:
        said = {**comparison.to_dict(), "variant": variant.settings(), "changed": changed, "bounds": checked}
        say_json(said, indent=2)
    else:
        say(f"replayed: {variant.label}")
        say(_describe_changes(changed))
        show_report(comparison, as_json=False, markdown=markdown, html=None)
    for bound in checked:
        err(f"{'kept' if bound['kept'] else 'BROKEN'}: {bound['said']}")
    if not all(bound["kept"] for bound in checked):
        raise typer.Exit(_BROKEN)


def _parse_bounds(texts: Sequence[str] | None, option: str) -> list[tuple[str, float]]:
    from hybridrank.errors import InputError
    from hybridrank.evaluation.metrics.measures import measure_name

    found = []
    for text in texts or ():
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not equals or not 0 <= value < float("inf"):
            raise InputError(f"{option} is as in nDCG@10=0.70, not {text!r}")
        found.append((measure_name(name), value))
    return found


def _check_bounds(
    comparison: Comparison, bounds: Sequence[tuple[str, float]], *, drop: bool
) -> list[dict[str, Any]]:
    before, after = comparison.evaluations
    checked = []
    for measure, bound in bounds:
        was, value = before.mean(measure), after.mean(measure)
        kept = was - value <= bound + 1e-12 if drop else value >= bound - 1e-12
        said = (
            f"{measure} was {was:.4f} and is {value:.4f}; at most {bound:g} may be lost"
            if drop
            else f"{measure} is {value:.4f}; at least {bound:g} is wanted"
        )
        kind = "max-drop" if drop else "fail-below"
        checked.append(
            {
                "kind": kind,
                "measure": measure,
                "bound": bound,
                "before": was,
                "value": value,
                "kept": kept,
                "said": said,
            }
        )
    return checked


def _count_changes(before: Recording, after: Recording, k: int) -> dict[str, Any]:
    """The number of queries with other results, and the stages at which they first differ."""
    from hybridrank.evaluation import diff

    shared = [query_id for query_id in after.searches if query_id in before.searches]
    found = [diff(before.searches[q].trace, after.searches[q].trace, k=k) for q in shared]
    others = [each for each in found if not each.same]
    return {
        "queries": len(shared),
        "changed": len(others),
        "k": k,
        "first_stage": dict(Counter(each.stage for each in others)),
        "overlap": sum(each.overlap for each in found) / max(1, len(found)),
        "rbo": sum(each.rbo for each in found) / max(1, len(found)),
    }


def _describe_changes(changed: dict[str, Any]) -> str:
    stages = ", ".join(f"{stage} ({count})" for stage, count in changed["first_stage"].items())
    where = f"; they first differ at {stages}" if stages else ""
    return (
        f"{changed['changed']} of {changed['queries']} queries have another first {changed['k']}{where}; overlap "
        f"{changed['overlap']:.3f}, RBO {changed['rbo']:.3f}"
    )
