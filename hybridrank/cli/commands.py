"""Commands of plugins, looked up on demand.

An entry point in the group ``hybridrank.commands`` names a command, and refers to its `typer.Typer`. The
program's own commands take precedence. A plugin is imported only for its own command: help names a command's
distribution from the metadata alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer.main
from typer.core import TyperGroup

from hybridrank.cli.imports import with_imports
from hybridrank.errors import ConfigError, MissingDependencyError
from hybridrank.values.printable import printable

__all__ = ["GROUP", "Commands", "plugin_commands"]

GROUP = "hybridrank.commands"

_OUR_PLUGINS: Mapping[str, str] = {
    "judge": "hybridrank-llm",
    "train": "hybridrank-sentence-transformers[train]",
}


def plugin_commands() -> Mapping[str, EntryPoint]:
    """The commands that installed distributions register, by name; imports none of them.

    Raises:
        ConfigError: two distributions claim one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if (other := found.get(entry.name)) is not None and other.value != entry.value:
            claims = sorted(f"{_owner(each)} ({each.value})" for each in (other, entry))
            raise ConfigError(
                f'two distributions bring the command "{entry.name}": {" and ".join(claims)}; uninstall one'
            )
        found[entry.name] = entry
    return found


class Commands(TyperGroup):
    """The program's own commands, then those of plugins."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parse the program's own options; errors are printed in printable characters."""
        with _printable_errors():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parse a command's arguments and run it; errors are printed in printable characters."""
        with _printable_errors():
            return super().invoke(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name; one of a plugin is imported now.

        Raises:
            MissingDependencyError: it comes with a plugin of ours that is not installed, or cannot be imported.
            ConfigError: what a plugin registers is no `typer.Typer`.
        """
        if (own := super().get_command(ctx, cmd_name)) is not None:
            return with_imports(own)
        if (entry := plugin_commands().get(cmd_name)) is not None:
            return with_imports(_load(entry))
        if (plugin := _OUR_PLUGINS.get(cmd_name)) is not None:
            raise MissingDependencyError(f'"{cmd_name}" comes with a plugin: pip install "{plugin}"')
        return None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the program's commands, then those of plugins with their distributions."""
        super().format_commands(ctx, formatter)
        rows = [
            (name, f"From {_owner(entry)}.")
            for name, entry in plugin_commands().items()
            if name not in self.commands
        ]
        if rows:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(rows)


@contextmanager
def _printable_errors() -> Iterator[None]:
    """Usage errors quote arguments, which may be file names that a shell has filled in."""
    try:
        yield
    except BrokenPipeError:  # the reader of our output has gone, as in `… | head`
        sys.stderr.close()
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (what is still to be flushed goes nowhere)
        raise typer.Exit from None
    except Exception as error:
        if hasattr(error, "show") and isinstance(message := getattr(error, "message", None), str):
            if type(error.__cause__).__name__ == "ValidationError":  # pydantic's, not imported for this
                from hybridrank.values.problems import first_problem

                message = first_problem(error.__cause__, None).text  # type: ignore[arg-type]
            error.message = printable(message, lines=True)  # type: ignore[attr-defined]
        raise


def _load(entry: EntryPoint) -> Any:
    try:
        app = entry.load()
    except ImportError as error:
        owner = _owner(entry)
        raise MissingDependencyError(
            f'the command "{entry.name}" of {owner} cannot be imported ({error}); pip install --upgrade "{owner}"'
        ) from error
    if not isinstance(app, typer.Typer):
        raise ConfigError(f'the command "{entry.name}" of {_owner(entry)} ({entry.value}) is no typer.Typer')
    command = typer.main.get_command(app)
    command.name = entry.name
    return command


def _owner(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value
