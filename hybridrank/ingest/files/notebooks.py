"""Jupyter notebooks (IPYNB): Markdown, code and printed results in order."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hybridrank.errors import InputError
from hybridrank.ingest.files.reading import Content, Note, ReadOptions
from hybridrank.ingest.files.text import read_plain
from hybridrank.ingest.markdown import first_heading
from hybridrank.values.json_values import sound_text

__all__ = ["fenced", "read_notebook"]

_MOST_OUTPUT = 10_000  # characters of a cell's printed results
_TICKS = re.compile("`{3,}")


def read_notebook(path: Path, reading: ReadOptions, note: Note) -> Content:
    """Markdown cells as they are, code and what it printed between fences; pictures are left out.

    Raises:
        InputError: it cannot be read, or is no notebook.
    """
    try:
        notebook = json.loads(read_plain(path, reading, note).text)
        cells, about = notebook["cells"], notebook.get("metadata") or {}
        blocks = [block for cell in cells for block in _blocks(cell, _language(about))]
    except RecursionError as error:
        raise InputError(f"{str(path)!r} is nested too deeply to be read") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{str(path)!r} is no notebook of version 4, or damaged: {error!r}") from error
    text = sound_text("\n\n".join(blocks))
    return Content(text, first_heading(text))


def fenced(code: str, language: str = "") -> str:
    """Code as a block of Markdown."""
    ticks = "`" * max(3, 1 + max(map(len, _TICKS.findall(code)), default=0))
    return f"{ticks}{language}\n{code.strip(chr(10))}\n{ticks}"


def _language(about: Any) -> str:
    name = about.get("kernelspec", {}).get("language") or about.get("language_info", {}).get("name") or ""
    return name if isinstance(name, str) and name.isalnum() else ""


def _blocks(cell: Any, language: str) -> list[str]:
    source = _joined(cell.get("source", "")).strip("\n")
    if cell.get("cell_type") != "code":
        return [source] if source.strip() else []
    printed = "".join(filter(None, map(_printed, cell.get("outputs", []))))[:_MOST_OUTPUT]
    blocks = [fenced(source, language)] if source.strip() else []
    return [*blocks, fenced(printed)] if printed.strip() else blocks


def _printed(output: Any) -> str:
    if output.get("output_type") == "stream":
        return _joined(output.get("text", ""))
    return _joined(output.get("data", {}).get("text/plain", ""))


def _joined(lines: Any) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
