"""The command line: the only part that prints. The names here are for commands of plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridrank._lazy import lazy

_HOME = {
    "JsonOption": "options",
    "TrustOption": "options",
    "counted": "output",
    "err": "output",
    "is_collection": "stored",
    "main": "app",
    "print_rows": "output",
    "progress": "output",
    "say": "output",
    "say_json": "output",
}

__all__ = [*_HOME]

if TYPE_CHECKING:
    from hybridrank.cli.app import main as main
    from hybridrank.cli.options import JsonOption as JsonOption
    from hybridrank.cli.options import TrustOption as TrustOption
    from hybridrank.cli.output import counted as counted
    from hybridrank.cli.output import err as err
    from hybridrank.cli.output import print_rows as print_rows
    from hybridrank.cli.output import progress as progress
    from hybridrank.cli.output import say as say
    from hybridrank.cli.output import say_json as say_json
    from hybridrank.cli.stored import is_collection as is_collection
else:
    __getattr__, __dir__ = lazy(__name__, _HOME)
