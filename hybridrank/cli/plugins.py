"""``hybridrank plugins``: the installed backends, and their conformance."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hybridrank.cli.options import JsonOption
from hybridrank.cli.output import print_rows
from hybridrank.values.printable import suggestion

__all__ = ["app"]

app = typer.Typer(
    help="Retrievers, embedders, fusions, rerankers and adjusters that are installed.", no_args_is_help=True
)


@app.command("list")
def plugins_list(as_json: JsonOption = False) -> None:
    """List every registered backend and its distribution; imports none of them."""
    from hybridrank.component.registry import GROUPS, registered

    rows = [
        {
            "kind": kind,
            "name": name,
            "distribution": entry.distribution or "",
            "version": entry.version or "",
            "class": entry.value,
        }
        for kind in GROUPS
        for name, entry in registered(kind).items()
    ]
    print_rows(rows, as_json=as_json)


@app.command("check")
def plugins_check(
    name: Annotated[str, typer.Argument(help="A registered name.")],
    kind: Annotated[
        str | None, typer.Option(help="retriever, embedder, fusion, reranker or adjuster; else all of them.")
    ] = None,
    options: Annotated[str, typer.Option(help="The component's options, as a JSON object.")] = "{}",
    huge: Annotated[int, typer.Option(min=1, help="Characters of the longest text that it is given.")] = 1_000_000,
    as_json: JsonOption = False,
) -> None:
    """Run the conformance checks on a backend; exit status 1 if one fails."""
    from hybridrank.component.registry import GROUPS, create, registered
    from hybridrank.errors import ConfigError, UnknownComponentError
    from hybridrank.testing import Tolerances, run_checks

    if kind is not None and kind not in GROUPS:
        raise ConfigError(f"no kind {kind!r}; kinds: {', '.join(GROUPS)}", path="--kind")
    try:
        chosen = json.loads(options)
    except ValueError as error:
        raise ConfigError(f"not JSON: {error}", path="--options") from None
    if not isinstance(chosen, dict):
        raise ConfigError("not a JSON object", path="--options")
    kinds = [kind] if kind is not None else [each for each in GROUPS if name in registered(each)]
    if not kinds:
        everything = sorted({known for each in GROUPS for known in registered(each)})
        hint = suggestion(name, everything)
        raise UnknownComponentError(
            f'nothing is registered as "{name}"{hint} (installed: {", ".join(everything)})'
        )
    results = [
        {"kind": each, "check": result.name, "status": result.status, "message": result.message}
        for each in kinds
        for result in run_checks(each, create(each, {"use": name, **chosen}), tolerances=Tolerances(huge=huge))
    ]
    print_rows(results, as_json=as_json)
    if any(result["status"] == "failed" for result in results):
        raise typer.Exit(1)
