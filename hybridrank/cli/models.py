"""``hybridrank models``: the available weights."""

from __future__ import annotations

from typing import Annotated

import typer

from hybridrank.cli.options import JsonOption
from hybridrank.cli.output import print_rows, say

__all__ = ["app"]

app = typer.Typer(help="Model weights.", no_args_is_help=True)


@app.command("list")
def models_list(as_json: JsonOption = False) -> None:
    """List the models of installed distributions, which need no network."""
    from hybridrank.models import offered

    rows = [
        {
            "model": model.id,
            "kind": model.kind,
            "distribution": model.distribution,
            "path": str(model.path or model.problem),
        }
        for model in offered()
    ]
    print_rows(rows, as_json=as_json, empty='none; pip install "hybridrank-models" for the default ones')


@app.command("path")
def models_path(model: Annotated[str, typer.Argument(help="A model id, such as BAAI/bge-small-en-v1.5.")]) -> None:
    """Print the local directory of a model, downloading it if necessary."""
    from hybridrank.models import resolve

    say(str(resolve(model)))
