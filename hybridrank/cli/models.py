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
    """List models to choose from, and where they are: installed, in the cache, or on the hub.

    Installed models need no network. Published figures compare only if their measure is the same (--json has
    measures, sources, and paths).
    """
    from hybridrank.models import catalog, offered, whereabouts

    places, installed = whereabouts(), {model.id: model for model in offered()}
    listed = {model.id: model for model in catalog()}
    rows = []
    for name in dict.fromkeys([*listed, *installed]):
        known, own = listed.get(name), installed.get(name)
        rows.append(
            {
                "model": name,
                "kind": known.kind if known else own and own.kind,
                "parameters_millions": known and known.parameters,
                "languages": known and known.languages,
                "license": known and known.license,
                "take_for": known and known.take_for,
                "quality": known and known.quality,
                "measure": known and known.measure,
                "source": known and known.source,
                "where": places.get(name, "installed" if own and own.path else "not installed"),
                "distribution": own and own.distribution,
                "path": str(own.path or own.problem) if own else None,
            }
        )
    if not as_json:
        shown = ("model", "kind", "parameters_millions", "languages", "license", "take_for", "quality", "where")
        titles = {"parameters_millions": "millions", "take_for": "take for"}
        rows = [{titles.get(name, name): "" if row[name] is None else row[name] for name in shown} for row in rows]
    print_rows(rows, as_json=as_json)


@app.command("presets")
def models_presets(as_json: JsonOption = False) -> None:
    """List the presets: prepared configurations for --preset, for `preset` in a TOML file, and in Python."""
    from hybridrank.pipeline.presets import preset_models, presets

    rows = [
        {"preset": name, "description": text, "models": ", ".join(preset_models(name))}
        for name, text in presets().items()
    ]
    print_rows(rows, as_json=as_json)


@app.command("path")
def models_path(model: Annotated[str, typer.Argument(help="A model id, such as BAAI/bge-small-en-v1.5.")]) -> None:
    """Print the local directory of a model, downloading it if necessary."""
    from hybridrank.models import resolve

    say(str(resolve(model)))
