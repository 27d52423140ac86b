"""``--import``: modules that register components, imported before a command runs.

The names come from the command line alone: no configuration and nothing that is stored can import a module.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main

from hybridrank.errors import ConfigError, HybridrankError

__all__ = ["import_modules", "with_imports"]

_HELP = "A module, or a .py file, to import first: it registers components (hybridrank.register). May be repeated."


def with_imports(command: Any) -> Any:
    """Give a command, and every command in it, the option ``--import``."""
    for each in getattr(command, "commands", {}).values():
        with_imports(each)
    if not hasattr(command, "commands") and _option() not in command.params:
        command.params.append(_option())
    return command


@cache
def _option() -> Any:
    """The option as typer makes it; its callback has done everything, so no command takes its value."""
    app = typer.Typer(add_completion=False)
    app.command()(_declare)
    option = next(each for each in typer.main.get_command(app).params if each.name == "imports")
    option.expose_value = False
    return option


def _imported(names: list[str] | None) -> list[str] | None:
    import_modules(names or ())
    return names


def _declare(
    imports: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="MODULE", is_eager=True, callback=_imported, help=_HELP),
    ] = None,
) -> None: ...


def import_modules(names: Iterable[str]) -> None:
    """Import modules by name or by file, in order.

    The current directory is searched too, and a file's directory for what it imports; both after everything that
    is installed.

    Raises:
        ConfigError: one cannot be imported.
    """
    for name in names:
        try:
            if name.endswith(".py"):
                _import_file(Path(name))
            else:
                _search_also(Path.cwd())
                importlib.import_module(name)
        except HybridrankError:
            raise
        except Exception as error:  # whatever the module does
            raise ConfigError(
                f'cannot import "{name}": {type(error).__name__}: {error}', path="--import"
            ) from error


def _import_file(path: Path) -> None:
    file = path.resolve()
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(file):
        return
    if loaded is not None or path.stem in sys.stdlib_module_names:
        raise ConfigError(f'there is another module called "{path.stem}": rename {path}', path="--import")
    if not file.is_file():
        raise ConfigError(f"there is no file {path}", path="--import")
    spec = spec_from_file_location(path.stem, file)
    assert spec is not None
    assert spec.loader is not None
    _search_also(file.parent)
    module = sys.modules[path.stem] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise


def _search_also(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
