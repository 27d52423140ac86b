"""The demo's corpus: docstrings of the installed standard library, real text that every machine has."""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from hybridrank.types import Document

__all__ = ["QUESTIONS", "standard_library"]

QUESTIONS = (
    "run something with a time limit in another process",
    "find the place to insert into a sorted list",
    "make a file that disappears when I am done with it",
    "how similar are two pieces of text?",
    "the most frequent items in a list",
)
"""Questions in words that the answers' docstrings mostly do not use."""

_MODULES = (
    "argparse base64 bisect calendar collections concurrent configparser contextlib copy csv dataclasses datetime "
    "difflib fileinput fnmatch fractions functools getpass glob graphlib gzip hashlib heapq hmac html inspect io "
    "ipaddress json linecache locale mimetypes multiprocessing operator os pathlib pickle pprint queue random re "
    "sched secrets selectors shelve shlex shutil signal socket socketserver statistics string struct subprocess "
    "tarfile tempfile textwrap threading timeit tokenize traceback types urllib uuid warnings weakref webbrowser "
    "zipfile zoneinfo "
)

_LEAST = 60  # characters: below that a docstring says little more than its name


def standard_library(limit: int) -> list[Document]:
    """The first `limit` public docstrings of everyday modules, read from their source and not imported.

    A document's id is the object's dotted name, and its title too; its text is the docstring.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, Document] = {}
    for document in islice(_all(root), limit):
        found.setdefault(document.id, document)
    return list(found.values())


def _all(root: Path) -> Iterator[Document]:
    for name in _MODULES.split():
        single = root / f"{name}.py"
        for path in [single] if single.exists() else sorted((root / name).rglob("*.py")):
            parts = [part for part in path.relative_to(root).with_suffix("").parts if part != "__init__"]
            if not any(part.startswith("_") or part == "test" for part in parts):
                yield from _docstrings(ast.parse(path.read_bytes()), ".".join(parts))


def _docstrings(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[Document]:
    text = ast.get_docstring(node)
    if text is not None and len(text) >= _LEAST:
        yield Document(id=name, text=text, title=name)
    if isinstance(node, (ast.Module, ast.ClassDef)):
        for child in node.body:
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and child.name[0] != "_":
                yield from _docstrings(child, f"{name}.{child.name}")
