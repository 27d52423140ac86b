"""The program ``hybridrank``: its commands, its own options, and its exit status."""

from __future__ import annotations

import logging
import sys
from traceback import format_exc
from typing import Annotated

import typer

from hybridrank import __version__
from hybridrank.cli import (
    calibrating,
    comparing,
    contents,
    diagnosing,
    evaluating,
    indexing,
    models,
    plugins,
    recording,
    reindexing,
    replaying,
    searching,
    tuning,
)
from hybridrank.cli.commands import Commands
from hybridrank.cli.output import err
from hybridrank.errors import HybridrankError
from hybridrank.values.printable import printable

__all__ = ["main"]

app = typer.Typer(
    name="hybridrank",
    cls=Commands,
    help="Hybrid search: BM25 and vectors in parallel, fused, then reranked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: no rich to import for it
)
app.command()(searching.demo)
app.command()(searching.search)
app.command()(indexing.index)
app.command()(reindexing.reindex)
app.command()(contents.info)
app.command()(contents.get)
app.command()(contents.delete)
app.command()(contents.compact)
app.command("export")(contents.export_documents)
app.command("import")(contents.import_documents)
app.command()(evaluating.evaluate)
app.command()(comparing.compare)
app.command()(diagnosing.doctor)
app.command()(recording.record)
app.command()(replaying.replay)
app.command()(tuning.tune)
app.command()(calibrating.calibrate)
app.add_typer(plugins.app, name="plugins")
app.add_typer(models.app, name="models")

_debug = False


def main() -> None:
    """Run the command line.

    Exits with 0 for success; 1 if a check failed, a file could not be read or an id does not exist, and
    everything else was done; 2 for an error, reported in one line; 3 if a search found nothing that answers the
    question.
    """
    logging.getLogger("hybridrank").addHandler(logging.NullHandler())  # its warnings are printed here anyway
    try:
        app()
    except HybridrankError as error:
        if _debug:
            print(printable(format_exc(), lines=True), file=sys.stderr)
        err(f"error: {' '.join(str(error).split())}")
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output has gone, as in `… | head`
        sys.stderr.close()
        sys.exit(0)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hybridrank {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show an error's traceback.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    global _debug
    _debug = debug
