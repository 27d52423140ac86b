"""The public face: names and signatures of every public import path, and nobody outside who imports anything else.

``python tests/test_public_names.py > tests/public_names.txt`` writes the file that the first test compares with.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from hybridrank.component import once

ROOT = Path(__file__).parents[1]
OPERATORS = ("__call__", "__contains__", "__getitem__", "__iter__", "__len__")
PINNED = ROOT / "tests" / "public_names.txt"
PAGE = ROOT / "docs" / "api.md"
PATHS = re.findall(r"^\| `(hybridrank[\w.]*)` \|", PAGE.read_text(), re.MULTILINE)
PAGES = ("README.md", "docs/**/*.md", "plugins/*/*.md", "examples/**/*.md")
OUTSIDE = sorted(
    path for pattern in ("plugins/*/**/*.py", "examples/**/*.py", *PAGES) for path in ROOT.glob(pattern)
)


def described() -> str:
    """Every public name, one a line with its signature, by path; a name of an earlier path refers to that."""
    lines: list[str] = []
    first: dict[int, str] = {}
    for path in PATHS:
        lines.append(path)
        module = importlib.import_module(path)
        for name in sorted(module.__all__):
            value = getattr(module, name)
            if (earlier := first.setdefault(id(value), path)) != path and not isinstance(value, str):
                lines.append(f"  {name} = {earlier}.{name}")
            else:
                lines += [f"  {line}" for line in _object(name, value)]
        lines.append("")
    return "\n".join(lines[:-1])


def _object(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, type):
        yield f"class {name}{_constructor(value)}"
        for member in sorted(vars(value)):
            if not member.startswith("_") or member in OPERATORS:
                yield from _member(name, member, inspect.getattr_static(value, member))
    elif isinstance(value, (FunctionType, ModuleType)):
        yield f"{name}{_signature(value)}"
    elif hasattr(value, "__metadata__"):
        yield f"{name} = Annotated[{value.__origin__.__name__}, ...]"
    elif hasattr(value, "__args__"):
        yield f"{name} = {value}"
    else:
        yield f"{name}: {type(value).__name__}"


def _member(owner: str, name: str, value: Any) -> Iterator[str]:
    if isinstance(value, (classmethod, staticmethod)):
        yield f"  {owner}.{name}{_signature(value.__func__, skip=isinstance(value, classmethod))}"
    elif isinstance(value, FunctionType):
        yield f"  {owner}.{name}{_signature(value, skip=True)}"
    elif isinstance(value, property):
        yield f"  {owner}.{name}: {_text(inspect.signature(value.fget).return_annotation)}"
    elif isinstance(value, once):
        yield f"  {owner}.{name}: {_text(inspect.signature(value._make).return_annotation)}"


def _constructor(cls: type) -> str:
    if issubclass(cls, BaseModel):
        options = [
            f"{name}: {_annotation(cls, name)}{'' if field.is_required() else f' = {_default(field.default)}'}"
            for name, field in cls.model_fields.items()
        ]
        return f"(*, {', '.join(options)})" if options else "()"
    if getattr(cls, "_is_protocol", False):
        return " (protocol)"
    if issubclass(cls, BaseException):
        return f" ({', '.join(base.__name__ for base in cls.__bases__)})"
    if cls.__init__ is not object.__init__:
        return _signature(cls.__init__, skip=True).removesuffix(" -> None")
    return _signature(cls.__new__, skip=True) if cls.__new__ is not object.__new__ else "()"


def _annotation(cls: type, name: str) -> str:
    return next(
        _text(vars(base)["__annotations__"][name])
        for base in cls.__mro__
        if name in vars(base).get("__annotations__", {})
    )


def _signature(function: Any, *, skip: bool = False) -> str:
    """A signature as it is written; `skip` leaves `self` or `cls` out."""
    found = inspect.signature(function)
    parameters = [
        each.replace(
            annotation=_Text(_text(each.annotation)) if each.annotation is not each.empty else each.empty,
            default=_Text(_default(each.default)) if each.default is not each.empty else each.empty,
        )
        for each in list(found.parameters.values())[skip:]
    ]
    returns = found.return_annotation
    written = str(inspect.Signature(parameters))
    return written if returns is inspect.Signature.empty else f"{written} -> {_text(returns)}"


class _Text:
    """What a signature prints as it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _text(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(value: Any) -> str:
    plain = isinstance(value, (str, int, float, tuple, type(None)))
    return repr(value) if plain and "object at" not in repr(value) else "..."


def test_names_and_signatures_are_as_pinned():
    found, pinned = described().splitlines(), PINNED.read_text().splitlines()
    assert found == pinned, "if this is meant: python tests/test_public_names.py > tests/public_names.txt"


@pytest.mark.parametrize("path", PATHS)
def test_every_public_name_exists_and_is_documented(path):
    module = importlib.import_module(path)
    assert module.__doc__
    assert set(module.__all__) <= set(dir(module))
    for name in set(module.__all__) - {"__version__"}:
        value = getattr(module, name)
        if isinstance(value, (type, FunctionType)):
            assert value.__doc__, f"{path}.{name}"
    namespace: dict[str, object] = {}
    exec(f"from {path} import *", namespace)
    assert set(module.__all__) <= set(namespace)


def test_the_page_lists_every_name_of_every_path():
    rows = dict(re.findall(r"^\| `(hybridrank[\w.]*)` \| [^|]* \| ([^|]*) \|$", PAGE.read_text(), re.MULTILINE))
    assert list(rows) == PATHS
    for path, listed in rows.items():
        names = set(importlib.import_module(path).__all__) - {"__version__"}
        assert set(re.findall(r"`(\w+)`", listed)) == names, path


def _imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """What a file, or each Python block of a page, imports from hybridrank: modules, and names where given."""
    text = path.read_text()
    sources = (
        re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if path.suffix == ".md" else [text]
    )
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hybridrank":
                yield from ((node.module or "", alias.name) for alias in node.names)
            if isinstance(node, ast.Import):
                yield from ((a.name, None) for a in node.names if a.name.split(".")[0] == "hybridrank")


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nobody_outside_imports_anything_internal(path):
    for module, name in _imports(path):
        assert module in PATHS, f"{module} is internal"
        assert name is None or name in importlib.import_module(module).__all__, f"{module}.{name} is internal"


def test_importing_the_package_loads_nothing_heavy_and_no_room():
    code = (
        "import sys; import hybridrank, hybridrank.rerank, hybridrank.component, hybridrank.cli;"
        "heavy = {'pydantic', 'numpy', 'faiss', 'onnxruntime', 'typer', 'torch'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    sys.stdout.write(f"{described()}\n")
